"""The default partition put in order: nothing lost, nothing shown twice, whatever ends a run."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from arcweb.database.partitions import locking, moving
from arcweb.database.partitions.moving import Moved
from arcweb.events.models import Event
from tests.database.partitions.conftest import execute, fill, one, partitions

pytestmark = pytest.mark.django_db
WHERE = (
    "SELECT tableoid::regclass::text, count(*)::int FROM events.events WHERE kind = 't.old' GROUP BY "
    "1 ORDER BY 1"
)
COPIES = (
    "SELECT count(*) FROM pg_class WHERE relnamespace = 'events'::regnamespace AND relname LIKE 'moving%%'"
)


def move(**more: Any) -> Moved:
    return moving.move(more.get("tell", lambda *_: None), more.get("wait", lambda _: None))


def test_rows_of_each_month_get_a_partition_of_their_own() -> None:
    fill("2019-03", 120)
    fill("2018-12", 7)
    execute("INSERT INTO events.events (kind, occurred_at) VALUES ('t.never', 'infinity')")
    execute(
        "CREATE TEMP TABLE kept ON COMMIT DROP AS "
        "SELECT * FROM events.events WHERE occurred_at < '2020-01-01'"
    )
    assert move() == Moved(rows=127, months=2, left=1)
    assert execute(WHERE) == [("events.events_2018_12", 7), ("events.events_2019_03", 120)]
    assert one("SELECT count(*) FROM (TABLE kept EXCEPT SELECT * FROM events.events) AS lost") == 0
    assert one("SELECT kind FROM events.events_default") == "t.never"
    assert one(COPIES) == 0
    assert one(
        "SELECT relname FROM pg_class WHERE relname LIKE 'events_2019_03%kind%'".replace("%", "%%"), []
    )
    event = Event.objects.get(kind="partition.default_moved")
    assert event.data == {"rows": 127, "months": 2, "left": 1}
    assert move() == Moved(rows=0, months=0, left=1), "twice is harmless"


def test_what_was_made_is_append_only_and_has_every_index_of_its_siblings() -> None:
    fill("2019-03", 3)
    move()
    for table in ("events.events_2019_03", "events.events_default"):
        for statement in ("UPDATE {} SET kind = 'x'", "DELETE FROM {}", "TRUNCATE {}"):
            if "2019" in table or "TRUNCATE" in statement:
                with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
                    execute(statement.format(table))
        assert one(f"SELECT count(*) FROM pg_index WHERE indrelid = '{table}'::regclass") == one(
            "SELECT count(*) FROM pg_index WHERE indrelid = 'events.events'::regclass"
        )
        assert one(
            "SELECT count(*) FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid "
            f"WHERE indrelid = '{table}'::regclass"
        ) == one("SELECT count(*) FROM pg_index WHERE indrelid = 'events.events'::regclass")
    execute("INSERT INTO events.events (kind, occurred_at) VALUES ('t.stray', '1999-01-01')")
    assert one("SELECT count(*) FROM events.events_default") == 1


def test_a_run_killed_anywhere_shows_nobody_a_difference_and_the_next_completes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        pass

    monkeypatch.setattr(moving, "CHUNK", 50)
    fill("2019-03", 120)
    fill("2019-04", 60)
    for die_at in range(1, 5):
        calls = [0]

        def kill(*_: Any, calls: list[int] = calls, die_at: int = die_at) -> None:
            calls[0] += 1
            if calls[0] == die_at:
                raise Killed

        with pytest.raises(Killed):
            move(tell=kill)
        assert execute(WHERE) == [("events.events_default", 180)]
        assert one(f"{COPIES} AND relkind = 'r'") == 3
    fill("2019-05", 5)  # and another month since
    assert move() == Moved(rows=185, months=3, left=0)
    assert [count for _, count in execute(WHERE)] == [120, 60, 5]
    assert one(COPIES) == 0


def test_rows_that_arrive_while_it_copies_are_moved_too() -> None:
    fill("2019-03", 20)
    late = iter(["INSERT INTO events.events (kind, occurred_at) VALUES ('t.old', '2019-03-01 00:00:30+00')"])

    def tell(done: int, total: int, words: str) -> None:
        if "moment" in words:
            for statement in late:
                execute(statement)

    assert move(tell=tell).rows == 21
    assert execute(WHERE) == [("events.events_2019_03", 21)]


def test_copies_that_somebody_changed_are_not_put_in_place() -> None:
    fill("2019-03", 20)

    def tell(done: int, total: int, words: str) -> None:
        if "moment" in words:
            execute("INSERT INTO events.moving_2019_03 (kind, occurred_at) VALUES ('t.forged', '2019-03-09')")

    with pytest.raises(moving.MoveError, match="by hand"):
        move(tell=tell)
    assert execute(WHERE) == [("events.events_default", 20)]


def test_a_table_in_the_way_is_named() -> None:
    fill("2019-03", 1)
    execute("CREATE TABLE events.events_2019_03 (occurred_at timestamptz)")
    with pytest.raises(moving.MoveError, match="events_2019_03 stands there already"):
        move()


def test_more_months_than_one_run_makes_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "MOST_MONTHS", 1)
    fill("2019-03", 4)
    fill("2018-01", 2)
    assert move() == Moved(rows=4, months=1, left=2)
    assert move() == Moved(rows=2, months=1, left=0)


@pytest.mark.django_db(transaction=True)
def test_writers_and_readers_go_on_meanwhile() -> None:
    monkey = threading.Event()
    errors: list[BaseException] = []
    written = [0]

    def write() -> None:
        try:
            while not monkey.is_set():
                execute("INSERT INTO events.events (kind, occurred_at) VALUES ('t.old', '2019-03-02')")
                written[0] += 1
                assert one("SELECT count(*) FROM events.events WHERE kind = 't.old'") == 500 + written[0]
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
        finally:
            connection.close()

    fill("2019-03", 500)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        move(wait=monkey.wait)
    finally:
        monkey.set()
        thread.join()
    try:
        assert errors == []
        assert written[0] > 0
        assert execute(WHERE) == [("events.events_2019_03", 500 + written[0])]
        assert f"events.{moving.DEFAULT}" in partitions()
    finally:
        execute("DROP TABLE events.events_2019_03")


@pytest.mark.django_db(transaction=True)
def test_a_reader_that_stays_keeps_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "PAUSES", ())
    fill("2019-03", 5)
    reader = connection.copy()
    try:
        with reader.cursor() as cursor:
            cursor.execute("BEGIN; SELECT count(*) FROM events.events")
        with pytest.raises(locking.Busy):
            move()
        assert execute(WHERE) == [("events.events_default", 5)]
    finally:
        reader.close()
        execute("DROP TABLE IF EXISTS events.moving_2019_03, events.moving_default")
