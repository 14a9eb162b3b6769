"""Logins and every change through the admin are events."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client

from arcweb.events.models import Event, EventDetail

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def admin_user() -> User:
    return User.objects.create_superuser("ada", password=PASSWORD)


@pytest.fixture
def ada(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


def last() -> tuple[Event, EventDetail]:
    event = Event.objects.order_by("occurred_at", "id").last()
    assert event is not None
    return event, EventDetail.objects.get(pk=event.pk)


def everything() -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT string_agg(e::text, '') FROM events.events e)"
            " || (SELECT string_agg(d::text, '') FROM events.event_details d)"
        )
        return str(cursor.fetchone()[0])


def test_login_failure_and_logout_are_recorded_without_the_password(client: Client, admin_user: User) -> None:
    client.post("/login/", {"username": "ada", "password": "wrong-secret-123"}, REMOTE_ADDR="192.0.2.7")
    event, detail = last()
    assert (event.kind, event.actor_kind, event.actor_id, event.object_id) == (
        "auth.login_failed",
        "user",
        "",
        "",
    )
    assert (detail.label, detail.address) == ("ada", "192.0.2.7")
    client.post("/login/", {"username": "ada", "password": PASSWORD}, HTTP_USER_AGENT="Firefox")
    event, detail = last()
    assert (event.kind, event.actor_id) == ("auth.login", str(admin_user.pk))
    assert (detail.actor_name, detail.user_agent) == ("ada", "Firefox")
    client.post("/logout/")
    event, detail = last()
    assert (event.kind, event.actor_id, detail.actor_name) == ("auth.logout", str(admin_user.pk), "ada")
    assert "wrong-secret-123" not in everything()
    assert PASSWORD not in everything()


def test_a_strange_user_name_does_not_break_the_login_page(client: Client) -> None:
    for name in ("x" * 150, "a\x00b", "☃"):
        assert client.post("/login/", {"username": name, "password": "p"}).status_code == 200


def test_add_change_and_delete_are_recorded_with_actor_and_fields(ada: Client, admin_user: User) -> None:
    ada.post("/auth/group/add/", {"name": "readers"})
    group = Group.objects.get(name="readers")
    event, detail = last()
    assert (event.kind, event.object_id, detail.label) == ("group.added", str(group.pk), "readers")
    assert (event.actor_id, detail.actor_name) == (str(admin_user.pk), "ada")
    ada.post(f"/auth/group/{group.pk}/change/", {"name": "writers"})
    event, _ = last()
    assert event.kind == "group.changed"
    assert [name.lower() for name in event.data["fields"]] == ["name"]
    assert "writers" not in str(event.data)
    ada.post(f"/auth/group/{group.pk}/delete/", {"post": "yes"})
    event, detail = last()
    assert (event.kind, event.object_id, detail.label) == ("group.deleted", str(group.pk), "writers")


def test_the_delete_action_records_each_object(ada: Client) -> None:
    groups = [Group.objects.create(name=name) for name in ("a", "b")]
    chosen = {"action": "delete_selected", "_selected_action": [group.pk for group in groups], "post": "yes"}
    assert ada.post("/auth/group/", chosen).status_code == 302
    assert not Group.objects.filter(pk__in=[group.pk for group in groups]).exists()
    assert sorted(Event.objects.filter(kind="group.deleted").values_list("object_id", flat=True)) == sorted(
        str(group.pk) for group in groups
    )


@pytest.mark.django_db(transaction=True)
def test_an_action_that_fails_leaves_no_events_behind(ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group.objects.create(name="a")

    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("arcweb.accounts.admin.GroupAdmin.delete_queryset", fail)
    ada.raise_request_exception = False
    chosen = {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"}
    assert ada.post("/auth/group/", chosen).status_code == 500
    assert Group.objects.exists()
    assert not Event.objects.filter(kind="group.deleted").exists()


def test_changing_a_password_is_recorded_but_not_the_password(ada: Client, admin_user: User) -> None:
    new = "a quite different phrase"
    data = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    assert ada.post("/password_change/", data).status_code == 302
    event, _ = last()
    assert (event.kind, event.object_id, event.data) == (
        "user.changed",
        str(admin_user.pk),
        {"fields": ["password"]},
    )
    before = Event.objects.count()
    assert ada.post("/password_change/", {**data, "old_password": "no"}).status_code == 200
    assert Event.objects.count() == before
    assert new not in everything()
