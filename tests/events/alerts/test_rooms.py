"""The alarms of what the rooms know: each provoked, and gone after the cure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from arcweb.alarms import find_alarm
from arcweb.events.alerts.evaluation import Found, look
from arcweb.jobs.models import Job
from arcweb.samples import taking
from arcweb.samples.models import Sample
from memories.models import Memory

pytestmark = pytest.mark.django_db


def found(name: str) -> Found:
    alarm = find_alarm(name)
    assert alarm is not None
    return look(alarm)


def value(name: str) -> float:
    answer = found(name)
    assert answer.reading is not None, answer.trouble
    return answer.reading.value


def sample(source: str, **values: Any) -> None:
    Sample.objects.filter(source=source).delete()
    moment = timezone.now()
    Sample.objects.create(source=source, taken_at=moment, read_at=moment, values=values)


def test_a_job_that_failed() -> None:
    assert value("jobs.failed") == 0
    now = timezone.now()
    job = Job.objects.create(kind="dig", state="failed", finished_at=now)
    Job.objects.create(kind="dig", state="failed", finished_at=now - timedelta(hours=2))
    assert value("jobs.failed") == 1
    Job.objects.filter(pk=job.pk).update(state="queued", finished_at=None)
    assert value("jobs.failed") == 0


def test_a_job_that_waits() -> None:
    now = timezone.now()
    Job.objects.create(kind="dig", queued_at=now - timedelta(hours=9), next_retry_at=now + timedelta(hours=1))
    assert value("jobs.waiting") == 0, "it waits for its retry"
    Job.objects.create(kind="dig", queued_at=now - timedelta(minutes=20))
    assert value("jobs.waiting") == pytest.approx(1200, abs=30)
    Job.objects.update(state="running", claim="0" * 32, heartbeat_at=now)
    assert value("jobs.waiting") == 0


def test_memories_that_failed_and_that_wait() -> None:
    for name in ("memories.failed", "memories.waiting"):
        assert "no fresh figure" in found(name).trouble
    memory = Memory.objects.create(content="The pump runs.")
    taking.take_samples()
    assert (value("memories.failed"), value("memories.waiting")) == (0, 1)
    Memory.objects.filter(pk=memory.pk).update(embedding_state="failed", embedding_error="no")
    Sample.objects.all().delete()
    taking.take_samples()
    assert (value("memories.failed"), value("memories.waiting")) == (1, 0)


def test_redis_by_the_real_servers() -> None:
    taking.take_samples()
    assert value("redis-state.evicting") == 0
    assert value("redis-cache.unsaved") == value("redis-state.unsaved") == 0
    assert 0 <= value("redis-state.memory") < 100
    assert value("celery.queued") >= 0


def test_redis_that_is_full_evicts_or_may_lose() -> None:
    sample("redis-state", used_bytes=95, max_bytes=100, evicting=0, unsaved=1)
    assert value("redis-state.memory") == 95
    assert value("redis-state.unsaved") == 1
    sample("redis-state", used_bytes=95, max_bytes=100, evicting=1, unsaved=0)
    assert value("redis-state.memory") == 0
    assert value("redis-state.evicting") == 1
    sample("redis-cache", used_bytes=95, max_bytes=100, evicting=1, evicted=1)
    assert "not enough figures" in found("redis-cache.evictions").trouble
    for ago in range(12):
        moment = timezone.now() - timedelta(seconds=30 * ago)
        Sample.objects.create(
            source="redis-cache",
            taken_at=moment - timedelta(seconds=1),
            read_at=moment,
            values={"evicted": 100_000 - 6000 * ago, "evicting": 1},
        )
    assert value("redis-cache.evictions") > 100


def test_queues_that_grow() -> None:
    sample("celery", **{"waiting:celery": 400, "waiting:quick": 3, "held": 1})
    answer = found("celery.queued")
    assert answer.reading is not None
    assert answer.reading.value == 403
    assert "most of them in celery" in answer.reading.sentence


def test_an_old_sample_proves_nothing() -> None:
    taking.take_samples()
    Sample.objects.update(read_at=timezone.now() - timedelta(minutes=5))
    for name in ("memories.failed", "redis-state.memory", "redis-cache.evictions", "celery.queued"):
        assert "no fresh figure" in found(name).trouble, name
