"""Samples are taken once a slot, each source for itself, and forgotten after their time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from agents.models import Agent
from arcweb.celery import app
from arcweb.embedded.stack import Stack
from arcweb.jobs.models import Job
from arcweb.samples import registry, taking, tasks
from arcweb.samples.models import Sample
from arcweb.samples.registry import Sampler, register_sampler
from arcweb.samples.slots import SLOT, OnTheSlot
from arcweb.schedules import SCHEDULE
from memories import samplers as memory_samplers
from memories.models import Memory
from tests.servers.frozen import frozen, whole

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def samplers_have_time(unhurried: None) -> None:
    """A busy machine is not the point here."""


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sampler], None]:
    """Registers samplers in an empty registry."""
    monkeypatch.setattr(registry, "_samplers", {})
    return register_sampler


def test_every_source_of_the_project_has_its_figures() -> None:
    agent = Agent.objects.create(name="Scout", type="research")
    Memory.objects.create(agent=agent, content="The pump runs.")
    Memory.objects.create(agent=agent, content="")
    Job.objects.create(kind="dig", state="failed", finished_at=timezone.now())
    Job.objects.create(kind="dig", state="failed", finished_at=timezone.now() - timedelta(hours=25))
    Job.objects.create(kind="dig")
    taken = taking.take_samples()
    expected = {"memories", "agents", "jobs", "postgres", "celery", "redis-cache", "redis-state", "alerts"}
    assert expected <= set(taken)
    assert all(taken.values())
    found = {sample.source: sample.values for sample in Sample.objects.all()}
    assert found["memories"] == {
        "embedded": 0, "pending": 1, "stale": 0, "failed": 0, "empty": 1, "total": 2, "documents": 0,
    }  # fmt: skip
    assert found["agents"] == {"total": 1}
    assert found["jobs"] == {"running": 0, "queued": 1, "failed": 1}
    assert found["postgres"]["size_bytes"] > 1_000_000
    assert 0 < found["postgres"]["connections"] < found["postgres"]["max_connections"]
    assert {"blocks_hit", "blocks_read", "commits"} <= set(found["postgres"])
    assert found["redis-cache"]["evicting"] == 1
    assert found["redis-state"]["evicting"] == found["redis-state"]["unsaved"] == 0
    assert {"used_bytes", "max_bytes", "commands", "hits", "misses", "evicted", "clients", "keys"} <= set(
        found["redis-cache"]
    )
    assert set(found["celery"]) == {"waiting:celery", "waiting:quick", "held"}


def test_queued_tasks_are_counted_where_celery_keeps_them() -> None:
    before = taking_of("celery")["waiting:quick"]
    with app.connection_for_write() as broker:
        try:
            tasks.take_samples.apply_async(connection=broker, queue="quick")
            assert taking_of("celery")["waiting:quick"] == before + 1
        finally:
            broker.default_channel.client.delete("quick")


def taking_of(source: str) -> dict[str, float]:
    [sampler] = [sampler for sampler in registry.samplers() if sampler.source == source]
    return dict(sampler.take())


def test_a_second_beat_in_the_same_slot_adds_nothing(only: Callable[[Sampler], None]) -> None:
    numbers = iter(range(100))
    only(Sampler("pump", lambda: {"turns": next(numbers)}))
    now = datetime.now(UTC).timestamp() % SLOT
    if now > SLOT - 10:  # not across the end of a slot
        time.sleep(SLOT - now + 0.1)
    assert taking.take_samples() == {"pump": True}
    assert taking.take_samples() == {"pump": False}
    [sample] = Sample.objects.all()
    assert sample.values == {"turns": 0}
    assert sample.taken_at.timestamp() % SLOT == 0
    assert timedelta(0) <= sample.read_at - sample.taken_at < timedelta(seconds=SLOT)


@pytest.mark.parametrize("patience", [10])
def test_one_that_fails_or_is_too_slow_costs_only_itself(
    only: Callable[[Sampler], None], caplog: pytest.LogCaptureFixture
) -> None:
    def slow() -> dict[str, float]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(250)")
        return {}

    def broken() -> dict[str, float]:
        raise RuntimeError("no oil")

    def writing() -> dict[str, float]:
        Agent.objects.create(name="Scout", type="research")
        return {}

    only(Sampler("slow", slow, limit=0.2))
    only(Sampler("broken", broken, needs=()))
    only(Sampler("writing", writing))
    only(Sampler("odd", lambda: {"turns": 2.5, "ratio": float("nan"), "whole": 3.0}))
    started = time.monotonic()
    assert taking.take_samples() == {"slow": False, "broken": False, "writing": False, "odd": True}
    assert time.monotonic() - started < 60
    assert Sample.objects.get().values == {"turns": 2.5, "whole": 3}
    assert "No sample of broken: RuntimeError: no oil" in caplog.text
    assert "No sample of slow: TooSlow" in caplog.text
    assert not Agent.objects.exists()  # samplers only read


def test_a_frozen_redis_costs_only_its_own_sample(
    throwaway_stack: Callable[..., Stack], settings: Settings
) -> None:
    stack = throwaway_stack(postgres=False)
    settings.REDIS_URL = stack.layout.redis_url("cache")
    [cache] = [server for server in stack.servers if server.name == "valkey-cache"]
    with frozen(whole(cache.process())):
        started = time.monotonic()
        taken = taking.take_samples()
    assert time.monotonic() - started < 60  # it is frozen for as long as somebody waits
    assert not taken.pop("redis-cache")
    assert all(taken.values())


def test_old_samples_are_forgotten(settings: Settings) -> None:
    for days in (13.9, 14.1, 400):
        Sample.objects.create(source="pump", taken_at=timezone.now() - timedelta(days=days), values={})
    tasks.forget_old_samples()
    assert Sample.objects.count() == 1
    settings.ARC_SAMPLE_DAYS = 1
    assert taking.forget_old() == 1


def test_large_tables_are_estimated_and_small_states_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    Memory.objects.bulk_create(Memory(content=f"Line {number}.") for number in range(40))
    Memory.objects.bulk_create(Memory(content="") for _ in range(5))
    assert memory_samplers.count_states().counts["pending"] == 40
    assert not memory_samplers.count_states().capped
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE agents.memories")
    monkeypatch.setattr(memory_samplers, "MOST_COUNTED", 20)
    found = memory_samplers.count_states()
    assert (found.word("pending"), found.word("empty"), found.word()) == ("about ", "", "about ")
    assert found.capped == {"pending"}
    assert found.counts["empty"] == 5
    assert 20 <= found.counts["pending"] <= 60
    assert found.total == found.counts["pending"] + 5


def test_counting_never_reads_the_table() -> None:
    Memory.objects.bulk_create(Memory(content=f"Line {number}.") for number in range(300))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE agents.memories")
        cursor.execute(memory_samplers.BY_INDEX)
        # What a large table would choose: a small one may well be read whole.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute(
            f"EXPLAIN {memory_samplers.COUNT}", {"states": list(memory_samplers.STATES), "most": 10_000}
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Only Scan using idx_memories_" in plan
    assert "Seq Scan on memories" not in plan


def test_two_samplers_of_one_name_are_a_mistake(only: Callable[[Sampler], None]) -> None:
    only(Sampler("pump", dict))
    only(Sampler("pump", dict))
    with pytest.raises(ValueError, match="Two samplers are named 'pump'"):
        only(Sampler("pump", dict, limit=9))


# --- the rhythm --------------------------------------------------------------------------------


def at(seconds: float) -> datetime:
    return datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("last", "now", "due", "wait"),
    [
        (0.02, 10, False, 20),
        (0.02, 29.99, False, 0.01),
        (0.02, 30.0, True, 30),
        (0.02, 31.5, True, 28.5),  # late, and yet the next is on the slot
        (29.999, 30.01, True, 29.99),
        (-86400, 12, True, 18),  # after a downtime
    ],
)
def test_the_beat_fires_once_in_each_slot(last: float, now: float, due: bool, wait: float) -> None:
    rhythm = OnTheSlot(SLOT, nowfun=lambda: at(now), app=app)
    state = rhythm.is_due(at(last))
    assert state.is_due is due
    assert state.next == pytest.approx(wait)


def test_the_beat_takes_samples_on_the_quick_queue_and_forgets_daily() -> None:
    entry = SCHEDULE["take samples"]
    assert entry["task"] == tasks.take_samples.name
    assert entry["schedule"].run_every == timedelta(seconds=SLOT)
    assert entry["options"]["expires"] <= SLOT
    assert app.amqp.router.route({}, tasks.take_samples.name)["queue"].name == "quick"
    assert SCHEDULE["forget old samples"]["task"] == tasks.forget_old_samples.name
