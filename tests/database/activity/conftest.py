"""Sessions of a test's own, on the test's database, with a table that they lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.db import connection

from arcweb.database import standing
from arcweb.database.activity import ending
from arcweb.database.activity.sessions import Session, of
from arcweb.libpq import conninfo


class Other:
    """Another session: what it runs may wait in a thread."""

    def __init__(self, name: str, **options: Any) -> None:
        where = conninfo(connection.settings_dict)
        self.raw = psycopg.connect(where, **{"application_name": name, **options})
        self.failed: list[psycopg.Error] = []
        self.threads: list[threading.Thread] = []

    @property
    def pid(self) -> int:
        return self.raw.info.backend_pid

    def run(self, sql: str) -> Other:
        self.raw.execute(sql)
        return self

    def begin(self, sql: str) -> threading.Thread:
        """Runs it in a thread; the error, if any, is kept in `failed`."""

        def work() -> None:
            try:
                self.raw.execute(sql)
            except psycopg.Error as error:
                self.failed.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    def session(self) -> Session:
        return of([self.pid], 1000)[self.pid]

    def close(self) -> None:
        with suppress(psycopg.Error):
            self.raw.cancel()
        for thread in self.threads:
            thread.join(60)
        self.raw.close()


@pytest.fixture
def outside(db: None) -> Iterator[psycopg.Connection[Any]]:
    """Outside of the test's transaction; what is dropped at its end is held by nobody any more."""
    with psycopg.connect(conninfo(connection.settings_dict), autocommit=True) as raw:
        raw.execute("SET lock_timeout = '60s'")
        yield raw
        for table in raw.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'activity_%'"):
            raw.execute(f"DROP TABLE {table[0]}")


@pytest.fixture
def other(outside: object) -> Iterator[Callable[..., Other]]:
    """`other("name")`: a session of that application_name, closed in the end."""
    made: list[Other] = []

    def make(name: str, **options: Any) -> Other:
        made.append(Other(name, **options))
        return made[-1]

    yield make
    for one in reversed(made):
        one.close()


@pytest.fixture
def table(outside: psycopg.Connection[Any]) -> str:
    """A table with rows 1 to 3."""
    name = f"activity_{time.monotonic_ns()}"
    outside.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, n int DEFAULT 0)")
    outside.execute(f"INSERT INTO {name} SELECT generate_series(1, 3)")
    return name


@pytest.fixture(autouse=True)
def anew(unhurried: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is remembered, and a busy machine is not the point here."""
    monkeypatch.setattr(ending, "PATIENCE", 60)
    standing.forget()
    yield
    standing.forget()
