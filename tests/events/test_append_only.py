"""The tables of schema events hold what they promise, whoever writes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from arcweb.events import partitions, record
from arcweb.events.models import Event

pytestmark = pytest.mark.django_db

PARTITIONS = (
    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events.events'::regclass ORDER BY 1"
)


def rows(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()]


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_any_service_may_insert_a_kind_alone() -> None:
    execute("INSERT INTO events.events (kind) VALUES ('robot.started')")
    event = Event.objects.get()
    assert (event.kind, event.actor_kind, event.data) == ("robot.started", "service", {})
    assert event.actor_id == rows("SELECT current_user::text")[0]


@pytest.mark.parametrize("statement", ["UPDATE {} SET kind = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
def test_rows_are_neither_changed_nor_removed_in_the_parent_or_any_partition(statement: str) -> None:
    record("agent.added")
    execute("INSERT INTO events.events (kind, occurred_at) VALUES ('old', '2001-01-01')")
    filled = set(rows("SELECT DISTINCT tableoid::regclass::text FROM events.events"))
    assert len(filled) == 2
    tables = (
        {"events.events", *rows(PARTITIONS)}
        if statement.startswith("TRUNCATE")
        else {"events.events", *filled}
    )
    for table in tables:
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            execute(statement.format(table))
    assert Event.objects.count() == 2


def test_the_model_refuses_too() -> None:
    record("agent.added")
    with pytest.raises(TypeError):
        Event.objects.get().save()
    with pytest.raises(TypeError):
        Event.objects.get().delete()


def test_this_month_and_the_next_have_partitions_and_events_land_in_them() -> None:
    names = rows(PARTITIONS)
    now = datetime.now(UTC)
    assert f"events.events_{now:%Y_%m}" in names
    assert len(names) >= partitions.MONTHS_AHEAD + 2  # this month, the months ahead, the default
    record("agent.added")
    assert rows("SELECT tableoid::regclass::text FROM events.events") == [f"events.events_{now:%Y_%m}"]


def test_making_partitions_is_idempotent_and_new_ones_are_append_only() -> None:
    assert partitions.ensure(14) == []
    made = rows(PARTITIONS)
    assert len(made) == 16
    assert partitions.ensure(14) == []
    assert rows(PARTITIONS) == made
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        execute(f"TRUNCATE {made[-1]}")


def test_events_that_came_before_their_partition_are_told_of_and_can_be_moved() -> None:
    partitions.ensure(3)
    (late,) = rows("SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '8 months')::date")
    execute(f"INSERT INTO events.events (kind, occurred_at) VALUES ('early', '{late} 12:00+00')")
    (problem,) = partitions.ensure(9)
    assert f"{late:%Y-%m}" in problem
    assert f"events.split_default('{late}')" in problem
    assert f"events.events_{late:%Y_%m}" not in rows(PARTITIONS)

    execute(problem[problem.index("SELECT") :].partition(" moves")[0])
    assert rows("SELECT tableoid::regclass::text FROM events.events") == [f"events.events_{late:%Y_%m}"]
    assert partitions.ensure(9) == []
    execute("INSERT INTO events.events (kind, occurred_at) VALUES ('old', '2001-01-01')")
    for table in ("events.events_default", f"events.events_{late:%Y_%m}"):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            execute(f"DELETE FROM {table}")


@pytest.mark.django_db(transaction=True)
def test_two_that_make_partitions_at_once_do_not_collide() -> None:
    errors: list[BaseException] = []
    start = threading.Barrier(4)

    def ensure() -> None:
        try:
            start.wait()
            partitions.ensure(30)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
        finally:
            connection.close()

    before = set(rows(PARTITIONS))
    threads = [threading.Thread(target=ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = set(rows(PARTITIONS)) - before
    for name in made:  # leave the database as other tests expect it
        execute(f"DROP TABLE {name}")
    assert errors == []
    assert len(before | made) >= 32
