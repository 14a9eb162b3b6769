"""One record for every login: without a live one nobody is logged in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F
from django.test import Client, override_settings
from django_redis import get_redis_connection

from arcweb.accounts import records
from arcweb.accounts.models import UserSession
from arcweb.events.models import Event, EventDetail
from tests.people import PASSWORD, client_of, make_user

pytestmark = pytest.mark.django_db
PAGE = "/password_change/"
End = UserSession.End


def only() -> UserSession:
    return UserSession.objects.get()


def logged_in(client: Client) -> bool:
    return bool(client.get(PAGE).status_code == 200)


def sign_in(client: Client, name: str = "ada", password: str = PASSWORD, **meta: Any) -> Any:
    return client.post("/login/", {"username": name, "password": password}, **meta)


def age(**fields: timedelta) -> None:
    UserSession.objects.update(**{name: F(name) - by for name, by in fields.items()})


@pytest.fixture
def ada() -> User:
    return make_user("viewer", "ada", password=PASSWORD)


def test_a_login_leaves_one_record_and_never_the_key(client: Client, ada: User) -> None:
    client.get("/login/")
    sign_in(client, REMOTE_ADDR="192.0.2.7", HTTP_USER_AGENT="Firefox")
    made = only()
    assert (made.user, made.address, made.user_agent, made.ended_at) == (ada, "192.0.2.7", "Firefox", None)
    key = client.session.session_key
    assert key is not None
    assert made.key_hash == records.hash_of(key)
    assert logged_in(client)
    client.post("/logout/")
    made.refresh_from_db()
    assert made.ended_at is not None
    assert made.ended_reason == End.LOGOUT
    said = [str(row) for model in (Event, EventDetail, UserSession) for row in model.objects.values_list()]
    assert not any(key in row for row in said)


def test_the_key_changes_at_every_login(client: Client, ada: User) -> None:
    session = client.session
    session["before"] = "login"
    session.save()
    keys = [client.session.session_key]
    for _ in range(3):  # the second and third while logged in
        sign_in(client)
        keys.append(client.session.session_key)
        assert logged_in(client)
    assert len(set(keys)) == 4
    assert UserSession.objects.filter(ended_at=None).count() == 1
    assert UserSession.objects.filter(ended_reason=End.REPLACED).count() == 2
    other = make_user("viewer", "bob", password=PASSWORD)
    sign_in(client, "bob")
    assert client.session.session_key not in keys
    assert UserSession.objects.get(ended_at=None).user == other, "the login before has ended too"
    assert logged_in(client)
    for key in keys[1:]:
        stolen = Client()
        stolen.cookies[settings.SESSION_COOKIE_NAME] = str(key)
        assert not logged_in(stolen)


def test_no_record_is_no_login(ada: User) -> None:
    client = client_of(ada)
    assert logged_in(client)
    UserSession.objects.all().delete()
    assert not logged_in(client)


def test_a_page_asks_once_for_the_user_and_writes_nothing(
    ada: User, django_assert_num_queries: Callable[..., Any]
) -> None:
    client = client_of(ada)
    get_redis_connection("default").ping()
    with django_assert_num_queries(1):
        client.get("/account/theme/")  # refused: POST only, but the user is looked up


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"last_seen_at": timedelta(hours=2, seconds=1)}, "idle"),
        ({"created_at": timedelta(hours=12, seconds=1)}, "expired"),
    ],
)
def test_a_login_ends_when_idle_or_old_and_says_why(ada: User, change: Any, code: str) -> None:
    client = client_of(ada)
    age(**{name: by - timedelta(seconds=60) for name, by in change.items()})
    assert logged_in(client)
    UserSession.objects.update(last_seen_at=F("last_seen_at"))
    age(**change)
    response = client.get(PAGE)
    assert response.status_code == 302
    assert response.headers["Location"].endswith(f"&ended={code}")
    assert (only().ended_reason, only().ended_at is not None) == (code, True)
    page = client.get(response.headers["Location"])
    assert page.context["ended_sentence"]
    sign_in(client)
    assert logged_in(client)


@override_settings(ARC_SESSION_IDLE_SECONDS=300, ARC_SESSION_SECONDS=600)
def test_both_limits_are_settings(ada: User) -> None:
    client = client_of(ada)
    age(last_seen_at=timedelta(seconds=240), created_at=timedelta(seconds=540))
    assert logged_in(client)
    age(last_seen_at=timedelta(seconds=70))
    assert logged_in(client), "it was seen just now"
    age(created_at=timedelta(seconds=70))
    assert not logged_in(client)


def test_it_is_seen_at_most_once_a_minute_and_not_by_a_page_that_refreshes_itself(ada: User) -> None:
    client = client_of(ada)
    before = only().last_seen_at
    client.get(PAGE)
    assert only().last_seen_at == before
    age(last_seen_at=timedelta(seconds=61))
    old = only().last_seen_at
    client.get(PAGE, headers={"HX-Request": "true"})
    assert only().last_seen_at == old
    client.get(PAGE)
    seen = only().last_seen_at
    assert seen > old
    assert UserSession.objects.seen(only().pk) == 0


@pytest.mark.django_db(transaction=True)
def test_of_many_requests_at_once_one_notes_that_it_was_seen() -> None:
    client_of("viewer")
    age(last_seen_at=timedelta(seconds=61))
    pk = only().pk
    assert sorted(at_once(lambda: UserSession.objects.seen(pk))) == [0, 0, 0, 1]


def test_a_new_password_ends_all_other_logins(ada: User) -> None:
    here, there = client_of(ada), client_of(ada)
    new = "a quite different phrase"
    data = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    key = here.session.session_key
    assert here.post(PAGE, data).status_code == 302
    assert here.session.session_key != key
    assert logged_in(here)
    response = there.get(PAGE)
    assert response.headers["Location"].endswith("&ended=password")
    event = Event.objects.get(kind="session.ended")
    assert (event.actor_id, event.data) == (str(ada.pk), {"sessions": 1, "reason": "password"})


def test_a_password_or_a_deactivation_from_elsewhere_counts_from_the_next_request(ada: User) -> None:
    client = client_of(ada)
    User.objects.filter(pk=ada.pk).update(password="!elsewhere")
    assert client.get(PAGE).headers["Location"].endswith("&ended=password")
    assert only().ended_reason == End.PASSWORD
    again = client_of(User.objects.get(pk=ada.pk))
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert again.get(PAGE).headers["Location"].endswith("&ended=deactivated")
    User.objects.filter(pk=ada.pk).update(is_active=True)
    assert not logged_in(again), "what has ended stays dead"


def test_a_deactivation_ends_sessions_that_ask_for_nothing(ada: User) -> None:
    client = client_of(ada)
    ada.is_active = False
    ada.save()
    assert only().ended_reason == End.DEACTIVATED
    ada.is_active = True
    ada.save()
    assert not logged_in(client)
    assert Event.objects.get(kind="session.ended").data == {"sessions": 1, "reason": "deactivated"}


def test_a_login_that_renews_the_hash_of_the_password_ends_nothing(ada: User) -> None:
    there = client_of(ada)
    ada.refresh_from_db()
    ada.last_login = None
    ada.save()
    assert logged_in(there)


def at_once(call: Callable[[], Any], times: int = 4) -> list[Any]:
    start = threading.Barrier(times)
    results: list[Any] = []

    def run() -> None:
        start.wait()
        try:
            results.append(call())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == times
    return results


@pytest.mark.django_db(transaction=True)
def test_of_two_who_revoke_at_once_one_wins_and_one_event_tells() -> None:
    user = make_user("viewer")
    for _ in range(3):
        client_of(user)
    second: list[int] = []

    def revoke() -> None:
        try:
            second.append(records.end(UserSession.objects.live(), user, End.REVOKED))
        finally:
            connection.close()

    other = threading.Thread(target=revoke)
    with transaction.atomic():
        assert records.end(UserSession.objects.live(), user, End.REVOKED) == 3
        other.start()
        other.join(0.5)
        assert other.is_alive(), "it waits for the first"
    other.join()
    assert second == [0]
    assert [event.data["sessions"] for event in Event.objects.filter(kind="session.revoked")] == [3]


@pytest.mark.django_db(transaction=True)
def test_a_revocation_whose_event_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user("viewer")
    client = client_of(user)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(records, "record", fail)
    with pytest.raises(ZeroDivisionError):
        records.end(UserSession.objects.live(), user, End.REVOKED)
    assert logged_in(client)


def test_old_records_are_forgotten_and_what_ran_out_is_marked(ada: User) -> None:
    for _ in range(4):
        client_of(ada)
    idle, old, ended, live = UserSession.objects.order_by("pk")
    rows = UserSession.objects
    rows.filter(pk=idle.pk).update(last_seen_at=F("last_seen_at") - timedelta(hours=3))
    rows.filter(pk=old.pk).update(created_at=F("created_at") - timedelta(days=1))
    rows.filter(pk=ended.pk).update(ended_at=F("created_at") - timedelta(days=31), ended_reason=End.LOGOUT)
    done = records.forget_old()
    assert (done["marked"], done["sessions"]) == (2, 1)
    assert dict(rows.values_list("pk", "ended_reason")) == {idle.pk: "idle", old.pk: "expired", live.pk: ""}
