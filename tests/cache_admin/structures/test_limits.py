"""Rate limits: never above the limit in any window, and what the page says of them."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from redis import Redis
from redis.connection import Connection

from arcweb.events.models import Event, EventDetail
from cache_admin import codes
from cache_admin.keys import names
from cache_admin.structures import limit_views, limits, quick
from cache_admin.structures.limits import Limit
from tests.cache_admin.conftest import HURRIED
from tests.cache_admin.structures.conftest import in_processes
from tests.people import client_of
from tests.running import ROOT

URL = reverse("admin:redis_limits")
RESET = reverse("admin:redis_limit_reset")
HAMMERED = Limit("hammered", rate=60, per_seconds=1, burst=15)


def calls_of(server: socket.socket) -> int:
    """How many connections wait to be taken there: each has cost whoever made it a timeout."""
    server.setblocking(False)
    found = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            found += 1
    return found


def hammer(number: int, folder: Path, until: float) -> None:
    allowed = []
    while time.monotonic() < until:
        verdict = HAMMERED.hit("somebody")
        assert verdict.known
        if verdict.allowed:
            allowed.append(f"{verdict.at:.6f}")
    (folder / str(number)).write_text(" ".join(allowed))


def test_twenty_processes_never_get_more_than_the_limit_in_any_window(tmp_path: Path, state: Redis) -> None:
    seconds = 2.0
    in_processes(20, hammer, tmp_path, time.monotonic() + seconds)
    times = sorted(float(one) for part in tmp_path.iterdir() for one in part.read_text().split())
    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            most = HAMMERED.burst + HAMMERED.rate * (times[last] - begin) / HAMMERED.per_seconds
            assert last - first + 1 <= most + 1e-6, f"{last - first + 1} in {times[last] - begin:.3f} s"
    best = max(sum(begin <= one <= begin + 1 for one in times) for begin in times)
    assert best > 0.4 * (HAMMERED.burst + HAMMERED.rate)  # and it does not refuse too much
    slow = replace(HAMMERED, per_seconds=3600)
    assert all(slow.hit("another").allowed for _ in range(slow.burst - 3))
    assert 0 < state.pttl(slow.key("another")) <= 1000 * slow.per_seconds * slow.burst / slow.rate + 1


def test_a_burst_then_the_rate_then_all_of_it_again(state: Redis) -> None:
    limit = Limit("small", rate=2, per_seconds=200, burst=3)
    assert [limit.hit("a").remaining for _ in range(3)] == [2, 1, 0]
    refused = limit.hit("a")
    assert not refused.allowed
    assert 0 < refused.retry_after <= 100
    assert 200 < refused.reset_after <= 300
    assert limit.hit("b").allowed  # another identity has its own
    assert not limit.peek("a").allowed
    pass_by(state, limit.key("a"), refused.retry_after)
    assert limit.hit("a").allowed
    assert not limit.hit("a").allowed
    assert limit.reset("a")
    assert limit.peek("a").remaining == 3
    assert limit.peek("a").reset_after == 0


def pass_by(state: Redis, key: str, seconds: float) -> None:
    """As if so much time went by for that identity: what is kept of it is a moment."""
    state.set(key, int(state.get(key) or 0) - math.ceil(seconds * limits.MICRO), keepttl=True)


def test_a_hit_that_costs_more_is_taken_whole_or_not_at_all() -> None:
    limit = Limit("heavy", rate=1, per_seconds=1000, burst=5)
    assert limit.hit("a", 3).remaining == 2
    refused = limit.hit("a", 4)
    assert not refused.allowed
    assert 1900 < refused.retry_after <= 2000
    assert limit.hit("a", 2).allowed
    with pytest.raises(ValueError, match="costs from 1 to 5, not 6"):
        limit.hit("a", 6)


@pytest.mark.parametrize("left", [b"no number", b"9999999999999999", b""])
def test_what_others_left_in_the_key_locks_nobody_out_for_long(state: Redis, left: bytes) -> None:
    limit = Limit("odd", rate=10, per_seconds=1, burst=2)
    state.set(limit.key("a"), left)
    assert limit.peek("a").retry_after <= 0.1
    time.sleep(0.12)
    assert limit.hit("a").allowed
    assert state.pttl(limit.key("a")) != -1, "it ends"


@pytest.mark.parametrize(("when_away", "allowed"), [("open", True), ("closed", False)])
def test_without_redis_a_limit_does_what_it_says_at_once(
    settings: Any, monkeypatch: pytest.MonkeyPatch, when_away: Any, allowed: bool
) -> None:
    tries = []
    connect = Connection._connect
    monkeypatch.setattr(Connection, "_connect", lambda own: (tries.append(own), connect(own))[1])
    monkeypatch.setattr(quick, "PAUSE", 600)
    settings.REDIS_STATE_URL = "redis://127.0.0.1:1/0"
    limit = replace(HAMMERED, when_away=when_away)
    for _ in range(50):
        verdict = limit.hit("a")
        assert (verdict.allowed, verdict.known) == (allowed, False)
    assert len(tries) == 1


def test_a_server_that_hangs_costs_one_timeout_then_nothing(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick, "PAUSE", 600)
    settings.ARC_REDIS_TIMEOUT = HURRIED
    with socket.create_server(("127.0.0.1", 0)) as hung:
        settings.REDIS_STATE_URL = f"redis://127.0.0.1:{hung.getsockname()[1]}/0"
        verdicts = [HAMMERED.hit("a") for _ in range(50)]
        assert all(verdict.allowed and not verdict.known for verdict in verdicts)
        assert calls_of(hung) == 1


@pytest.mark.django_db
@pytest.mark.usefixtures("own_state")  # whose calls are counted
def test_the_page_costs_the_same_for_one_and_for_many(
    state: Redis, django_assert_max_num_queries: Any
) -> None:
    browser = client_of("administrator")
    browser.get(URL)
    numbers = []
    for identities in (1, 300):
        for number in range(identities):
            limits.LOGIN.hit(f"user:{number}")
        with django_assert_max_num_queries(10) as asked:
            before = int(state.info("stats")["total_commands_processed"])
            assert browser.get(URL).status_code == 200
            after = int(state.info("stats")["total_commands_processed"])
        numbers.append((len(asked.captured_queries), after - before))
    assert numbers[0][0] == numbers[1][0]
    assert numbers[1][1] < numbers[0][1] + 2 * limit_views.MOST  # a GET for each row that is shown, no more


@pytest.fixture
def slow_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was hit stays so while a test looks."""
    slow = replace(limits.LOGIN, per_seconds=36_000)
    monkeypatch.setattr(limits, "LOGIN", slow)
    monkeypatch.setitem(limits._limits, "login", slow)


@pytest.mark.django_db
@pytest.mark.usefixtures("slow_login")
def test_the_page_shows_who_has_how_much_left(state: Redis) -> None:
    for _ in range(limits.SEARCH.burst):
        limits.SEARCH.hit("user:<b>1")
    limits.LOGIN.hit("key-7")
    html = client_of("viewer").get(URL).content.decode()
    assert "user:&lt;b&gt;1" in html
    assert "<b>1" not in html
    assert "of 10 left" not in html
    assert "9 of 10<" in html
    assert "Reset…" not in html
    html = client_of("operator").get(URL, {"limit": "login", "identity": "key-7"}).content.decode()
    assert "9 of 10 left" in html
    assert "Reset…" in html


@pytest.mark.django_db
@pytest.mark.usefixtures("slow_login")
def test_a_reset_asks_first_and_leaves_an_event_without_the_identity(state: Redis) -> None:
    limits.LOGIN.hit("grace@example.org")
    key = codes.encode(limits.LOGIN.key("grace@example.org").encode())
    assert client_of("viewer").post(RESET, {"key": key, "typed": "reset"}).status_code == 403
    browser = client_of("operator")
    assert b"To confirm, type" in browser.post(RESET, {"key": key}).content
    assert b"Nothing was done" in browser.post(RESET, {"key": key, "typed": "rest"}).content
    assert limits.LOGIN.peek("grace@example.org").remaining == 9
    response = browser.post(RESET, {"key": key, "typed": "reset"}, follow=True)
    assert b"The limit is reset" in response.content
    assert limits.LOGIN.peek("grace@example.org").remaining == 10
    event = Event.objects.get(kind="limit.reset")
    assert event.data == {"limit": "login", "role": "state"}
    details = EventDetail.objects.get(event_id=event.id)
    assert "grace" not in f"{event.object_id} {details.label} {details.note}"


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "%%%", "c2Vzc2lvbjphYmMxMjM", codes.encode(b"arcweb:celery:celery")])
def test_only_limits_are_reset(state: Redis, key: str) -> None:
    state.rpush("arcweb:celery:celery", "a job")
    response = client_of("operator").post(RESET, {"key": key, "typed": "reset"})
    assert response.status_code == 400
    assert state.exists("arcweb:celery:celery")


@pytest.mark.django_db
def test_a_counter_without_an_expiry_is_flagged(state: Redis) -> None:
    state.incr("rate:user:123:requests")
    state.set(b"rate:\xff\n<i>", "5", ex=60)
    browser = client_of("operator")
    html = browser.get(URL).content.decode()
    assert "1 counter of other services has no expiry" in html
    assert "Its EXPIRE was lost or never sent" in html
    assert r"rate:\xff\n&lt;i&gt;" in html
    browser.post(RESET, {"key": codes.encode(b"rate:user:123:requests"), "typed": "reset"})
    assert not state.exists("rate:user:123:requests")


@pytest.mark.django_db
def test_viewers_see_counts_and_nothing_that_is_masked_on_the_page_of_the_key(state: Redis) -> None:
    state.set("rate:user:7:requests", "4711", ex=60)
    state.set("rate:user:8:token", "hunter23", ex=60)
    state.set("rate:user:9", '{"secret": "hunter22"}', ex=60)
    html = client_of("viewer").get(URL).content.decode()
    assert "4711" in html
    assert "hunter2" not in html
    assert "hunter22" in client_of("operator").get(URL).content.decode()


@pytest.mark.django_db
def test_files_are_limited_for_each_user(state: Redis, monkeypatch: Any) -> None:
    state.set("file", "x")
    tight = replace(limits.API, rate=1, per_seconds=3000, burst=2)
    monkeypatch.setitem(limits._limits, "api", tight)
    browser = client_of("operator")
    url = f"/redis/keys/{names.code_of(b'file')}/download/?role=state"
    taken = [browser.get(url).status_code for _ in range(2)]
    taken.append(browser.post("/events/export/", {"format": "csv"}).status_code)
    assert taken == [200, 200, 429]
    assert "There were too many files of yours" in browser.get(url).content.decode()
    assert client_of("viewer").get(url).status_code == 200


@pytest.mark.django_db
def test_the_page_says_who_asks_a_limit_and_what_sets_it(state: Redis) -> None:
    html = client_of("viewer").get(URL).content.decode()
    for words in ("ARC_LIMIT_SEARCH", "ARC_LIMIT_API", "Events, Keys", "not in use here"):
        assert words in html
    assert html.count("not in use here") == 1  # login: logins here are counted in PostgreSQL


@pytest.mark.parametrize(("value", "rate"), [("7", 7), ("0", None), ("many", None)])
def test_limits_are_set_by_the_environment(value: str, rate: int | None) -> None:
    code = "from cache_admin.structures.limits import SEARCH; print(SEARCH.rate, SEARCH.burst)"
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v0", "--no-imports", "-c", code],
        env={**os.environ, "ARC_LIMIT_SEARCH": value, "ARC_LIMIT_SEARCH_BURST": "3"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if rate is None:
        assert done.returncode != 0
        assert "ARC_LIMIT_SEARCH" in done.stderr
    else:
        assert done.stdout.split() == [str(rate), "3"]


@pytest.mark.django_db
def test_the_search_page_is_limited_for_each_user(client: Client, monkeypatch: Any) -> None:
    tight = replace(limits.SEARCH, rate=1, per_seconds=3000, burst=2)
    monkeypatch.setitem(limits._limits, "search", tight)
    url = reverse("admin:memories_search")
    browser = client_of("viewer")
    asked = {"q": "leases", "mode": "keyword"}
    assert [browser.get(url, asked).status_code for _ in range(3)] == [200, 200, 429]
    response = browser.get(url, asked)
    assert 1 <= int(response["Retry-After"]) <= 3000
    assert "There were too many searches of yours" in response.content.decode()
    assert f'href="{url}?q=leases&amp;mode=keyword"' in response.content.decode()
    assert browser.get(url).status_code == 200  # the form alone costs nothing
    assert client_of("viewer").get(url, asked).status_code == 200
