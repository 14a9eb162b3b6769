"""The page of partitions: what is wrong is seen there and by the alarms, and gone after the cure."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from arcweb.alarms import find_alarm
from arcweb.database.partitions import catalog, locking, look, months, retention
from arcweb.database.partitions.models import PartitionPolicy
from arcweb.database.partitions.retention import DROP, Policy
from arcweb.database.tasks import drop_old_partitions
from arcweb.events.models import Event
from arcweb.jobs import ledger, registry
from arcweb.jobs.context import JobContext
from arcweb.jobs.models import Job
from tests.database.partitions.conftest import OLD, execute, one, partitions
from tests.people import client_of

pytestmark = pytest.mark.django_db
URL = "/postgres/partitions/"
NOW = months.month_of(datetime.now(UTC))


def verdict(client: Client) -> str:
    page = client.get(URL)
    assert page.status_code == 200
    found = re.search(
        r'<div class="verdict (\w+)"[^>]*>.*?class="say">([^<]*)', page.content.decode(), re.DOTALL
    )
    assert found
    return f"{found[1]}: {found[2]}"


def reading(name: str) -> Any:
    alarm = find_alarm(name)
    assert alarm is not None
    return alarm, alarm.look()


def run(kind: str) -> dict[str, Any] | None:
    """What the queued job of that kind does, here."""
    job = Job.objects.filter(kind=kind).latest("created_at")
    handler = registry.find(kind)
    assert handler is not None
    return handler.run(JobContext(job.pk, job.params))


def drop_table(month: datetime) -> None:
    execute(f"DROP TABLE events.events_{month:%Y_%m}")


def test_all_is_well() -> None:
    assert verdict(client_of("viewer")).startswith(
        "good: Events have a partition for this month and the next 3"
    )
    assert look.find() == []
    assert reading("postgres.partitions_ahead")[1].value == 3
    assert reading("postgres.partition_default")[1].value == 0


def test_a_missing_next_partition_is_seen_and_gone_when_made() -> None:
    for ahead in (1, 2, 3):
        drop_table(months.plus(NOW, ahead))
    viewer, boss = client_of("viewer"), client_of("administrator")
    assert verdict(viewer).startswith("warn: events.events has no partition for what comes after")
    assert "SELECT events.ensure_partitions(3);" in viewer.get(URL).content.decode()
    alarm, found = reading("postgres.partitions_ahead")
    assert (alarm.fires, found.value, alarm.threshold) == ("at or below", 0, 0)
    assert "Make the next" not in viewer.get(URL).content.decode()

    assert viewer.post(f"{URL}make/").status_code == 403
    assert boss.get(f"{URL}make/").status_code == 405
    assert boss.post(f"{URL}make/").status_code == 302
    assert Event.objects.filter(kind="partition.make_asked").exists()
    assert run("partition-make") == {"months": 3}
    assert verdict(viewer).startswith("good")
    assert reading("postgres.partitions_ahead")[1].value == 3


def test_a_missing_present_partition_and_its_events_are_seen_and_gone_when_moved() -> None:
    Event.objects.count()
    drop_table(NOW)
    execute("INSERT INTO events.events (kind) VALUES ('t.now')")
    viewer, boss = client_of("viewer"), client_of("administrator")
    assert verdict(viewer).startswith("bad: events.events has no partition for now")
    page = viewer.get(URL).content.decode()
    assert "Rows stand in events.events_default" in page
    assert f"events_{NOW:%Y_%m}</span>" in page
    assert reading("postgres.partitions_ahead")[1].value == -1
    alarm, found = reading("postgres.partition_default")
    assert found.value >= alarm.threshold

    assert viewer.post(f"{URL}move/").status_code == 403
    assert boss.post(f"{URL}move/").status_code == 302
    assert (run("partition-move") or {})["months"] == 1
    assert verdict(viewer).startswith("good")
    assert reading("postgres.partition_default")[1].value == 0
    assert Event.objects.filter(kind="t.now").exists()


def test_months_have_size_rows_age_and_an_exact_count(old_month: str) -> None:
    viewer = client_of("viewer")
    page = viewer.get(URL).content.decode()
    assert "never counted" in page
    execute(f"ANALYZE events.{OLD}")
    page = viewer.get(URL).content.decode()
    assert "~250" in page
    assert "months ago" in page
    assert "Made ahead" in page
    exact = viewer.get(URL, {"exact": OLD}).content.decode()
    assert re.search(r"<b>250</b>\s*<span[^>]*>counted", exact)
    assert viewer.get(URL, {"exact": "pg_class"}).status_code == 200


def test_queries_do_not_grow_with_the_months(django_assert_num_queries: Any) -> None:
    viewer = client_of("viewer")
    viewer.get(URL)
    with CaptureQueries() as few:
        viewer.get(URL)
    for month in range(1, 13):
        execute("SELECT events.make_partition(make_date(2015, %s, 1))", [month])
    with CaptureQueries() as many:
        viewer.get(URL)
    assert len(many) == len(few)


def CaptureQueries() -> Any:  # noqa: N802
    from django.test.utils import CaptureQueriesContext

    return CaptureQueriesContext(connection)


def test_dropping_asks_for_the_name_and_is_an_event_and_a_job(old_month: str, archives: Path) -> None:
    url = f"{URL}drop/?partition={OLD}"
    assert client_of("operator").get(url).status_code == 403
    boss = client_of("administrator")
    page = boss.get(url).content.decode()
    assert "250 rows" in page
    assert str(archives) in page
    assert "Nothing was dropped" in boss.post(url, {"typed": "events_2019_04"}).content.decode()
    assert not Job.objects.filter(kind=DROP).exists()
    assert boss.post(url, {"typed": OLD, "archive": "on"}).status_code == 302
    assert boss.post(url, {"typed": OLD, "archive": "on"}).status_code == 302
    job = Job.objects.get(kind=DROP)
    assert (job.params["archive"], job.params["details"]) == (True, False)
    assert Event.objects.filter(kind="partition.drop_asked", object_id=OLD).count() == 2
    assert OLD in boss.get(URL).content.decode()
    assert run(DROP) == {
        "partition": True,
        "rows": 250,
        "archive": f"{OLD}-{str(job.pk)[:8]}.jsonl.gz",
        "details": 225,
    }
    page = boss.get(URL).content.decode()
    assert "The only copy" in page
    assert f'id="{OLD}"' not in page
    assert boss.get(url).status_code == 404


def test_what_is_written_to_is_not_dropped() -> None:
    boss = client_of("administrator")
    url = f"{URL}drop/?partition=events_{NOW:%Y_%m}"
    assert "have ended" in boss.get(url).content.decode()
    assert boss.post(url, {"typed": f"events_{NOW:%Y_%m}"}).status_code == 409
    assert not Job.objects.exists()


def test_a_retention_shows_what_would_go_before_it_is_set(old_month: str) -> None:
    boss, url = client_of("administrator"), f"{URL}retention/"
    assert client_of("operator").get(url, {"keep": "12"}).status_code == 403
    execute("ANALYZE events.events")
    page = boss.get(url, {"keep": "12", "archive": "on"}).content.decode()
    assert "2 months" in page
    assert "about 251 rows" in page
    assert "March 2019" in page
    assert "type events.events" in boss.post(url, {"keep": "12"}).content.decode()
    assert retention.policy() == Policy()
    assert boss.post(url, {"keep": "12", "archive": "on", "typed": "events.events"}).status_code == 302
    assert retention.policy() == Policy(12, archive=True, details=False)
    assert Event.objects.get(kind="partition.policy_changed").data["keep"] == 12
    page = boss.get(URL).content.decode()
    assert "goes tonight" in page
    assert boss.post(url, {"keep": "", "archive": "on"}).status_code == 302, "keeping more asks for nothing"
    assert retention.policy() == Policy()
    for wrong in ("0", "-1", "x", "241"):
        assert boss.post(url, {"keep": wrong, "typed": "events.events"}).status_code == 302
        assert retention.policy() == Policy()


def test_the_nightly_job_drops_what_is_old_and_nothing_else(old_month: str, archives: Path) -> None:
    drop_old_partitions()
    assert not Job.objects.exists(), "by default everything is kept"
    newest = months.plus(NOW, -2)
    execute(
        "SELECT events.make_partition(%s::date), events.make_partition(%s::date)",
        [newest, months.plus(NOW, -1)],
    )
    retention.set_policy(Policy(1, archive=False))
    drop_old_partitions()
    drop_old_partitions()
    jobs = list(Job.objects.filter(kind=DROP).order_by("target"))
    assert [job.params["partition"] for job in jobs] == [OLD, "events_2019_04", f"events_{newest:%Y_%m}"]
    assert "are older than the 1 that are kept" in client_of("viewer").get(URL).content.decode()
    handler = registry.find(DROP)
    assert handler is not None
    for job in jobs:
        handler.run(JobContext(job.pk, job.params))
    assert f"events.events_{months.plus(NOW, -1):%Y_%m}" in partitions()
    assert f"events.events_{NOW:%Y_%m}" in partitions()
    assert not [finding for finding in look.find() if "older" in finding.sentence]


def test_who_cancels_when_the_month_is_gone_leaves_no_names_behind(
    old_month: str, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = catalog.find(OLD)
    assert found
    job = retention.enqueue_drop(found, archive=False, details=False)
    context, with_lock = JobContext(job.pk, job.params), locking.with_lock

    def cancelled_then(*words: Any) -> Any:
        answer = with_lock(*words)
        context.stop(lost=False)
        return answer

    monkeypatch.setattr(locking, "with_lock", cancelled_then)
    handler = registry.find(DROP)
    assert handler is not None
    result = handler.run(context)
    assert result is not None
    assert result["details"] == 225
    assert (
        execute(
            "SELECT FROM events.event_details "
            "WHERE occurred_at >= '2019-03-01 00:00+00' AND occurred_at < '2019-04-01 00:00+00'"
        )
        == []
    )


def test_another_table_is_listed_and_its_missing_next_is_told_with_the_statement() -> None:
    execute(
        'CREATE TABLE "odd ""table" (at timestamptz NOT NULL) PARTITION BY RANGE (at);'
        'CREATE TABLE odd_1 PARTITION OF "odd ""table" FOR VALUES FROM (\'2020-01-01\') TO '
        "('2020-02-01');CREATE TABLE odd_2 PARTITION OF \"odd \"\"table\" FOR VALUES FROM ('2020-02-01') TO "
        "('2020-03-01');CREATE TABLE kinds (kind text) PARTITION BY LIST (kind);CREATE TABLE kinds_a "
        "PARTITION OF kinds FOR VALUES IN ('a');CREATE TABLE kinds_rest PARTITION OF kinds DEFAULT;INSERT "
        "INTO kinds VALUES ('b');CREATE TABLE days (day date, n int) PARTITION BY RANGE (day, n);CREATE "
        "TABLE days_a PARTITION OF days FOR VALUES FROM (MINVALUE, MINVALUE) TO ('2020-01-01', 5);"
    )
    page = client_of("viewer").get(URL).content.decode()
    assert "FOR VALUES IN (&#x27;a&#x27;)" in page
    assert "MINVALUE" in page
    (finding,) = look.find()
    assert finding.state == "bad"
    assert 'public.odd "table has no partition for now' in finding.sentence
    assert "rows are refused" in finding.sentence
    execute(finding.statement)
    table = next(table for table in catalog.tables() if table.name == 'odd "table')
    assert len(table.partitions) == 3
    assert table.timed[-1].until == datetime(2020, 4, 1, tzinfo=UTC)
    execute(
        "CREATE TABLE odd_now PARTITION OF \"odd \"\"table\" FOR VALUES FROM ('2020-04-01') TO ('2222-01-01')"
    )
    assert look.find() == []


@pytest.mark.django_db(transaction=True)
def test_two_beats_queue_one_job_for_a_month(archives: Path) -> None:
    execute("SELECT events.make_partition('2019-03-01')")
    try:
        retention.set_policy(Policy(12, archive=False))
        start = threading.Barrier(4)

        def beat() -> None:
            try:
                start.wait()
                drop_old_partitions()
            finally:
                connection.close()

        threads = [threading.Thread(target=beat) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        job = Job.objects.get(kind=DROP)
        ledger.run(job.pk)
        job.refresh_from_db()
        assert (job.state, job.last_error) == ("succeeded", "")
        assert f"events.{OLD}" not in partitions()
        assert one("SELECT count(*) FROM events.events WHERE kind = 'partition.dropped'") == 1
    finally:
        execute(f"DROP TABLE IF EXISTS events.{OLD}")
        PartitionPolicy.objects.all().delete()


@pytest.mark.parametrize("patience", [2])
def test_a_table_that_cannot_be_seen_is_unknown_and_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> Any:
        execute("SELECT pg_sleep(9)")

    monkeypatch.setattr(look, "find", slow)
    assert verdict(client_of("viewer")).startswith("unknown")
