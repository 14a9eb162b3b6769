"""What was counted between two snapshots is right, after resets too, and one slot has one snapshot."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.contrib.messages import get_messages
from django.db import connection, connections

from arcweb.database import standing
from arcweb.database.queries import alarms, findings, snapshots, statistics
from arcweb.database.queries.models import QuerySnapshot
from arcweb.database.queries.snapshots import Period
from arcweb.database.queries.statistics import Counters, Key
from arcweb.events.models import Event
from arcweb.schedules import SCHEDULE
from tests.database.queries.conftest import as_superuser
from tests.people import client_of

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("pg_stat_statements")]
PAGE = "/postgres/queries/"


def run(statement: str, times: int = 1) -> None:
    with connection.cursor() as cursor:
        for _ in range(times):
            cursor.execute(statement)


def older(minutes: int) -> None:
    """Every snapshot moves back in time."""
    run(
        f"UPDATE database_querysnapshot SET read_at = read_at - interval '{minutes} min', "
        f"taken_at = taken_at - interval '{minutes} min'"
    )


def since_the_last() -> Period:
    now = statistics.read()
    return snapshots.since(snapshots.before(now.read_at), now)


def calls(period: Period, word: str) -> int:
    return sum(change.counted.calls for change in period.changes if f"FROM {word}" in change.entry.text)


def test_a_period_counts_what_came_after_its_snapshot() -> None:
    run("CREATE TABLE period_probe ()")
    run("CREATE TABLE new_probe ()")
    run("SELECT count(*) FROM period_probe", 5)
    assert snapshots.take()
    assert calls(since_the_last(), "period_probe") == 0
    run("SELECT count(*) FROM period_probe", 3)
    run("SELECT count(*) FROM new_probe", 2)
    period = since_the_last()
    assert (calls(period, "period_probe"), calls(period, "new_probe")) == (3, 2)
    assert not period.cut
    before = next(change.before for change in period.changes if "FROM period_probe" in change.entry.text)
    assert before.calls == 5


def test_what_is_reset_is_counted_from_there() -> None:
    run("CREATE TABLE one_probe ()")
    run("CREATE TABLE other_probe ()")
    run("SELECT count(*) FROM one_probe", 5)
    run("SELECT count(*) FROM other_probe", 5)
    snapshots.take()
    one = next(key for key, entry in statistics.read().entries.items() if "FROM one_probe" in entry.text)
    as_superuser(f"SELECT pg_stat_statements_reset(0, 0, {one.queryid})")
    run("SELECT count(*) FROM one_probe", 2)
    run("SELECT count(*) FROM other_probe", 1)
    period = since_the_last()
    assert (calls(period, "one_probe"), calls(period, "other_probe")) == (2, 1)
    change = next(change for change in period.changes if "FROM one_probe" in change.entry.text)
    assert "began anew" in change.note
    # The server had it grow beyond what the snapshot has: PostgreSQL 17 and later tell all the same.
    run("SELECT count(*) FROM one_probe", 7)
    assert calls(since_the_last(), "one_probe") == 9

    as_superuser("SELECT pg_stat_statements_reset()")
    run("SELECT count(*) FROM one_probe", 4)
    period = since_the_last()
    assert period.cut
    assert period.began == period.now.reset_at
    assert calls(period, "one_probe") == 4
    assert "the statistics were reset then" in client_of("viewer").get(PAGE).content.decode()


def test_a_small_statement_that_an_incomplete_snapshot_lacks_is_marked() -> None:
    run("CREATE TABLE small_probe ()")
    run("SELECT count(*) FROM small_probe", 5)
    snapshots.take()
    QuerySnapshot.objects.update(known=100_000, entries={})
    run("UPDATE database_querysnapshot SET read_at = now() + interval '1 min'")
    now = statistics.read()
    period = snapshots.since(snapshots.before(now.read_at + timedelta(hours=1)), now)
    change = next(change for change in period.changes if "FROM small_probe" in change.entry.text)
    assert change.counted.calls == 5
    assert "too small for the snapshot" in change.note


def test_a_course_step_by_step_with_gaps() -> None:
    run("CREATE TABLE course_probe ()")
    run("SELECT count(*) FROM course_probe", 4)
    snapshots.take()
    older(10)
    run("SELECT count(*) FROM course_probe", 6)
    snapshots.take()
    older(10)
    run("SELECT count(*) FROM course_probe", 1)
    id_ = next(
        key for key, entry in statistics.read().entries.items() if "FROM course_probe" in entry.text
    ).queryid
    now = statistics.read(id_)
    steps = snapshots.history(id_, now.read_at - timedelta(days=1), now)
    assert [counted and counted.calls for _, _, counted in steps] == [6, 1]
    assert client_of("operator").get(f"{PAGE}{id_}/").content.decode().count("<svg") >= 2
    older(60)  # nobody took one for an hour
    assert snapshots.history(id_, now.read_at - timedelta(days=1), now)[-1][2] is None


@pytest.mark.django_db(transaction=True)
def test_two_beats_at_once_make_one_snapshot_and_old_ones_go() -> None:
    QuerySnapshot.objects.create(
        taken_at=datetime.fromisoformat("2020-01-01T00:00+00:00"),
        read_at=datetime.fromisoformat("2020-01-01T00:00+00:00"),
        evictions=0,
        known=0,
        entries={},
    )
    barrier, taken = threading.Barrier(2), list[bool]()

    def beat() -> None:
        barrier.wait()
        try:
            taken.append(snapshots.take())
        finally:
            connections.close_all()

    beats = [threading.Thread(target=beat) for _ in range(2)]
    for one in beats:
        one.start()
    for one in beats:
        one.join()
    slots = set(QuerySnapshot.objects.values_list("taken_at", flat=True))
    assert len(slots) == sum(taken)
    assert all(slot.minute % 10 == 0 and slot.year > 2020 for slot in slots)
    assert SCHEDULE["snapshot statements"]["options"]["expires"] == snapshots.SLOT


def test_a_snapshot_is_small() -> None:
    for number in range(300):
        run(f"SELECT {' + '.join(['1'] * (number + 1))}")
    snapshots.take()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_column_size(entries), known FROM database_querysnapshot")
        size, known = cursor.fetchone()
    assert known >= 300
    assert size / min(known, snapshots.MOST) < 100  # bytes of a statement, compressed


def test_the_reset_asks_for_its_word_and_the_grant() -> None:
    run("CREATE TABLE reset_probe ()")
    operator = client_of("operator")
    assert client_of("viewer").get(f"{PAGE}reset/").status_code == 403
    said = operator.get(f"{PAGE}reset/").content.decode()
    assert "GRANT EXECUTE ON FUNCTION pg_stat_statements_reset" in said
    assert operator.post(f"{PAGE}reset/", {"typed": "reset"}).status_code == 400
    assert not Event.objects.filter(kind="statements.reset").exists()
    signature = said.partition("GRANT EXECUTE ON FUNCTION ")[2].partition(" TO ")[0]
    as_superuser(f"GRANT EXECUTE ON FUNCTION {signature} TO arc")
    try:
        run("SELECT count(*) FROM reset_probe", 2)
        answer = operator.post(f"{PAGE}reset/", {"typed": "Reset it"})
        assert "Nothing was done" in " ".join(str(one) for one in get_messages(answer.wsgi_request))
        assert operator.post(f"{PAGE}reset/", {"typed": "reset"}).status_code == 302
        assert not any("FROM reset_probe" in entry.text for entry in statistics.read().entries.values())
        assert Event.objects.get(kind="statements.reset").data["statements"] > 0
        assert QuerySnapshot.objects.count() == 1  # what was counted before is kept
    finally:
        as_superuser(f"REVOKE EXECUTE ON FUNCTION {signature} FROM arc")


def test_evictions_are_a_finding_and_an_alarm() -> None:
    snapshots.take()
    older(30)
    reading = alarms.forgotten()
    assert reading is not None
    assert reading.value == 0
    QuerySnapshot.objects.update(evictions=statistics.read().evictions - 9)
    reading = alarms.forgotten()
    assert reading is not None
    assert 17 <= reading.value <= 19
    assert any("forgot statements" in finding.sentence for finding in findings.find())
    slowest = alarms.slowest()
    assert slowest is not None
    assert slowest.value >= 0


def test_on_a_new_server_the_last_hour_is_all_that_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    _since(monkeypatch, minutes=59)
    assert not [finding for finding in findings.find() if finding.state == "unknown"]
    assert alarms.slowest() is not None
    assert "No snapshot of the statements" not in client_of("viewer").get(PAGE).content.decode()


def test_statistics_that_forgot_nothing_yet_are_known_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "info", lambda: (None, 0, statistics.read().read_at))
    reading = alarms.forgotten()
    assert reading is not None
    assert reading.value == 0


def _since(monkeypatch: pytest.MonkeyPatch, *, minutes: int) -> None:
    """The statistics were reset so long ago."""
    now = statistics.read()
    old = replace(now, reset_at=now.read_at - timedelta(minutes=minutes))
    monkeypatch.setattr(findings, "read", lambda: old)


def test_without_a_snapshot_the_last_hour_is_unknown_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    _since(monkeypatch, minutes=61)
    assert [finding.state for finding in findings.find()] == ["unknown"]
    assert alarms.slowest() is None
    assert (
        "No snapshot of the statements has been taken yet" in client_of("viewer").get(PAGE).content.decode()
    )


@pytest.mark.django_db(transaction=True)
def test_without_the_extension_the_pages_say_what_to_type() -> None:
    as_superuser("ALTER EXTENSION pg_stat_statements SET SCHEMA agents")
    assert statistics.read().entries  # wherever it was put
    as_superuser("DROP EXTENSION pg_stat_statements")
    standing.forget()
    try:
        for page in (PAGE, f"{PAGE}5/"):
            said = client_of("operator").get(page).content.decode()
            assert "pg_stat_statements is not installed in this database" in said
            assert "CREATE EXTENSION IF NOT EXISTS pg_stat_statements" in said
        assert not snapshots.take()
        assert [finding.state for finding in findings.find()] == ["unknown"]
        assert alarms.slowest() is None
        assert client_of("operator").get(f"{PAGE}reset/").status_code == 400
    finally:
        as_superuser("CREATE EXTENSION pg_stat_statements SCHEMA public")
        standing.forget()
    assert client_of("operator").get(PAGE).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_what_a_role_may_not_see_is_counted_and_said() -> None:
    """As another role: the server's tests beside this one need the grant that arc has."""
    as_superuser("CREATE TEMPORARY TABLE hidden_probe ()")
    for statement in (
        "CREATE ROLE blind",
        "GRANT blind TO arc WITH INHERIT FALSE, SET TRUE",
        "GRANT USAGE ON SCHEMA public, agents, events TO blind",
        "GRANT ALL ON ALL TABLES IN SCHEMA public, agents, events TO blind",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public, agents, events TO blind",
    ):
        as_superuser(statement)
    try:
        run("SET ROLE blind")
        standing.forget()
        now = statistics.read()
        assert now.hidden > 0
        said = client_of("operator").get(PAGE, {"period": "reset"}).content.decode()
        assert "GRANT pg_monitor TO" in said
        assert "are hidden from the role blind" in said
        assert "hidden_probe" not in said
    finally:
        run("RESET ROLE")
        standing.forget()
        as_superuser("DROP OWNED BY blind")
        as_superuser("DROP ROLE blind")
    said = client_of("operator").get(PAGE, {"period": "reset", "q": "hidden_probe"}).content.decode()
    assert "CREATE TEMPORARY TABLE hidden_probe" in said


def test_differences_of_counters() -> None:
    later, earlier = Counters(5, 10.0, 7, 3, 1, 0, 9), Counters(2, 4.0, 7, 1, 1, 0, 9)
    assert later - earlier == Counters(3, 6.0, 0, 2, 0, 0, 0)
    assert (earlier - later).fell
    assert (later - earlier).mean == 2.0
    assert Counters().mean is None
    assert Counters(hit=3, read=1).hit_ratio == 75
    assert str(Key(-5, 10)) == "-5:10"
