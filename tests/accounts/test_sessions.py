"""Sessions on Redis that PostgreSQL keeps."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.test import Client
from django.test.utils import override_settings
from django_redis import get_redis_connection
from redis.connection import AbstractConnection

from arcweb.accounts import sessions
from arcweb.accounts.sessions import SessionStore
from arcweb.embedded.stack import Stack

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions._Health, "paused_until", 0.0)
    monkeypatch.setattr(sessions._Health, "logged_at", float("-inf"))
    get_redis_connection("default").flushdb()


@pytest.fixture
def dead_redis(settings: Any) -> Iterator[None]:
    dead = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    with override_settings(CACHES={"default": dead}):
        yield


@pytest.fixture
def login(client: Client) -> Client:
    User.objects.create_superuser("ada", password=PASSWORD)
    response = client.post("/login/", {"username": "ada", "password": PASSWORD})
    assert response.status_code == 302
    return client


def logged_in(client: Client) -> bool:
    return bool(client.get("/").status_code == 200)


def stored(**values: Any) -> str:
    store = SessionStore()
    store.update(values)
    store.save()
    assert store.session_key
    return store.session_key


def test_a_read_is_one_round_trip_and_no_query(
    django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stored(color="blue")
    sent = []
    send = AbstractConnection.send_packed_command

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(args)
        return send(self, *args, **kwargs)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    with django_assert_num_queries(0):
        assert SessionStore(key)["color"] == "blue"
    assert len(sent) == 1


def test_a_flush_of_redis_logs_nobody_out_and_fills_it_again(
    login: Client, django_assert_num_queries: Any
) -> None:
    get_redis_connection("default").flushdb()
    assert logged_in(login)
    key = login.session.session_key
    with django_assert_num_queries(0):
        assert "_auth_user_id" in SessionStore(key)


def test_without_redis_people_stay_logged_in_log_in_and_log_out(login: Client, dead_redis: None) -> None:
    assert logged_in(login)
    newcomer = Client()
    assert not logged_in(newcomer)
    assert newcomer.post("/login/", {"username": "ada", "password": PASSWORD}).status_code == 302
    assert logged_in(newcomer)
    newcomer.post("/logout/")
    assert not logged_in(newcomer)
    assert logged_in(login)


def test_an_outage_is_logged_once_a_minute_and_without_the_key(
    dead_redis: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO):
        key = stored(color="blue")
        for _ in range(20):
            assert SessionStore(key)["color"] == "blue"
            SessionStore(key).exists(key)
            sessions._Health.paused_until = 0.0
    about = [record for record in caplog.records if record.name == sessions.__name__]
    assert len(about) == 1
    assert key not in caplog.text
    monkeypatch.setattr(sessions._Health, "logged_at", time.monotonic() - 61)
    SessionStore(key).save()
    assert len([record for record in caplog.records if record.name == sessions.__name__]) == 2


def test_deletion_removes_both() -> None:
    key = stored(color="blue")
    cache_key = SessionStore(key).cache_key
    assert caches["default"].get(cache_key) == {"color": "blue"}
    SessionStore(key).delete()
    assert caches["default"].get(cache_key) is None
    assert not Session.objects.filter(pk=key).exists()
    assert not SessionStore().exists(key)


def test_rubbish_in_redis_is_read_from_the_database() -> None:
    key = stored(color="blue")
    client = get_redis_connection("default")
    (name,) = client.keys("*")
    for rubbish in (b"not json", b"[1]", b"\x80\x04"):
        client.set(name, rubbish)
        assert SessionStore(key)["color"] == "blue"


def test_a_killed_and_a_frozen_redis(
    login: Client, throwaway_stack: Callable[..., Stack], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outage itself: a page pays one timeout, and nobody is logged out by it or after it."""
    failed: list[Exception] = []
    told = sessions._Health.failed
    monkeypatch.setattr(sessions, "PAUSE", 600)
    monkeypatch.setattr(sessions._Health, "failed", lambda error: (failed.append(error), told(error)))
    stack = throwaway_stack(postgres=False)
    own = {**settings.CACHES["default"], "LOCATION": stack.layout.redis_url("cache")}
    socket = str(stack.layout.valkey_socket("cache"))
    with override_settings(CACHES={"default": own}):
        assert logged_in(login)
        get_redis_connection("default").ping()
        (server,) = [
            process
            for process in psutil.process_iter(["cmdline"])
            if socket in " ".join(process.info["cmdline"] or [])
        ]
        for deed, undo in ((signal.SIGSTOP, signal.SIGCONT), (signal.SIGKILL, None)):
            sessions._Health.paused_until = 0.0
            server.send_signal(deed)
            failed.clear()
            assert logged_in(login)
            SessionStore(login.session.session_key).load()
            assert len(failed) == 1, "a second read within the pause pays no second timeout"
            if undo:
                server.send_signal(undo)
                sessions._Health.paused_until = 0.0
                assert logged_in(login)
