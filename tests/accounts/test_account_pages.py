"""The pages Account and Sessions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db.models import F
from django.test import Client
from django.utils import timezone

from arcweb.accounts.browsers import in_words
from arcweb.accounts.models import UserSession
from arcweb.events.models import Event
from tests.accounts.test_records import logged_in
from tests.people import PASSWORD, client_of, make_user

pytestmark = pytest.mark.django_db
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@pytest.fixture
def ada() -> User:
    return make_user("viewer", "ada")


@pytest.fixture
def boss() -> Client:
    return client_of(make_user("administrator", "boss"))


def many(user: User, number: int) -> None:
    UserSession.objects.bulk_create(
        UserSession(
            key_hash=f"{user.pk}-{row}",
            user=user,
            user_agent=f"{FIREFOX} {row % 7}",
            created_at=timezone.now(),
            last_seen_at=timezone.now(),
        )
        for row in range(number)
    )


def session_of(client: Client, user: User) -> UserSession:
    return UserSession.objects.filter(user=user).latest("pk")


def test_browsers_in_words() -> None:
    assert in_words(FIREFOX) == "Firefox 128 on Linux"
    assert in_words("") == in_words("x" * 300) == "unknown browser"
    assert in_words("<script>") == "unknown browser"


def test_one_sees_ones_own_sessions_and_revokes_one_in_another_browser(ada: User) -> None:
    here, there = client_of(ada), Client(HTTP_USER_AGENT=FIREFOX)
    there.force_login(ada)
    UserSession.objects.filter(pk=session_of(there, ada).pk).update(user_agent=FIREFOX, address="192.0.2.9")
    page = here.get("/account/").content.decode()
    assert "Firefox 128 on Linux" in page
    assert "192.0.2.9" in page
    assert page.count("this one") == 1
    assert here.session.session_key not in page
    assert UserSession.objects.first().key_hash not in page  # type: ignore[union-attr]
    pk = session_of(there, ada).pk
    assert "1 session is revoked" in here.post(f"/account/sessions/{pk}/end/", follow=True).content.decode()
    assert there.get("/account/").headers["Location"].endswith("&ended=revoked")
    assert logged_in(here)
    assert "ended already" in here.post(f"/account/sessions/{pk}/end/", follow=True).content.decode()
    event = Event.objects.get(kind="session.revoked")
    assert (event.object_id, event.data) == (str(ada.pk), {"sessions": 1, "reason": "revoked"})
    assert UserSession.objects.get(pk=pk).ended_by == ada


def test_all_others_end_at_once(ada: User) -> None:
    here, *others = [client_of(ada) for _ in range(4)]
    stranger = client_of("viewer")
    assert "all 3 others" in here.get("/account/").content.decode()
    assert "3 sessions are revoked" in here.post("/account/sessions/end/", follow=True).content.decode()
    assert logged_in(here)
    assert logged_in(stranger)
    assert not any(map(logged_in, others))


def test_somebody_elses_session_is_not_found(ada: User) -> None:
    client = client_of(ada)
    other = client_of("viewer")
    pk = UserSession.objects.exclude(user=ada).get().pk
    assert client.post(f"/account/sessions/{pk}/end/").status_code == 404
    assert client.post(f"/sessions/{pk}/end/").status_code == 403
    assert logged_in(other)
    for address in ("/account/sessions/1/end/", "/account/sessions/end/", "/account/theme/"):
        assert client.get(address).status_code == 405


def test_the_profile_is_saved_and_the_rest_of_the_account_is_not(ada: User) -> None:
    client = client_of(ada)
    data = {
        "first_name": "Ada",
        "last_name": "L",
        "email": "ada@example.org",
        "is_superuser": "1",
        "username": "x",
    }
    assert client.post("/account/", data).status_code == 302
    ada.refresh_from_db()
    assert (ada.first_name, ada.username, ada.is_superuser) == ("Ada", "ada", False)
    event = Event.objects.get(kind="user.changed")
    assert event.data == {"fields": ["first_name", "last_name", "email"]}
    client.post("/account/", data)
    assert Event.objects.filter(kind="user.changed").count() == 1, "nothing was changed the second time"
    wrong = client.post("/account/", {**data, "email": "no"})
    assert wrong.status_code == 200
    assert "valid email" in wrong.content.decode()


@pytest.mark.parametrize("theme", ["light", "dark", "auto"])
def test_the_theme_is_a_cookie_that_the_server_reads(ada: User, theme: str) -> None:
    client = client_of(ada)
    assert 'data-theme="auto"' in client.get("/account/").content.decode()
    assert (
        client.post("/account/theme/", {"theme": theme, "next": "/events/"}).headers["Location"] == "/events/"
    )
    cookie = client.cookies["arc_theme"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert f'data-theme="{theme}"' in client.get("/account/").content.decode()
    client.post("/logout/")
    assert f'data-theme="{theme}"' in client.get("/login/").content.decode()


def test_a_theme_from_nowhere_and_a_way_to_elsewhere_are_refused(ada: User) -> None:
    client = client_of(ada)
    assert client.post("/account/theme/", {"theme": "x"}).status_code == 400
    for elsewhere in ("https://example.org/", "//example.org", "javascript:alert(1)"):
        answer = client.post("/account/theme/", {"theme": "dark", "next": elsewhere})
        assert answer.headers["Location"] == "/account/"
    for no_address in ("abc", "a b", "admin:index"):
        answer = client.post("/account/theme/", {"theme": "dark", "next": no_address})
        assert answer.status_code == 302, "a word is no view's name"
    client.cookies["arc_theme"] = '"><script>'
    assert 'data-theme="auto"' in client.get("/account/").content.decode()


def test_those_who_may_see_all_sessions_and_filter_them(boss: Client, ada: User) -> None:
    client_of(ada)
    client_of(make_user("viewer", "zacharias"))
    page = boss.get("/sessions/").content.decode()
    assert "3 live" in page
    assert "zacharias" in page
    page = boss.get("/sessions/", {"user": "AD"}).content.decode()
    assert "1 live" in page
    assert "zacharias" not in page
    assert f"/sessions/user/{ada.pk}/end/" in page
    assert "Nobody whose name begins" in boss.get("/sessions/", {"user": "zed"}).content.decode()


def test_a_session_that_ran_out_is_not_shown_as_live(boss: Client, ada: User) -> None:
    client_of(ada)
    UserSession.objects.filter(user=ada).update(last_seen_at=F("last_seen_at") - timedelta(hours=3))
    assert "1 live" in boss.get("/sessions/").content.decode()


def test_one_session_of_anybody_is_revoked(boss: Client, ada: User) -> None:
    client = client_of(ada)
    pk = session_of(client, ada).pk
    answer = boss.post(f"/sessions/{pk}/end/", {"user": "ad"})
    assert answer.headers["Location"] == "/sessions/?user=ad"
    assert not logged_in(client)
    assert boss.post("/sessions/999999/end/").status_code == 404


def test_all_sessions_of_a_user_end_when_the_name_is_typed(boss: Client, ada: User) -> None:
    clients = [client_of(ada) for _ in range(3)]
    address = f"/sessions/user/{ada.pk}/end/"
    assert "Revoke 3 sessions" in boss.get(address).content.decode()
    assert "Nothing was revoked" in boss.post(address, {"typed": "adam"}, follow=True).content.decode()
    assert all(map(logged_in, clients))
    assert "3 sessions are revoked" in boss.post(address, {"typed": "ada"}, follow=True).content.decode()
    assert not any(map(logged_in, clients))
    assert "there is nothing to revoke" in boss.get(address).content.decode()
    assert boss.get("/sessions/user/999999/end/").status_code == 404


def test_to_see_is_not_to_end(ada: User) -> None:
    ada.user_permissions.add(Permission.objects.get(codename="view_usersession"))
    client = client_of(ada)
    page = client.get("/sessions/", {"user": "ada"}).content.decode()
    assert "/end/" not in page
    pk = UserSession.objects.get(user=ada).pk
    assert client.post(f"/sessions/{pk}/end/").status_code == 403
    assert client.get(f"/sessions/user/{ada.pk}/end/").status_code == 403
    assert logged_in(client)


def test_queries_do_not_grow_with_sessions(
    boss: Client, ada: User, django_assert_num_queries: Callable[..., Any]
) -> None:
    own = User.objects.get(username="boss")
    for rows in (10, 1000):
        UserSession.objects.filter(user=ada).delete()
        UserSession.objects.filter(user=own, key_hash__startswith=f"{own.pk}-").delete()
        many(ada, rows)
        many(own, rows)
        with django_assert_num_queries(5):  # user with session, permissions twice, count, rows
            boss.get("/sessions/")
        with django_assert_num_queries(6):  # user with session, rows, others, role, permissions twice
            page = boss.get("/account/").content.decode()
        assert f"all {rows} others" in page
        assert page.count("<tr>") - 1 == min(rows + 1, 100)
        with django_assert_num_queries(6):  # user with session, permissions twice, whom, count, sessions
            page = boss.get(f"/sessions/user/{ada.pk}/end/").content.decode()
        assert f"Revoke {rows} sessions" in page
        assert page.count("<tr>") - 1 == min(rows, 100)


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("http://testserver/account/?page=2#theme", "/account/%3Fpage%3D2"),
        ("", "/"),
        ("https://example.org/account/", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_a_form_sent_after_the_session_ended_leads_back_to_where_it_stood(
    ada: User, referer: str, back: str
) -> None:
    client = client_of(ada)
    UserSession.objects.update(last_seen_at=F("last_seen_at") - timedelta(hours=3))
    answer = client.post("/account/theme/", {"theme": "dark"}, headers={"referer": referer})
    assert answer.headers["Location"] == f"/login/?next={back}&ended=idle"


@pytest.mark.parametrize("way", ["", "https://example.org/", "//example.org"])
def test_a_login_without_a_way_back_leads_to_the_overview(client: Client, way: str) -> None:
    make_user("viewer", "ada", password=PASSWORD)
    answer = client.post("/login/", {"username": "ada", "password": PASSWORD, "next": way})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")


def test_an_address_that_only_takes_forms_says_so(ada: User) -> None:
    client = client_of(ada)
    for address in ("/account/theme/", "/account/sessions/end/"):
        page = client.get(address)
        assert (page.status_code, page.headers["Allow"]) == (405, "POST")
        assert "takes what a form sends" in page.content.decode()
        assert "<" not in client.get(address, headers={"HX-Request": "true"}).content.decode()
