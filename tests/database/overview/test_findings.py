"""What goes wrong with a server is provoked for real, seen on the page, mended as the page says, and gone."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta

import psycopg
import pytest
from django.db import connection

from arcweb.database import standing
from arcweb.database.overview import alarms, judging
from tests.database.overview.conftest import Own, sample_of
from tests.waiting import until

Page = Callable[..., str]
#: Settings, statistics and connections are the server's: one test after the other.
pytestmark = pytest.mark.xdist_group("overview-server")


def statements(text: str, sentence: str) -> list[str]:
    """What the finding with that sentence says to type, without comments."""
    [found] = re.findall(
        rf"<p>[^<]*{re.escape(html.escape(sentence))}.*?<pre class=\"statement\"><code>(.*?)</code>",
        text,
        re.DOTALL,
    )
    lines = (line.partition("--")[0].strip() for line in html.unescape(found).splitlines())
    return [line for line in " ".join(lines).split(";") if line.strip()]


def test_connections_at_ninety_percent(own: Own, page: Page) -> None:
    assert "connections in use" not in page("?panel=verdict")
    with ExitStack() as held:
        for _ in range(15):
            held.enter_context(own.connect())
        # What was closed before is gone some moments later.
        until(lambda: "PostgreSQL has 16 of 17 connections in use" in page("?panel=verdict"))
        text = page("?panel=verdict")
        assert "max_connections = 40" in text
        assert "14 of them do nothing" in text or "15 of them do nothing" in text
        figures = page("?panel=connections")
        assert "16 of 20" in figures
        assert "1 free, 3 more for superusers" in figures
        reading = alarms.connections()
        assert reading is not None
        assert reading.value == pytest.approx(100 * 16 / 17)
    until(lambda: "connections in use" not in page("?panel=verdict"))


def test_archiving_that_fails(own: Own, page: Page) -> None:
    assert "keeps nothing" in page("?panel=wal")
    own.superuser("ALTER SYSTEM SET archive_command = 'false'", "SELECT pg_reload_conf()")
    own.superuser("SELECT pg_create_restore_point('here')", "SELECT pg_switch_wal()")
    until(lambda: "archive_command fails" in page("?panel=verdict"))
    assert '<span class="state bad">fails</span>' in page("?panel=wal")
    reading = alarms.archiving()
    assert reading is not None
    assert reading.value > 0
    own.superuser("ALTER SYSTEM RESET archive_command", "SELECT pg_reload_conf()")
    own.superuser("SELECT pg_create_restore_point('there')", "SELECT pg_switch_wal()")
    until(lambda: "archive_command fails" not in page("?panel=verdict"))


def test_autovacuum_off(own: Own, page: Page) -> None:
    own.superuser("ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
    until(lambda: "Autovacuum does not run: autovacuum is off" in page("?panel=verdict"))
    assert '<span class="state bad">off</span>' in page("?panel=autovacuum")
    assert getattr(alarms.autovacuum(), "value", None) == 0
    own.superuser(*statements(page("?panel=verdict"), "Autovacuum does not run: autovacuum is off"))
    until(lambda: "Autovacuum does not run" not in page("?panel=verdict"))


def test_a_transaction_that_is_open_for_long(own: Own, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "OLD_TRANSACTION", 0.1)
    with suppress(psycopg.OperationalError), own.connect() as other:
        other.execute("BEGIN")
        pid = other.info.backend_pid
        until(lambda: f"(process {pid}, idle in transaction) has been open for" in page("?panel=verdict"))
        text = page("?panel=verdict")
        assert statements(text, f"A transaction (process {pid}") == [f"SELECT pg_terminate_backend({pid})"]
        own.superuser(*statements(text, f"A transaction (process {pid}"))
        until(lambda: "has been open for" not in page("?panel=verdict"))


def test_what_a_role_without_pg_monitor_cannot_see_is_unknown_and_named(own: Own, page: Page) -> None:
    own.superuser("REVOKE pg_monitor FROM arc")
    standing.forget()
    with own.connect("postgres"):
        text = page()
        assert "The role arc does not see what other roles run" in text
        assert 'class="verdict unknown"' in text
        figures = page("?panel=connections")
        assert figures.count("not visible to this role") >= 4
        # Counted all the same, as soon as what was closed before is gone.
        until(lambda: re.search(r"\b[23] of 20", page("?panel=connections")))
        assert alarms.oldest_transaction() is None
        own.superuser(*statements(text, "The role arc does not see what other roles run"))
    standing.forget()
    assert "does not see" not in page()


def test_a_low_hit_ratio(own: Own, page: Page, sampled: None) -> None:
    with own.connect() as other:
        other.execute("DROP TABLE IF EXISTS large, small")
        other.execute("CREATE TABLE large AS SELECT i, repeat('x', 900) FROM generate_series(1, 20000) AS i")
        other.execute("CREATE TABLE small AS SELECT i, repeat('x', 900) FROM generate_series(1, 160) AS i")
        for _ in range(5):
            other.execute("SELECT count(*) FROM large")
        other.execute("SELECT pg_stat_force_next_flush()")
        sentence = "of the blocks that queries read in the last 10 min were in PostgreSQL"
        assert sentence in page("?panel=verdict")
        reading = alarms.hit_ratio()
        assert reading is not None
        assert reading.value < judging.LOW_HIT_RATIO
        for statement in statements(page("?panel=verdict"), "Only"):
            other.execute(statement.encode())
        other.execute("DO $$ BEGIN FOR n IN 1..30000 LOOP PERFORM count(*) FROM small; END LOOP; END $$")
        other.execute("SELECT pg_stat_force_next_flush()")
        assert sentence not in page("?panel=verdict")
        other.execute("DROP TABLE large, small")


def test_temporary_files_that_grow(
    own: Own, page: Page, sampled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "MUCH_TEMP", 1024**2)
    assert "of temporary files" not in page("?panel=verdict")
    with own.connect() as other:
        other.execute("SET work_mem = '64kB'")
        other.execute(
            "SELECT count(*) FROM (SELECT i FROM generate_series(1, 200000) AS i ORDER BY -i) AS sorted"
        )
        other.execute("SELECT pg_stat_force_next_flush()")
        text = page("?panel=verdict")
        assert re.search(r"Queries wrote [\d.]+ MB of temporary files in \d+ files in the last 10 min", text)
        reading = alarms.temp_files()
        assert reading is not None
        assert reading.value > 1
    sample_of(timedelta(minutes=10))
    assert "of temporary files" not in page("?panel=verdict")


def test_checkpoints_that_are_asked_for(own: Own, page: Page, sampled: None) -> None:
    for _ in range(judging.MANY_REQUESTED):
        own.superuser("CHECKPOINT")
    told = "6 checkpoints were asked for in the last 10 min, and 0 came by the clock"
    until(lambda: told in page("?panel=verdict"))  # counted when whoever waited for it goes on already
    own.superuser(
        *statements(page("?panel=verdict"), "6 checkpoints were asked for")
    )  # the cure can be typed
    own.superuser("ALTER SYSTEM RESET max_wal_size", "SELECT pg_reload_conf()")
    sample_of(timedelta(minutes=10))
    assert "checkpoints were asked for" not in page("?panel=verdict")


def test_without_samples_the_last_hour_is_unknown_never_well(own: Own, page: Page) -> None:
    text = page()
    assert "What the server did in the last hour is not known yet" in text
    assert 'class="verdict unknown"' in text
    sample_of(timedelta(minutes=10))
    text = page()
    assert 'class="verdict good"' in text
    assert "Nothing needs attention" in text


def test_a_replication_slot_that_nobody_uses_is_counted(own: Own, page: Page) -> None:
    own.superuser("SELECT pg_create_physical_replication_slot('forgotten', true)")
    text = page("?panel=replication")
    assert "1 that nobody uses" in text
    assert "WAL they hold back" in text
    own.superuser("SELECT pg_drop_replication_slot('forgotten')")
    assert "that nobody uses" not in page("?panel=replication")
    assert connection.connection is not None
