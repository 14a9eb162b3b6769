"""What the server says of itself, and what is made of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from arcweb.database.overview import alarms, judging, samplers, vitals
from arcweb.database.overview.judging import Past
from arcweb.samples.models import Sample

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.django_db
def test_every_piece_answers_alone_and_all_together() -> None:
    together = vitals.ask(*vitals.PIECES)
    alone = [name for piece in vitals.PIECES for name in vitals.ask(piece)]
    assert sorted(alone) == sorted(together)


@pytest.mark.django_db
def test_a_sample_has_every_figure_and_stays_small() -> None:
    taken = samplers.take_postgres()
    missing = {*samplers.LEVELS, *samplers.COUNTERS} - set(taken)
    assert missing <= {"replica_lag_bytes", "replay_delay", "slot_wal_bytes"}
    assert len(json.dumps(taken)) < 1000
    Sample.objects.create(source="postgres", taken_at=NOW, values=taken)


def test_servers_before_17_keep_checkpoints_elsewhere() -> None:
    assert "pg_stat_bgwriter" in vitals.statement("checkpoints", version=160_009)
    assert "pg_stat_checkpointer" in vitals.statement("checkpoints", version=170_001)


@pytest.mark.parametrize(
    ("used", "state"), [(77, None), (78, "warn"), (92, "warn"), (93, "bad"), (97, "bad"), (0, None)]
)
def test_connections_are_judged_by_what_ordinary_clients_may_have(used: int, state: str | None) -> None:
    found = judging.connections({"connections": used, "max_connections": 100, "reserved": 3})
    assert getattr(found, "state", None) == state


@pytest.mark.parametrize(
    ("age", "state"), [(200_000_000, None), (300_000_000, "warn"), (1_600_000_000, "bad")]
)
def test_ages_are_judged_by_the_servers_own_limits(age: int, state: str | None) -> None:
    for kind in ("xid", "multixact"):
        found = judging.judge({f"{kind}_age": age, f"{kind}_limit": 200_000_000})
        assert [finding.state for finding in found] == ([state] if state else [])
    assert not judging.judge({"xid_age": 450_000_000, "xid_limit": 1_500_000_000})


def test_what_is_not_known_is_not_judged() -> None:
    assert judging.judge({}) == []
    assert judging.judge({"oldest_transaction": None, "connections": None, "max_connections": None}) == []


def test_counters_that_were_reset_count_from_zero() -> None:
    past = Past({"temp_bytes": 5_000}, 3600)
    assert past.grown({"temp_bytes": 7_000}, "temp_bytes") == 2_000
    assert past.grown({"temp_bytes": 300}, "temp_bytes") == 300
    assert past.grown({}, "temp_bytes") is None
    assert Past({}, 600).words == "in the last 10 min"


@pytest.mark.django_db
def test_every_alarm_gives_a_reading_or_says_nothing() -> None:
    readings = {alarm.name: alarm.look() for alarm in alarms.ALARMS}
    unknown = {name for name, reading in readings.items() if reading is None}
    assert unknown == {"postgres.hit_ratio", "postgres.checkpoints", "postgres.temp_files"}  # no samples
    for name, reading in readings.items():
        if reading is not None:
            assert reading.sentence.endswith("."), name
    assert all(alarm.why and alarm.permission == "database.view_server" for alarm in alarms.ALARMS)
