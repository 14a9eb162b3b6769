"""What is unsafe is made by the superuser of the throw-away server, in names of the test's own."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from html import unescape

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from arcweb.database import standing
from tests.people import client_of

URL = "/postgres/safety/"


class Superuser:
    """Runs statements in this test's database, and undoes what a test left behind."""

    def __init__(self) -> None:
        self.undo: list[str] = []
        own = connection.settings_dict
        self.line = psycopg.connect(
            host=own["HOST"],
            port=own["PORT"],
            dbname=own["NAME"],
            user="postgres",
            password=settings.ARC_LAYOUT.read_secret("postgres-superuser-password"),
            autocommit=True,
        )

    def __call__(self, *statements: str, undo: str = "") -> None:
        for statement in statements:
            self.line.execute(statement)
        if undo:
            self.undo.append(undo)

    def role(self, attributes: str = "") -> str:
        """A role of this test, gone after it."""
        name = f"safe_{uuid.uuid4().hex[:12]}"
        self(f"CREATE ROLE {name} {attributes}", undo=f"DROP OWNED BY {name}; DROP ROLE {name}")
        return name

    def close(self) -> None:
        for statement in reversed(self.undo):
            self.line.execute(statement)
        self.line.close()


@pytest.fixture
def superuser(db: None) -> Iterator[Superuser]:
    found = Superuser()
    standing.forget()
    yield found
    found.close()
    standing.forget()


class Shown:
    """The page as a person reads it."""

    def __init__(self) -> None:
        self.client = client_of("operator")

    def __call__(self) -> str:
        answer = self.client.get(URL)
        assert answer.status_code == 200
        body = answer.content.decode()
        body = body[body.index('id="main"') :]
        return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", body)))

    def statement(self, beginning: str) -> str:
        """The statement of the finding whose sentence begins so."""
        body = unescape(self.client.get(URL).content.decode())
        finding = body[body.index(beginning) :]
        found = re.search(r'<pre class="statement"><code>(.*?)</code>', finding, re.DOTALL)
        assert found
        return found[1]


@pytest.fixture
def page(db: None) -> Shown:
    return Shown()


@pytest.fixture(autouse=True)
def pages_have_time(unhurried: None) -> None:
    """A busy machine is not the point here."""
