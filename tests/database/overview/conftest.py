"""A PostgreSQL of these tests' own, small and theirs to break, behind Django's usual connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from arcweb.database import findings, standing
from arcweb.embedded.stack import Stack
from arcweb.samples import taking
from arcweb.samples.models import Sample
from tests.stack import THROWAWAY, new_layout

SETTINGS = {
    "max_connections": "20",
    "shared_buffers": "1MB",
    "autovacuum_naptime": "1s",
    "autovacuum_freeze_max_age": "100000",  # the least that there is
    "checkpoint_timeout": "1d",  # none comes by the clock
}


@dataclass
class Own:
    """The server; `default` turns Django's connection to it."""

    stack: Stack

    def connect(self, user: str = "arc", database: str = "arc", **options: Any) -> psycopg.Connection[Any]:
        layout = self.stack.layout
        secret = "postgres-password" if user == "arc" else "postgres-superuser-password"
        return psycopg.connect(
            host=str(layout.socket_dir),
            user=user,
            dbname=database,
            password=layout.read_secret(secret),
            autocommit=True,
            **options,
        )

    def superuser(self, *statements: str) -> None:
        with self.connect("postgres") as admin:
            for statement in statements:
                admin.execute(statement.encode())

    @contextmanager
    def default(self) -> Iterator[None]:
        usual = dict(connection.settings_dict)
        connection.close()
        standing.forget()
        layout = self.stack.layout
        connection.settings_dict.update(
            NAME="arc", HOST=str(layout.socket_dir), PASSWORD=layout.read_secret("postgres-password")
        )
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict.update(usual)
            standing.forget()


@pytest.fixture(scope="package")
def own_server(django_db_setup: None, django_db_blocker: Any) -> Iterator[Own]:
    layout, lock = new_layout()
    own = Own(Stack(layout, replace(THROWAWAY, roles=())))
    own.stack.start()
    own.superuser(*(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in SETTINGS.items()))
    own.stack.stop()
    own.stack.start()
    with django_db_blocker.unblock(), own.default():
        call_command("migrate", verbosity=0)
    yield own
    own.stack.destroy()
    lock.close()


@pytest.fixture
def own(own_server: Own, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Own]:
    """What other areas have to say of the server is tested there."""
    ours = {name: findings._looks[name] for name in ("server", "last-hour", "sequences")}
    monkeypatch.setattr(findings, "_looks", ours)
    with django_db_blocker.unblock(), own_server.default():
        yield own_server
        Sample.objects.all().delete()


@pytest.fixture
def page(own: Own) -> Callable[..., str]:
    """The page as an administrator sees it on that server."""
    from django.contrib.auth.models import User

    user, _ = User.objects.get_or_create(username="root", is_superuser=True, is_active=True)
    client = Client(headers={"host": "localhost"})
    client.force_login(user)

    def get(query: str = "") -> str:
        response = client.get(f"/postgres/{query}")
        assert response.status_code == 200
        return response.content.decode()

    return get


@pytest.fixture
def sampled(own: Own) -> None:
    """There is a sample of ten minutes ago."""
    sample_of(timedelta(minutes=10))


def sample_of(age: timedelta) -> None:
    """Take a sample now, and let it be that old."""
    assert taking.take_samples()["postgres"]
    moment = timezone.now() - age
    # By its clock: the start of its slot is what makes it one.
    found = Sample.objects.filter(source="postgres").latest("taken_at")
    Sample.objects.filter(source="postgres").exclude(taken_at=found.taken_at).delete()
    Sample.objects.filter(source="postgres").update(taken_at=moment, read_at=moment)


@pytest.fixture(autouse=True)
def pages_have_time(unhurried: None) -> None:
    """A busy machine is not the point here."""
