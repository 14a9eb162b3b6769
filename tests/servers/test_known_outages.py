"""What is known to be away is not asked again and again, and nothing is lost by that."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import caches

from arcweb import servers
from arcweb.accounts import sessions
from arcweb.accounts.sessions import SessionStore
from arcweb.jobs import dispatch
from arcweb.servers import Finding


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, web: list[str]) -> None:
    monkeypatch.setattr(sessions._Health, "paused_until", 0.0)
    monkeypatch.setattr(sessions._Health, "owed", {})
    monkeypatch.setattr(dispatch, "_paused_until", 0.0)


@pytest.mark.django_db
def test_sessions_that_changed_while_redis_was_away_are_read_anew() -> None:
    changed, ended = SessionStore(), SessionStore()
    for store in (changed, ended):
        store["color"] = "blue"
        store.save()
    servers.board.note("redis-cache", Finding(False))
    changed["color"] = "red"
    changed.save()
    ended.delete()
    assert SessionStore(changed.session_key)["color"] == "red"
    assert caches["default"].get(changed.cache_key) == {"color": "blue"}, "nobody asked Redis"
    key = ended.cache_key
    servers.board.note("redis-cache", Finding(True))
    assert SessionStore(changed.session_key)["color"] == "red"
    assert caches["default"].get(changed.cache_key) == {"color": "red"}
    assert caches["default"].get(key) is None
    assert sessions._Health.owed == {}


def test_a_frozen_redis_is_asked_once(monkeypatch: pytest.MonkeyPatch, web: list[str]) -> None:
    servers.board.note("redis-cache", Finding(False))
    monkeypatch.setattr(caches["default"], "get", lambda *_: pytest.fail("Redis was asked"))
    assert sessions.FallThroughCache(caches["default"]).get("any") is None


def test_debts_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_OWED", 3)
    for number in range(5):
        sessions._Health.owe(str(number))
    assert list(sessions._Health.owed) == ["2", "3", "4"]


@pytest.mark.django_db
def test_no_job_is_sent_to_a_broker_that_is_away(django_assert_num_queries: Any) -> None:
    servers.board.note("redis-state", Finding(False))
    with django_assert_num_queries(0):
        assert dispatch.send(uuid4()) is False
    servers.board.note("redis-state", Finding(True))
    with django_assert_num_queries(1):
        assert dispatch.send(uuid4()) is False, "there is no such job, but it was looked for"


def test_the_pause_after_a_failure_ends_when_the_broker_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_paused_until", time.monotonic() + dispatch.PAUSE - 2)
    assert dispatch._broker_is_away()
    servers.board.note("redis-state", Finding(False))
    assert dispatch._broker_is_away()
    servers.board.note("redis-state", Finding(True))
    assert not dispatch._broker_is_away()
