"""People in the admin: roles are given, superusers are not, and nobody locks everybody out."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from arcweb.accounts.models import UserSession
from arcweb.accounts.roles import role_of
from arcweb.events.models import Event
from tests.accounts.test_records import at_once, logged_in
from tests.people import PASSWORD, client_of, make_user

pytestmark = pytest.mark.django_db
NEW = "a quite different phrase"


def form(user: User, **changes: Any) -> dict[str, Any]:
    """What the browser sends for a user's form, with changes; None leaves a box unticked."""
    data = {
        "username": user.username,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "is_active": "on" if user.is_active else None,
        "is_superuser": "on" if user.is_superuser else None,
        "role": role_of(user) or "",
        **changes,
    }
    return {name: value for name, value in data.items() if value is not None}


def save(client: Client, user: User, **changes: Any) -> Any:
    return client.post(f"/auth/user/{user.pk}/change/", form(user, **changes))


def errors(response: Any) -> str:
    assert response.status_code == 200
    return str(response.context["adminform"].form.errors)


@pytest.fixture
def boss() -> Client:
    return client_of(make_user("administrator", "boss"))


@pytest.fixture
def root() -> Client:
    return client_of(make_user("superuser", "root"))


def test_an_administrator_adds_a_user_with_a_role_who_can_log_in(boss: Client, client: Client) -> None:
    data = {
        "username": "ada",
        "role": "operator",
        "usable_password": "true",
        "password1": NEW,
        "password2": NEW,
        "is_superuser": "on",
    }
    assert boss.post("/auth/user/add/", data).status_code == 302
    ada = User.objects.get(username="ada")
    assert (role_of(ada), ada.is_superuser, ada.is_staff) == ("operator", False, False)
    assert client.post("/login/", {"username": "ada", "password": NEW}).status_code == 302
    assert logged_in(client)
    assert Event.objects.get(kind="user.added").object_id == str(ada.pk)


def test_a_role_is_changed_and_other_groups_stay(boss: Client) -> None:
    ada = make_user("viewer", "ada")
    ada.groups.add(Group.objects.create(name="readers"))
    assert save(boss, ada, role="operator").status_code == 302
    assert set(ada.groups.values_list("name", flat=True)) == {"operator", "readers"}
    assert [name.lower() for name in Event.objects.get(kind="user.changed").data["fields"]] == ["role"]
    assert save(boss, ada, role="").status_code == 302
    assert role_of(ada) is None
    assert "valid choice" in errors(save(boss, ada, role="emperor"))


def test_an_administrator_makes_no_superuser_and_touches_none(boss: Client) -> None:
    root, me, ada = (
        make_user("superuser", "root"),
        User.objects.get(username="boss"),
        make_user("viewer", "ada"),
    )
    for user in (me, ada):
        save(boss, user, is_superuser="on")
        user.refresh_from_db()
        assert not user.is_superuser
    page = boss.get(f"/auth/user/{ada.pk}/change/").content.decode()
    assert 'name="is_superuser"' not in page
    assert 'name="user_permissions"' not in page
    assert save(boss, root, is_active=None).status_code == 403
    passwords = {"usable_password": "true", "password1": NEW, "password2": NEW}
    assert boss.post(f"/auth/user/{root.pk}/password/", passwords).status_code == 403
    assert boss.post(f"/auth/user/{root.pk}/delete/", {"post": "yes", "typed": "root"}).status_code == 403
    boss.post(
        "/auth/user/",
        {"action": "delete_selected", "_selected_action": [root.pk], "post": "yes", "typed": "1"},
    )
    root.refresh_from_db()
    assert root.is_active
    assert root.is_superuser


def test_nobody_gets_more_than_he_has_by_changing_people() -> None:
    helper = make_user("viewer", "helper")
    verbs = ("view_user", "add_user", "change_user", "delete_user", "view_group", "add_group", "change_group")
    helper.user_permissions.add(*Permission.objects.filter(codename__in=verbs))
    client, boss, ada = client_of(helper), make_user("administrator", "boss"), make_user("", "ada")
    passwords = {"usable_password": "true", "password1": NEW, "password2": NEW, "set-password": "1"}
    User.objects.filter(pk=boss.pk).update(is_active=False)
    assert client.post(f"/auth/user/{boss.pk}/password/", passwords).status_code == 403
    assert save(client, boss, is_active="on").status_code == 403
    assert client.post(f"/auth/user/{boss.pk}/delete/", {"post": "yes", "typed": "boss"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [ada.pk, boss.pk], "post": "yes", "typed": "2"}
    assert "may do more than you" in client.post("/auth/user/", chosen).content.decode()
    assert User.objects.filter(pk__in=[ada.pk, boss.pk]).count() == 2
    assert "may do more than you" in errors(save(client, ada, role="administrator"))
    new = {"username": "eve", "role": "operator", **passwords}
    assert "may do more than you" in errors(client.post("/auth/user/add/", new))
    assert save(client, ada, role="viewer").status_code == 302
    assert role_of(ada) == "viewer"
    assert client.post(f"/auth/user/{ada.pk}/password/", passwords).status_code == 302

    wanted, own = (Permission.objects.get(codename=name).pk for name in ("export_personal", "view_agent"))
    form = client.post("/auth/group/add/", {"name": "mine", "permissions": [own, wanted]})
    assert "cannot give them: Can export the names" in errors(form)
    assert client.post("/auth/group/add/", {"name": "mine", "permissions": [own]}).status_code == 302
    group = Group.objects.get(name="mine")
    group.permissions.add(wanted)
    kept = {"name": "ours", "permissions": [own, wanted]}
    assert client.post(f"/auth/group/{group.pk}/change/", kept).status_code == 302


def test_a_password_is_changed_and_never_taken_away(root: Client) -> None:
    top = User.objects.get(username="root")
    top.set_password(PASSWORD)
    top.save()
    root = client_of(top)
    address = f"/auth/user/{top.pk}/password/"
    assert 'name="usable_password"' not in root.get(address).content.decode()
    for empty in ({"usable_password": "false", "unset-password": "1"}, {"set-password": "1"}):
        assert root.post(address, {**empty, "password1": "", "password2": ""}).status_code == 200
    top.refresh_from_db()
    assert top.check_password(PASSWORD)


def test_nobody_locks_out_himself(boss: Client, root: Client) -> None:
    make_user("superuser", "second")
    me, top = User.objects.get(username="boss"), User.objects.get(username="root")
    assert "your own account" in errors(save(boss, me, is_active=None))
    assert "your own role" in errors(save(boss, me, role="viewer"))
    assert "your own account" in errors(save(root, top, is_superuser=None))
    assert "your own account" in errors(save(root, top, is_active=None))
    page = boss.post(f"/auth/user/{me.pk}/delete/", {"post": "yes", "typed": "boss"})
    assert "your own account" in page.content.decode()
    chosen = {"action": "delete_selected", "_selected_action": [me.pk], "post": "yes", "typed": "1"}
    assert "your own account" in boss.post("/auth/user/", chosen).content.decode()
    assert User.objects.filter(pk__in=[me.pk, top.pk], is_active=True).count() == 2


def test_the_last_active_superuser_stays(root: Client) -> None:
    first = User.objects.get(username="root")
    second = make_user("superuser", "second")
    other = client_of(second)
    User.objects.filter(pk=first.pk).update(is_superuser=False)
    boss = client_of(make_user("administrator", "boss"))
    assert save(boss, second, is_active=None).status_code == 403
    User.objects.filter(pk=first.pk).update(is_superuser=True)
    first.refresh_from_db()
    assert save(other, first, is_superuser=None).status_code == 302
    first.refresh_from_db()
    assert not first.is_superuser
    assert logged_in(other)


@pytest.mark.django_db(transaction=True)
def test_two_superusers_who_demote_each_other_at_once_leave_one() -> None:
    users = [make_user("superuser", name) for name in ("one", "two")]
    clients = {user: client_of(user) for user in users}
    pairs = iter([(clients[users[0]], users[1]), (clients[users[1]], users[0])])

    def demote() -> int:
        client, user = next(pairs)
        return int(save(client, user, is_superuser=None).status_code)

    answers = at_once(demote, times=2)
    assert User.objects.filter(is_superuser=True, is_active=True).count() == 1
    assert sorted(answers) in ([200, 302], [302, 403])


def test_a_deactivation_and_a_new_password_from_an_administrator_end_the_users_sessions(boss: Client) -> None:
    ada = make_user("viewer", "ada", password=PASSWORD)
    one, two = client_of(ada), client_of(ada)
    passwords = {"usable_password": "true", "password1": NEW, "password2": NEW, "set-password": "1"}
    assert boss.post(f"/auth/user/{ada.pk}/password/", passwords).status_code == 302
    assert not logged_in(one)
    assert not logged_in(two)
    assert logged_in(boss)
    ada.refresh_from_db()
    third = client_of(ada)
    assert save(boss, ada, is_active=None).status_code == 302
    assert third.get("/account/").headers["Location"].endswith("&ended=deactivated")
    ended = Event.objects.filter(kind="session.ended").order_by("id")
    assert [event.data for event in ended] == [
        {"sessions": 2, "reason": "password"},
        {"sessions": 1, "reason": "deactivated"},
    ]
    who = User.objects.get(username="boss")
    assert set(UserSession.objects.filter(user=ada).values_list("ended_by", flat=True)) == {who.pk}
    assert NEW not in str(list(Event.objects.values_list("data", flat=True)))


def test_a_deleted_user_is_logged_out(boss: Client) -> None:
    ada = make_user("viewer", "ada")
    client = client_of(ada)
    page = boss.get(f"/auth/user/{ada.pk}/delete/").content.decode()
    assert "sessions" in page
    assert boss.post(f"/auth/user/{ada.pk}/delete/", {"post": "yes", "typed": "ada"}).status_code == 302
    assert not User.objects.filter(pk=ada.pk).exists()
    assert not logged_in(client)


def test_the_groups_of_the_roles_are_nobodys_to_change(root: Client) -> None:
    group = Group.objects.get(name="viewer")
    assert root.post(f"/auth/group/{group.pk}/change/", {"name": "x"}).status_code == 403
    assert root.post(f"/auth/group/{group.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"}
    root.post("/auth/group/", chosen)
    assert Group.objects.get(name="viewer").permissions.exists()
    own = Group.objects.create(name="readers")
    assert root.post(f"/auth/group/{own.pk}/change/", {"name": "writers"}).status_code == 302


def test_the_list_shows_roles_in_a_fixed_number_of_queries(boss: Client) -> None:
    counts = []
    for number in (10, 100):
        for row in range(number):
            make_user("operator", f"user-{number}-{row}")
        with CaptureQueriesContext(connection) as queries:
            assert "operator" in boss.get("/auth/user/").content.decode()
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 8
    assert "user-10-0" in boss.get("/auth/user/", {"role": "operator", "q": "user-10-0"}).content.decode()
    assert "user-10-0" not in boss.get("/auth/user/", {"role": "viewer"}).content.decode()
