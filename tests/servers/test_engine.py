"""The engine's connections wait for no frozen backend, and are otherwise psycopg's."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest
from django.db import OperationalError

from arcweb import servers
from arcweb.embedded.stack import Stack
from arcweb.postgres import ServerSilent, base
from arcweb.postgres.base import DatabaseWrapper
from arcweb.servers import Finding
from tests.servers.frozen import backends, frozen, whole

#: Seconds that a busy machine may take for what takes one or two; whoever waits here waits much longer.
SOON = 30


def one(engine: DatabaseWrapper, sql: str) -> Any:
    with engine.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def test_the_server_stops_a_long_statement_of_the_web_and_none_of_a_worker(
    engine: DatabaseWrapper, web: list[str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ARC_WEB_STATEMENT_SECONDS = 0.5
    monkeypatch.setattr(base, "MARGIN", SOON)  # for the server to say so
    with pytest.raises(OperationalError) as caught:
        one(engine, "SELECT pg_sleep(60)")
    assert getattr(caught.value.__cause__, "sqlstate", "") == "57014"
    assert one(engine, "SELECT 1") == 1, "the connection is still of use"
    engine.close()
    servers.board.watch(None)
    assert one(engine, "SHOW statement_timeout") == "0"


def test_a_statement_on_a_frozen_backend_ends_at_its_limit(
    engine: DatabaseWrapper, stack: Stack, web: list[str], settings: Any
) -> None:
    settings.ARC_WEB_STATEMENT_SECONDS = 0.5
    assert one(engine, "SELECT 1") == 1
    with frozen(backends(stack)):
        started = time.monotonic()
        with pytest.raises(OperationalError, match="said nothing"):
            one(engine, "SELECT 1")
        assert 1.4 < time.monotonic() - started < SOON
    assert web == ["postgres"], "the prober is told"


def test_a_statement_in_flight_ends_as_soon_as_postgres_is_known_to_be_away(
    engine: DatabaseWrapper, web: list[str], settings: Any
) -> None:
    settings.ARC_WEB_STATEMENT_SECONDS = 120
    one(engine, "SELECT 1")
    threading.Timer(
        0.5, lambda: servers.board.note("postgres", Finding(False, reason="it is tested"))
    ).start()
    started = time.monotonic()
    with pytest.raises(OperationalError, match="is away") as caught:
        one(engine, "SELECT pg_sleep(60)")
    assert time.monotonic() - started < SOON
    assert isinstance(caught.value.__cause__, ServerSilent)
    servers.board.note("postgres", Finding(True))
    engine.close_if_unusable_or_obsolete()
    assert one(engine, "SELECT 1") == 1


def test_a_frozen_backend_is_replaced_at_the_start_of_the_next_request(
    engine: DatabaseWrapper, stack: Stack, web: list[str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ARC_WEB_STATEMENT_SECONDS = 60  # nobody waits for these two
    monkeypatch.setattr(base, "PATIENT_USABLE_SECONDS", 60)
    before = one(engine, "SELECT pg_backend_pid()")
    engine.health_check_enabled, engine.health_check_done = True, False
    with frozen(backends(stack)):
        started = time.monotonic()
        assert one(engine, "SELECT pg_backend_pid()") != before
        assert time.monotonic() - started < SOON


def test_no_new_connection_is_waited_for(
    engine: DatabaseWrapper, stack: Stack, web: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.settings_dict["OPTIONS"] = {**engine.settings_dict["OPTIONS"], "connect_timeout": 60}
    monkeypatch.setattr(base, "CONNECT_SECONDS", 0.8)
    with frozen(whole(stack.postgres.process())):
        started = time.monotonic()
        with pytest.raises(OperationalError, match=r"took no connection within 0\.8 s"):
            one(engine, "SELECT 1")
        assert time.monotonic() - started < SOON
    monkeypatch.setattr(base, "CONNECT_SECONDS", SOON)
    assert one(engine, "SELECT 1") == 1


def test_a_worker_gives_up_only_when_the_server_answers_nobody(
    engine: DatabaseWrapper, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "DOUBT_AFTER", 0.3)
    monkeypatch.setattr(base, "DOUBT_SECONDS", SOON)
    assert one(engine, "SELECT pg_sleep(1.2)") == "", "a long statement is none of its business"
    monkeypatch.setattr(base, "DOUBT_SECONDS", 0.3)
    with frozen(whole(stack.postgres.process())):
        started = time.monotonic()
        with pytest.raises(OperationalError, match="answers nobody else"):
            one(engine, "SELECT 1")
        assert time.monotonic() - started < SOON


def copy_in(raw: psycopg.Connection[Any]) -> None:
    with raw.cursor() as cursor, cursor.copy("COPY t (n) FROM STDIN") as copy:
        for _ in range(200_000):
            copy.write_row((7,))


def copy_out(raw: psycopg.Connection[Any]) -> None:
    with raw.cursor() as cursor, cursor.copy("COPY (SELECT generate_series(1, 1000000)) TO STDOUT") as copy:
        for _ in copy:
            pass


def many(raw: psycopg.Connection[Any]) -> None:
    with raw.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s)", [(n,) for n in range(2000)])


def pipeline(raw: psycopg.Connection[Any]) -> None:
    with raw.pipeline(), raw.cursor() as cursor:
        for n in range(100):
            cursor.execute("INSERT INTO t VALUES (%s)", [n])


def server_cursor(raw: psycopg.Connection[Any]) -> None:
    with raw.transaction(), raw.cursor("named") as cursor:
        cursor.execute("SELECT generate_series(1, 5000)")
        assert len(cursor.fetchall()) == 5000


def stream(raw: psycopg.Connection[Any]) -> None:
    with raw.cursor() as cursor:
        assert sum(1 for _ in cursor.stream("SELECT generate_series(1, 5000)")) == 5000


@pytest.mark.parametrize("deed", [copy_in, copy_out, many, pipeline, server_cursor, stream])
def test_what_psycopg_can_do_works_and_ends_on_a_frozen_backend(
    engine: DatabaseWrapper, stack: Stack, web: list[str], settings: Any, deed: Any
) -> None:
    settings.ARC_WEB_STATEMENT_SECONDS = 60
    with engine.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("CREATE TABLE IF NOT EXISTS t (n integer)")
    raw = engine.connection
    deed(raw)
    assert one(engine, "SELECT 1") == 1
    settings.ARC_WEB_STATEMENT_SECONDS = 0.5
    with frozen(backends(stack)):
        started = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            deed(raw)
        assert raw.closed
        engine.close()
        assert time.monotonic() - started < SOON


def test_waiting_for_a_notification_is_no_silence(
    engine: DatabaseWrapper, web: list[str], settings: Any
) -> None:
    settings.ARC_WEB_STATEMENT_SECONDS = 0.5
    one(engine, "SELECT 1")
    raw = engine.connection
    raw.execute("LISTEN nothing")
    assert list(raw.notifies(timeout=2)) == []
    assert one(engine, "SELECT 1") == 1


def test_a_close_waits_for_nobody(
    engine: DatabaseWrapper, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "DOUBT_AFTER", 2 * SOON)
    one(engine, "SELECT 1")
    with frozen(backends(stack)):
        started = time.monotonic()
        engine.close()
        assert time.monotonic() - started < SOON
