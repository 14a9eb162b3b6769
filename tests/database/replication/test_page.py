"""The page Replication, its findings and alarms, with a real replica."""

from __future__ import annotations

import pytest
from django.db import connection

from arcweb.database.replication import alarms, looks, standbys
from tests.database.replication.conftest import NAME, Standby
from tests.people import client_of
from tests.waiting import until

pytestmark = pytest.mark.django_db
PAGE = "/postgres/replication/"


def write() -> None:
    """Some WAL that stays."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_logical_emit_message(false, 'tests', repeat('x', 100000))")


def mine() -> standbys.Replica | None:
    return next((one for one in standbys.replicas() if one.name == NAME), None)


def found() -> bool:
    """Whether the replica stands among the findings, at this moment: others write into the same server."""
    return any(f"The replica {NAME} is" in one.sentence for one in looks.replication_findings())


def slot() -> standbys.Slot:
    return next(one for one in standbys.slots() if one.name == NAME)


def page() -> str:
    answer = client_of("viewer").get(PAGE)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_replica_and_its_slot_are_shown(standby: Standby) -> None:
    until(lambda: (one := mine()) is not None and one.state == "streaming")
    said = page()
    assert NAME in said
    assert "Streaming" in said
    assert "do not wait for it" in said
    assert "In use" in said
    assert client_of("").get(PAGE).status_code == 403


def test_a_lagging_replica_is_found_and_gone_when_it_caught_up(
    standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standbys, "LAG_BYTES", 50_000)
    standby.pause()
    write()
    until(lambda: (one := mine()) is not None and (one.behind or 0) > 50_000)
    assert found()
    assert f"The replica {NAME} is" in page()
    reading = alarms.behind()
    assert reading is not None
    assert reading.value > 0.04
    standby.resume()
    until(lambda: not found(), 60, "catching up with what all tests write")


def test_a_slot_that_nobody_reads_is_found_and_gone_when_its_replica_is_back(
    standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standbys, "HELD", 50_000)
    standby.stop()
    write()
    until(lambda: slot().forgotten)
    (finding,) = [one for one in looks.of_slots([slot()]) if NAME in one.sentence]
    assert finding.statement == f"SELECT pg_drop_replication_slot('{NAME}');"
    assert finding.since is not None
    said = page()
    assert f"Nobody reads the slot {NAME}" in said
    assert alarms.inactive_slot().value > 0.04
    standby.start()
    until(lambda: slot().active and looks.of_slots([slot()]) == [])


def test_a_replica_tells_what_it_receives(standby: Standby) -> None:
    """As the page shows it of a server that is itself a replica."""
    from django.template.loader import render_to_string

    received = standbys.Receiver("streaming", "/socket", 5432, NAME, 0.2, 4096, "paused", 12.0, "0")
    said = render_to_string("admin/database/replication/_receiver.html", {"receiver": received})
    assert "streaming from" in said
    assert "pg_wal_replay_resume" in said


def test_a_synchronous_replica_that_is_missing_is_the_worst(db: None) -> None:
    (finding,) = looks.of_replicas([], "somewhere")
    assert finding.state == "bad"
    assert "every commit waits" in finding.sentence
