"""Locks: never two holders, numbers that rise, holders that die; and the page that takes one away."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from django.urls import reverse
from redis import Redis
from redis.exceptions import LockError, LockNotOwnedError

from arcweb.events.models import Event, EventDetail
from cache_admin import codes
from cache_admin.server.purposes import purpose_of
from cache_admin.structures import leaderboards, locks
from tests.cache_admin.structures.conftest import CONTEXT, in_processes
from tests.people import client_of

URL = reverse("admin:redis_locks")
RELEASE = reverse("admin:redis_lock_release")
ROUNDS = 3


def work(number: int, folder: Path) -> None:
    for _ in range(ROUNDS):
        with locks.lock("busy", timeout=120, wait=150) as held:
            inside = os.open(folder / "inside", os.O_CREAT | os.O_EXCL)  # fails while another is inside
            with (folder / "fences").open("a") as fences:
                fences.write(f"{held.fence}\n")
            time.sleep(0.005)
            os.close(inside)
            (folder / "inside").unlink()


def test_fifty_processes_are_never_two_inside_and_the_numbers_rise(tmp_path: Path, state: Redis) -> None:
    in_processes(50, work, tmp_path)
    fences = [int(line) for line in (tmp_path / "fences").read_text().split()]
    assert len(fences) == 50 * ROUNDS
    assert fences == sorted(set(fences))
    assert not state.exists("arcweb:lock:busy")


def hold(ready: Path, seconds: float) -> None:
    held = locks.lock("deadly", timeout=seconds)
    assert held.acquire()
    ready.write_text(str(held.fence))
    time.sleep(600)


def test_a_killed_holder_keeps_its_lock_until_the_timeout_and_no_longer(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = CONTEXT.Process(target=hold, args=(ready, 5.0))
    begun = time.monotonic()
    process.start()
    while not ready.exists() or not ready.read_text():
        time.sleep(0.01)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with pytest.raises(LockError), locks.lock("deadly", timeout=60):
        pass
    with locks.lock("deadly", timeout=60, wait=60) as held:
        assert time.monotonic() - begun >= 5.0
        assert held.fence > int(ready.read_text())


def test_a_late_holder_is_told_and_takes_nothing_from_the_next(state: Redis) -> None:
    late = locks.lock("slow", timeout=0.5)
    assert late.acquire()
    first = late.fence
    time.sleep(0.6)
    with locks.lock("slow", timeout=60) as held:
        assert held.fence > first
        with pytest.raises(LockNotOwnedError):
            late.release()
        with pytest.raises(LockError):
            late.fence  # noqa: B018 - it raises
        assert held.owned()
        held.extend(600)
        assert 60_000 < state.pttl("arcweb:lock:slow") <= 660_000


def test_numbers_rise_even_when_the_counter_is_lost(state: Redis) -> None:
    with locks.lock("a", timeout=60) as held:
        first = held.fence
    state.flushdb()
    time.sleep(0.002)
    with locks.lock("a", timeout=60) as held:
        assert held.fence > first


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_lock_without_a_timeout_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="needs a timeout"):
        locks.lock("a", timeout=timeout)


def test_own_locks_are_found_where_the_look_ends_early(state: Redis) -> None:
    state.eval("for i = 1, 20000 do redis.call('SET', 'filler:' .. i, '') end", 0)
    state.set("lock:plain", "x", ex=60)
    with locks.lock("report", timeout=60):
        state.zadd(locks.LISTED, {f"arcweb:lock:long-released-{n}": n for n in range(50)})
        found = locks.find(state, 100, seconds=200)
        assert found.complete
        assert found.keys == (b"arcweb:lock:report", b"lock:plain")
        found = locks.find(state, 100, seconds=0)
        assert not found.complete
        assert b"arcweb:lock:report" in found.keys


def test_the_list_of_locks_is_bounded(state: Redis) -> None:
    state.zadd(locks.LISTED, {f"arcweb:lock:{n}": n for n in range(locks.MOST_LISTED + 10)})
    with locks.lock("report", timeout=60):
        assert state.zcard(locks.LISTED) == locks.MOST_LISTED
        assert state.zscore(locks.LISTED, "arcweb:lock:report")


def test_whatever_belongs_to_locks_is_known_as_that(state: Redis) -> None:
    with locks.lock("wanted", timeout=60):
        assert not locks.lock("wanted", timeout=60, wait=0.06).acquire()
        keys = set(state.scan_iter())
        assert len(keys) == 4
        assert {purpose_of(key, state.type(key)) for key in keys} == {"lock"}
        assert not leaderboards.boards_in(state, 10).keys


def test_those_who_wait_are_counted(state: Redis) -> None:
    with locks.lock("wanted", timeout=60, owner="first"):
        waiting = locks.lock("wanted", timeout=60, wait=0.12)
        assert not waiting.acquire()
        waiting.redis.close()
        [held] = locks.read(state, [b"arcweb:lock:wanted"])
        assert (held.owner, held.waiters) == ("first", 1)
        assert 0 < state.pttl("arcweb:locks:waiters:wanted") <= 5000


@pytest.mark.django_db
def test_the_page_takes_a_lock_from_the_holder_that_was_seen_and_from_no_other(state: Redis) -> None:
    held = locks.lock("report", timeout=600, owner="worker <7>")
    assert held.acquire()
    browser = client_of("operator")
    html = browser.get(URL).content.decode()
    assert "worker &lt;7&gt;" in html
    assert str(held.fence) in html
    assert held.local.token.decode() not in html
    [seen] = locks.read(state, [b"arcweb:lock:report"])
    form = {"key": codes.encode(seen.key), "holder": seen.digest}
    assert client_of("viewer").post(RELEASE, {**form, "typed": "release"}).status_code == 403
    asks = browser.post(RELEASE, form).content.decode()
    assert "does not stop its holder" in asks
    assert not Event.objects.filter(kind="lock.taken_away").exists()
    held.release()
    other = locks.lock("report", timeout=600, owner="next")
    assert other.acquire()
    late = browser.post(RELEASE, {**form, "typed": "release"})
    assert late.status_code == 404
    assert "has another holder now" in late.content.decode()
    assert not locks.force_release(state, seen.key, seen.digest)
    assert other.owned()
    [seen] = locks.read(state, [b"arcweb:lock:report"])
    done = browser.post(RELEASE, {**form, "holder": seen.digest, "typed": "release"}, follow=True)
    assert "may still be at work" in done.content.decode()
    with pytest.raises(LockNotOwnedError):
        other.release()
    event = Event.objects.get(kind="lock.taken_away")
    assert EventDetail.objects.get(event_id=event.id).note == "held by next"
    assert event.data == {"role": "state", "fence": seen.fence}
    held.redis.close()
    other.redis.close()


@pytest.mark.django_db
def test_plain_locks_are_shown_and_those_that_never_run_out_are_flagged(state: Redis) -> None:
    state.set("lock:resource:123", "worker-1", ex=600)
    state.set(b"lock:\xff<i>", b"\x00<b>", nx=True)
    state.set("lock:long", "x" * 5000, ex=600)
    state.hset("lock:hash", "a", "b")
    state.set("session:lock:secret", "x")
    browser = client_of("operator")
    html = browser.get(URL).content.decode()
    assert "lock:resource:123" in html
    assert "worker-1" in html
    assert r"lock:\xff&lt;i&gt;" in html
    assert "1 lock has no expiry" in html
    assert "value too long" in html
    assert "secret" not in html
    [held] = locks.read(state, [b"lock:resource:123"])
    form = {"key": codes.encode(b"lock:resource:123"), "holder": held.digest, "typed": "release"}
    browser.post(RELEASE, form)
    assert not state.exists("lock:resource:123")


@pytest.mark.django_db
def test_viewers_see_who_holds_a_lock_and_nothing_that_is_masked_on_its_keys_page(state: Redis) -> None:
    state.set("lock:report", "worker-1", ex=100)
    state.set("lock:mail", '{"owner": "worker-2", "password": "hunter22"}', ex=100)
    state.set("lock:login", "session:abcdefghijklmnop", ex=100)
    state.set("lock:user:7:token", "hunter23", ex=100)
    seen = client_of("viewer").get(URL).content.decode()
    assert "worker-1" in seen
    assert "worker-2" in seen
    assert "session:abcd…" in seen
    assert not re.search("hunter2|efghij", seen)
    page = client_of("viewer").get(f"/redis/keys/{codes.encode(b'lock:report')}/?role=state")
    assert "worker-1" in page.content.decode()
    operator = client_of("operator")
    assert "hunter22" in operator.get(URL).content.decode()
    [held] = locks.read(state, [b"lock:mail"])
    form = {"key": codes.encode(held.key), "holder": held.digest, "typed": "release"}
    operator.post(RELEASE, form)
    event = Event.objects.get(kind="lock.taken_away")
    note = EventDetail.objects.get(event_id=event.id).note
    assert "worker-2" in note
    assert "hunter" not in note


@pytest.mark.django_db
@pytest.mark.parametrize("key", [b"arcweb:celery:celery", b"user:1", b"session:abc"])
def test_only_locks_are_released(state: Redis, key: bytes) -> None:
    state.set(key, "x")
    form = {"key": codes.encode(key), "holder": "x", "typed": "release"}
    assert client_of("operator").post(RELEASE, form).status_code == 400
    assert state.exists(key)
