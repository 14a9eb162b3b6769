"""Sessions in Redis: masked everywhere, foreign ones deleted by a digest, a flush logs nobody out."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from django.conf import settings
from django.urls import reverse
from redis import Redis

from arcweb.accounts import records
from arcweb.accounts.models import UserSession
from arcweb.events.models import Event, EventDetail
from cache_admin.structures import session_keys
from tests.people import client_of, make_user

URL = reverse("admin:redis_sessions")
DELETE = reverse("admin:redis_session_delete")
pytestmark = pytest.mark.django_db


def test_own_sessions_show_the_user_and_neither_key_nor_secret(cache: Redis) -> None:
    user = make_user("administrator", "grace")
    browser = client_of(user)
    browser.get(reverse("admin:account"))
    [key] = [key for key in cache.scan_iter() if session_keys.is_own(key)]
    secret = browser.cookies[settings.SESSION_COOKIE_NAME].value
    assert secret.encode() in key
    html = browser.get(URL).content.decode()
    assert secret not in html
    assert f"{secret[:4]}…" in html
    assert ">grace<" in html
    assert "Revoke it there" in html
    assert json.loads(cache.get(key) or b"{}")["_auth_user_hash"] not in html
    seen_by_viewer = client_of("viewer").get(URL).content.decode()
    assert ">grace<" not in seen_by_viewer
    assert f"user {user.pk}" in seen_by_viewer


def test_the_copy_of_a_login_that_has_ended_says_so(cache: Redis, django_assert_max_num_queries: Any) -> None:
    grace, ada = make_user("administrator", "grace"), make_user("viewer", "ada")
    here, revoked, forgotten = client_of(grace), client_of(ada), client_of(ada)
    for browser in (here, revoked, forgotten):
        browser.get(reverse("admin:account"))
    html = here.get(URL).content.decode()
    assert html.count("Revoke it there") == 3
    assert "dead copy" not in html
    mine, *logins = UserSession.objects.order_by("pk")
    records.end(UserSession.objects.filter(pk=logins[0].pk), ada, UserSession.End.REVOKED, by=grace)
    logins[1].delete()
    assert len(list(cache.scan_iter())) == 3, "no record leads to its copy"
    with django_assert_max_num_queries(6):  # the user, permissions twice, records, names
        html = here.get(URL).content.decode()
    assert html.count("Revoke it there") == 1
    assert "revoked, a dead copy" in html
    assert "without a record, a dead copy" in html
    assert "2 are copies of logins that have ended: they let nobody in" in html
    assert revoked.get(reverse("admin:account")).status_code == 302
    assert mine.key_hash not in html


def test_an_own_session_is_not_deleted_here(cache: Redis) -> None:
    browser = client_of("administrator")
    browser.get(reverse("admin:account"))
    [key] = [key for key in cache.scan_iter() if session_keys.is_own(key)]
    digest = session_keys.digest_of(key)
    response = browser.post(DELETE, {"session": digest, "typed": digest[:6]})
    assert response.status_code == 400
    assert "use the page Sessions" in response.content.decode()
    assert cache.exists(key)


def test_a_foreign_session_is_deleted_by_its_digest(cache: Redis) -> None:
    cache.set(
        "session:abc123secret", json.dumps({"user_id": 123, "role": "admin", "csrf": "hidden"}), ex=1800
    )
    cache.set("session:other", "{}", ex=1800)
    browser = client_of("operator")
    html = browser.get(URL).content.decode()
    assert "session:abc1…" in html
    assert "abc123secret" not in html
    assert "hidden" not in html.replace('type="hidden"', "").replace("visually-hidden", "").replace(
        "aria-hidden", ""
    )
    assert "csrf" in html
    assert "user_id</span> 123" in html
    digest = session_keys.digest_of(b"session:abc123secret")
    assert f'value="{digest}"' in html
    assert client_of("viewer").post(DELETE, {"session": digest, "typed": digest[:6]}).status_code == 403
    asks = browser.post(DELETE, {"session": digest}).content.decode()
    assert f"<kbd>{digest[:6]}</kbd>" in asks
    assert "abc123secret" not in asks
    done = browser.post(DELETE, {"session": digest, "typed": digest[:6]}, follow=True)
    assert b"The session is deleted" in done.content
    assert not cache.exists("session:abc123secret")
    assert cache.exists("session:other")
    event = Event.objects.get(kind="redis_session.removed")
    details = EventDetail.objects.get(event_id=event.id)
    assert "abc1" not in f"{event.object_id} {event.data} {details.label} {details.note}"
    assert browser.post(DELETE, {"session": digest, "typed": digest[:6]}).status_code == 404


class Trap:
    sprung = False

    def __reduce__(self) -> Any:
        return setattr, (Trap, "sprung", True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (pickle.dumps(Trap()), "a Python pickle, which is never loaded"),
        (b"\xff\xfe", "not JSON, not decoded"),
        (b"[1]", "JSON, but no object"),
        (b"[" * 60_000, "not JSON, not decoded"),
        (b'{"a": "' + b"x" * 70_000 + b'"}', "too large to be decoded"),
        (b'{"<b>": 1, "user": "<i>"}', "&lt;i&gt;"),
        (b'{"_auth_user_id": "99999999999999999999999"}', "a session of Django"),
        (b'{"_auth_user_id": ["1"]}', "a session of Django"),
    ],
)
def test_any_value_is_told_in_words_and_none_is_run(cache: Redis, value: bytes, words: str) -> None:
    cache.set(b"session:\n<i>\xff" + b"k" * 10_000, value)
    html = client_of("operator").get(URL).content.decode()
    assert words in html
    assert "1 session has no expiry" in html
    assert not Trap.sprung


def test_sessions_of_another_django_are_not_this_sites(cache: Redis) -> None:
    for prefix in ("shop", ""):
        cache.set(
            f"{prefix}:1:django.contrib.sessions.cached_dbabcdefghijklmnop", '{"_auth_user_id": "7"}', ex=60
        )
    html = client_of("operator").get(URL).content.decode()
    assert "shop:1:django.contrib.sessions.cached_dbabcd…" in html
    assert html.count("user 7 there") == 2
    assert html.count("Delete…") == 2


def test_a_session_that_is_no_string_is_told_so(cache: Redis) -> None:
    cache.hset("sessions:abcdefgh", "user", "ada")
    assert "a hash, not decoded" in client_of("operator").get(URL).content.decode()


def test_a_flush_of_the_cache_role_logs_nobody_out(cache: Redis) -> None:
    browser = client_of("viewer")
    assert browser.get(reverse("admin:account")).status_code == 200
    assert any(session_keys.is_own(key) for key in cache.scan_iter())
    cache.flushdb()
    response = browser.get(reverse("admin:account"))
    assert response.status_code == 200
    assert any(session_keys.is_own(key) for key in cache.scan_iter())  # and it is quick again
