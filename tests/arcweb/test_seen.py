"""Two people, or a person and a service, change one row."""

from __future__ import annotations

import html
import json
import re
from threading import Thread
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client

from agents.models import Agent
from arcweb.accounts.roles import role_of
from arcweb.seen import SeenForm
from memories.models import Memory
from tests.people import make_user

pytestmark = pytest.mark.django_db


def form_of(client: Client, path: str) -> dict[str, str]:
    """What the page's form would send as it stands."""
    page = client.get(path).content.decode()
    seen = re.search(r'name="seen" value="([^"]*)"', page)
    assert seen is not None
    return {"seen": html.unescape(seen[1])}


def path_of(agent: Agent) -> str:
    return f"/agents/agent/{agent.pk}/change/"


def save(client: Client, path: str, fields: dict[str, str]) -> Any:
    return client.post(path, {**fields, "_continue": "1"})


def test_both_changed_it_nothing_is_lost_and_saving_once_more_replaces(admin_client: Client) -> None:
    agent = Agent.objects.create(name="scout", type="helper", config={"depth": 1})
    shown = form_of(admin_client, path_of(agent))
    Agent.objects.filter(pk=agent.pk).update(config={"depth": 2})
    mine = {**shown, "name": "scout", "type": "helper", "config": '{"depth": 3}'}
    answer = save(admin_client, path_of(agent), mine)
    page = html.unescape(answer.content.decode())
    assert answer.status_code == 200
    assert 'Somebody saved another config meanwhile: “{"depth": 2}”.' in page
    assert '"depth": 3' in page
    agent.refresh_from_db()
    assert agent.config == {"depth": 2}
    again = re.search(r'name="seen" value="([^"]*)"', answer.content.decode())
    assert again is not None
    mine["seen"] = html.unescape(again[1])
    assert save(admin_client, path_of(agent), mine).status_code == 302
    agent.refresh_from_db()
    assert agent.config == {"depth": 3}


def test_what_the_person_left_alone_keeps_the_change_of_the_other(admin_client: Client) -> None:
    agent = Agent.objects.create(name="scout", type="helper", config={"depth": 1})
    shown = form_of(admin_client, path_of(agent))
    Agent.objects.filter(pk=agent.pk).update(name="ranger")
    mine = {**shown, "name": "scout", "type": "walker", "config": '{"depth": 1}'}
    assert save(admin_client, path_of(agent), mine).status_code == 302
    agent.refresh_from_db()
    assert (agent.name, agent.type) == ("ranger", "walker")


def test_both_made_the_same_change(admin_client: Client) -> None:
    agent = Agent.objects.create(name="scout", type="helper")
    shown = form_of(admin_client, path_of(agent))
    Agent.objects.filter(pk=agent.pk).update(name="ranger")
    answer = save(admin_client, path_of(agent), {**shown, "name": "ranger", "type": "helper", "config": ""})
    assert answer.status_code == 302


def test_a_memory_whose_lines_and_agent_are_left_alone(admin_client: Client) -> None:
    agents = [Agent.objects.create(name=name, type="helper") for name in ("scout", "ranger")]
    memory = Memory.objects.create(agent=agents[0], content="one\r\ntwo")
    path = f"/memories/memory/{memory.pk}/change/"
    shown = form_of(admin_client, path)
    Memory.objects.filter(pk=memory.pk).update(agent=agents[1], content="one\r\ntwo\r\nthree")
    mine = {**shown, "agent": str(agents[0].pk), "content": "one\r\ntwo", "metadata": '{"seen": true}'}
    assert save(admin_client, path, mine).status_code == 302
    memory.refresh_from_db()
    assert (memory.agent, memory.metadata) == (agents[1], {"seen": True})
    assert memory.content == "one\r\ntwo\r\nthree"


@pytest.mark.django_db(transaction=True)
def test_a_change_between_the_look_and_the_lock_is_told_too(admin_client: Client) -> None:
    agent = Agent.objects.create(name="scout", type="helper")
    mine = {**form_of(admin_client, path_of(agent)), "name": "mine", "type": "helper", "config": ""}
    look = SeenForm.clean

    def theirs() -> None:
        Agent.objects.filter(pk=agent.pk).update(name="theirs")
        connection.close()

    def another_saves(form: SeenForm) -> dict[str, Any]:
        data = look(form)
        other = Thread(target=theirs)
        other.start()
        other.join()
        return data

    with patch.object(SeenForm, "clean", another_saves):
        answer = save(admin_client, path_of(agent), mine)
    agent.refresh_from_db()
    assert "Somebody saved another name meanwhile: “theirs”." in html.unescape(answer.content.decode())
    assert agent.name == "theirs"


@pytest.mark.parametrize("seen", ["", "[]", "{", '{"name": 5}', "9" * 5000])
def test_a_hidden_field_that_was_tampered_with_is_no_error(admin_client: Client, seen: str) -> None:
    agent = Agent.objects.create(name="scout", type="helper")
    fields = {"seen": seen, "name": "ranger", "type": "helper", "config": ""}
    agreed = save(admin_client, path_of(agent), fields).status_code == 302
    assert agreed == (seen != '{"name": 5}')


def test_a_mistake_elsewhere_loses_no_change_of_the_other(admin_client: Client) -> None:
    agent = Agent.objects.create(name="scout", type="helper")
    mine = {**form_of(admin_client, path_of(agent)), "name": "scout", "type": "helper", "config": "{"}
    Agent.objects.filter(pk=agent.pk).update(name="ranger")
    answer = save(admin_client, path_of(agent), mine)
    assert answer.status_code == 200
    mine |= {**seen_in(answer), "config": '{"depth": 1}'}
    assert save(admin_client, path_of(agent), mine).status_code == 302
    agent.refresh_from_db()
    assert (agent.name, agent.config) == ("ranger", {"depth": 1})


def seen_in(answer: Any) -> dict[str, str]:
    found = re.search(r'name="seen" value="([^"]*)"', answer.content.decode())
    assert found is not None
    return {"seen": html.unescape(found[1])}


def test_two_change_a_person(admin_client: Client) -> None:
    ada = make_user("viewer", "ada")
    path = f"/auth/user/{ada.pk}/change/"
    shown = form_of(admin_client, path)
    assert "password" not in json.loads(shown["seen"])
    User.objects.filter(pk=ada.pk).update(email="theirs@example.org", first_name="Ada")
    ada.groups.set(Group.objects.filter(name="operator"))
    view, add = (Permission.objects.get(codename=f"{verb}_agent") for verb in ("view", "add"))
    ada.user_permissions.add(view)
    fields = {"username": "ada", "first_name": "", "last_name": "Byron", "is_active": "on", "role": "viewer"}
    mine: Any = {**shown, **fields, "email": "mine@example.org", "user_permissions": [str(add.pk)]}
    answer = save(admin_client, path, mine)
    page = html.unescape(answer.content.decode())
    assert answer.status_code == 200
    assert "Somebody saved another email address meanwhile: “theirs@example.org”." in page
    assert "Somebody saved other user permissions meanwhile: with “Agents | agent | Can view agent”" in page
    assert "and without “Agents | agent | Can add agent”, compared with yours." in page
    assert "mine@example.org" in page
    assert save(admin_client, path, {**mine, **seen_in(answer)}).status_code == 302
    ada = User.objects.get(pk=ada.pk)
    assert (ada.email, ada.first_name, ada.last_name) == ("mine@example.org", "Ada", "Byron")
    assert role_of(ada) == "operator"
    assert list(ada.user_permissions.all()) == [add]


def test_both_gave_a_person_another_role(admin_client: Client) -> None:
    ada = make_user("viewer", "ada")
    path = f"/auth/user/{ada.pk}/change/"
    mine = {**form_of(admin_client, path), "username": "ada", "is_active": "on", "role": "administrator"}
    ada.groups.set(Group.objects.filter(name="operator"))
    answer = save(admin_client, path, mine)
    assert "another role meanwhile: “operator”. Yours is kept" in html.unescape(answer.content.decode())
    assert role_of(User.objects.get(pk=ada.pk)) == "operator"
    assert save(admin_client, path, {**mine, **seen_in(answer)}).status_code == 302
    assert role_of(User.objects.get(pk=ada.pk)) == "administrator"


def test_two_change_a_group(admin_client: Client) -> None:
    group = Group.objects.create(name="readers")
    view, add = (Permission.objects.get(codename=f"{verb}_agent") for verb in ("view", "add"))
    path = f"/auth/group/{group.pk}/change/"
    shown = form_of(admin_client, path)
    group.permissions.add(view)
    assert save(admin_client, path, {**shown, "name": "writers"}).status_code == 302
    group.refresh_from_db()
    assert (group.name, list(group.permissions.all())) == ("writers", [view])
    mine: Any = {**shown, "name": "writers", "permissions": [str(add.pk)]}
    answer = save(admin_client, path, mine)
    assert "with “Agents | agent | Can view agent” and without" in html.unescape(answer.content.decode())
    assert list(group.permissions.all()) == [view]
    assert save(admin_client, path, {**mine, **seen_in(answer)}).status_code == 302
    assert list(group.permissions.all()) == [add]
