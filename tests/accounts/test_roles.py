"""Viewer, operator, administrator: what each may do, on every address of the site."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from arcweb.accounts import roles
from arcweb.events.models import Event
from tests.people import client_of, make_user

pytestmark = pytest.mark.django_db
OF_DJANGO = {"admin", "auth", "contenttypes", "django_celery_beat", "sessions"}


def names_of(role: str) -> set[str]:
    rows = Group.objects.get(name=role).permissions.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in rows}


def everything() -> set[str]:
    rows = Permission.objects.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in rows}


def test_every_permission_of_the_project_is_given_on_purpose() -> None:
    own = {name for name in everything() if name.partition(".")[0] not in OF_DJANGO}
    assert set(roles.LEAST) == own


def test_each_role_may_do_what_the_one_before_may_and_more() -> None:
    viewer, operator, administrator = (names_of(role) for role in roles.ROLES)
    assert viewer < operator < administrator == everything()
    assert all(name.partition(".")[2].startswith("view_") for name in viewer)
    assert not {name for name in operator if name.startswith(("auth.", "sessions.", "admin.", "accounts."))}


def test_a_migration_mends_what_was_changed_by_hand() -> None:
    wanted = names_of("operator")
    group = Group.objects.get(name="operator")
    group.permissions.clear()
    group.permissions.add(Permission.objects.get(codename="delete_user"))
    Group.objects.get(name="viewer").delete()
    call_command("migrate", verbosity=0)
    assert names_of("operator") == wanted
    assert names_of("viewer")


def addresses() -> Iterator[tuple[str, str]]:
    """Name and address of everything the site serves; ids are those of nothing."""
    values = {"int": "987654", "uuid": str(uuid.UUID(int=1)), "path": "987654", "str": "987654", "slug": "x"}
    values["queryid"] = "-987654"

    def walk(patterns: list[Any], prefix: str) -> Iterator[tuple[str, str]]:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, route)
            elif isinstance(pattern, URLPattern) and pattern.name:
                if "(?P" in route:
                    continue  # the catch-all, and Django's shortcut from a list of apps
                filled = re.sub(r"<(?:(\w+):)?\w+>", lambda match: values[match[1] or "str"], route)
                yield str(pattern.name), f"/{filled}"

    return walk(get_resolver().url_patterns, "")


#: What needs no permission: public, or one's own.
FREE = {
    *("state", "index", "login", "logout", "find", "password_change", "password_change_done", "jsi18n"),
    *("account", "account_theme", "account_end_session", "account_end_others"),
}
#: The names of addresses that only an administrator may ask for.
ADMINISTRATORS = re.compile(r"^(auth_|session)")


def test_nobody_gets_in_without_a_login(client: Client) -> None:
    for name, address in addresses():
        if name in {"login", "logout", "state", "metrics"}:  # the last asks for a token or an address
            continue
        for answer in (client.get(address), client.post(address)):
            assert answer.status_code in (302, 405), (name, answer.status_code)
            if answer.status_code == 302:
                assert answer.headers["Location"].startswith("/login/"), name


@pytest.mark.parametrize("role", ["", "viewer", "operator", "administrator"])
def test_every_address_as_every_role(role: str) -> None:
    """Refused (403) or served, by role alone; ids of nothing are 404 or a way back, never a 500."""
    client = client_of(role)
    wrong: list[tuple[str, int]] = []
    for name, address in addresses():
        if name in FREE:
            continue
        got = client.get(address).status_code
        posted = client.post(address).status_code if name != "index" else 403
        if got >= 500 or posted >= 500:
            wrong.append((name, max(got, posted)))
        nothing = role == "" and name != "app_list" and not name.startswith("panel")
        beneath = ADMINISTRATORS.match(name) and role in ("", "viewer", "operator")
        if (nothing or beneath) and (got not in (403, 404, 405, 302) or posted not in (403, 404, 405, 302)):
            wrong.append((name, got))
        if beneath and "changelist" in name and got != 403:
            wrong.append((name, got))
    assert not wrong


@pytest.mark.parametrize(
    ("address", "roles_in"),
    [
        ("agents_agent_changelist", {"viewer", "operator", "administrator"}),
        ("memories_search", {"viewer", "operator", "administrator"}),
        ("events", {"viewer", "operator", "administrator"}),
        ("agents_agent_add", {"operator", "administrator"}),
        ("memories_ingest", {"operator", "administrator"}),
        ("auth_user_changelist", {"administrator"}),
        ("auth_group_changelist", {"administrator"}),
        ("sessions", {"administrator"}),
    ],
)
def test_who_gets_in(address: str, roles_in: set[str]) -> None:
    answers = {role: client_of(role).get(reverse(f"admin:{address}")) for role in ("", *roles.ROLES)}
    assert {role for role, answer in answers.items() if answer.status_code == 200} == roles_in
    assert all(answers[role].status_code == 403 for role in {"", *roles.ROLES} - roles_in)


def test_a_refusal_says_why_and_is_on_record_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user("viewer")
    client = client_of(user)
    refused = client.get("/sessions/?user=somebody-private")
    assert refused.status_code == 403
    assert "Your role, viewer," in refused.content.decode()
    client.get("/sessions/")
    event = Event.objects.get(kind="access.refused")
    assert event.actor_id == str(user.pk)
    assert event.data == {
        "path": "/sessions/",
        "method": "GET",
        "permission": "accounts.view_usersession",
    }
    client.post("/sessions/user/1/end/")
    client_of("viewer").get("/sessions/")
    assert Event.objects.filter(kind="access.refused").count() == 3
    monkeypatch.setattr("arcweb.accounts.refusals.QUIET", timedelta(0))
    client.get("/sessions/")
    assert Event.objects.filter(kind="access.refused").count() == 4


def test_who_tries_every_address_fills_no_table() -> None:
    client = client_of("viewer")
    for number in range(40):
        assert client.get(f"/auth/user/{number}/change/").status_code == 403
    assert Event.objects.filter(kind="access.refused").count() == 20


def test_a_fragment_is_refused_in_a_sentence() -> None:
    answer = client_of("viewer").get("/sessions/", headers={"HX-Request": "true"})
    assert answer.status_code == 403
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.content.decode().startswith("Nothing was done.")


def test_an_action_that_is_not_offered_is_refused_and_on_record() -> None:
    client = client_of("viewer")
    chosen = {"action": "delete_selected", "_selected_action": [str(uuid.UUID(int=1))], "post": "yes"}
    assert client.post("/agents/agent/", chosen).status_code == 403
    assert Event.objects.get(kind="access.refused").data["path"] == "/agents/agent/"


def test_the_navigation_shows_what_is_permitted(client: Client) -> None:
    page = {role: client_of(role).get("/account/").content.decode() for role in ("", *roles.ROLES)}
    assert 'href="/sessions/"' not in page["operator"]
    assert 'href="/sessions/"' in page["administrator"]
    assert 'href="/auth/user/"' in page["administrator"]
    assert 'href="/memories/ingest/"' not in page["viewer"]
    assert 'href="/memories/ingest/"' in page["operator"]
    assert 'href="/events/"' not in page[""]
