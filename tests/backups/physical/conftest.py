"""One throw-away PostgreSQL that archives its log, below a path with everything that needs quoting."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from arcweb.embedded.layout import Layout
from arcweb.embedded.stack import Stack
from tests.stack import THROWAWAY, new_layout

NASTY = 'it\'s a "50%p" $HOME;x'


def until(true: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="package")
def archiving() -> Iterator[Stack]:
    outer, lock = new_layout()
    layout = Layout(outer.data_dir / NASTY)
    stack = Stack(layout, replace(THROWAWAY, roles=(), archive=True))
    stack.start()
    yield stack
    stack.destroy()
    shutil.rmtree(outer.data_dir, ignore_errors=True)
    lock.close()


def superuser(stack: Stack, dbname: str = "arc") -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=str(stack.layout.socket_dir),
        dbname=dbname,
        user="postgres",
        password=stack.layout.read_secret("postgres-superuser-password"),
        autocommit=True,
    )


def switch(stack: Stack) -> str:
    """Ends the running WAL file and waits until it is archived; its name."""
    with superuser(stack) as connection:
        row = connection.execute(
            "SELECT pg_walfile_name(pg_current_wal_lsn()) FROM pg_current_xact_id()"
        ).fetchone()
        assert row is not None
        connection.execute("SELECT pg_switch_wal()")
        until(lambda: (stack.layout.real_servers_dir / "wal-archive" / f"{row[0]}.gz").exists())
    return str(row[0])
