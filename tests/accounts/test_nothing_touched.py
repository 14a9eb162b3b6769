"""Whatever a role sends to whatever address, with ids of real rows: what it may not change stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.db import models
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from agents.models import Agent
from arcweb.accounts.models import UserSession
from arcweb.jobs.models import Job
from memories.models import Document, Memory
from tests.people import client_of, make_user

pytestmark = pytest.mark.django_db
#: Addresses with which everybody ends sessions of his own.
OWN = {"logout", "account_end_session", "account_end_others"}


@pytest.fixture
def rows() -> dict[str, Any]:
    """By the beginning of an address that takes its id."""
    agent = Agent.objects.create(name="walker", type="tester")
    other = make_user("operator", "other")
    client_of(other)
    session = UserSession.objects.get(user=other)
    Job.objects.create(kind="walk", state="queued")
    return {
        "agents/agent": agent,
        "memories/memory": Memory.objects.create(agent=agent, content="A memory to walk over."),
        "memories/document": Document.objects.create(agent=agent, name="walked.md", content_hash=b"0" * 32),
        "jobs/job": Job.objects.create(kind="walk", state="failed", finished_at=timezone.now()),
        "sessions/user": other,
        "sessions": session,
        "auth/user": other,
        "auth/group": Group.objects.create(name="walked"),
    }


def addresses(rows: dict[str, Any], patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every address with the row that it is about."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(rows, pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and "(?P" not in route and pattern.name not in OWN:
            row = next((row for part, row in rows.items() if route.startswith(part)), rows["agents/agent"])
            while "<" in route:
                route = f"{route[: route.index('<')]}{row.pk}{route[route.index('>') + 1 :]}"
            yield f"/{route}", row


def contents(labels: set[str]) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of those apps' tables, many-to-many tables too."""
    every: list[type[models.Model]] = apps.get_models(include_auto_created=True)
    wanted = [model for model in every if model._meta.app_label in labels]
    return {
        model._meta.label: sorted(model._default_manager.values_list(), key=lambda row: str(row[0]))
        for model in wanted
    }


def post(client: Client, address: str, row: Any) -> int:
    data = {
        "post": "yes",
        "typed": str(row),
        "action": "delete_selected",
        "_selected_action": [str(row.pk)],
        "_save": "1",
        "name": "touched",
        "type": "touched",
        "config": "{}",
        "content": "touched",
        "text": "touched",
        "agent": str(row.pk),
        "username": "touched",
        "role": "administrator",
        "password1": "a quite different phrase",
        "password2": "a quite different phrase",
        "usable_password": "true",
    }
    statuses = [client.post(address, sent).status_code for sent in (data, {**data, "typed": "1"})]
    return max(statuses)


@pytest.mark.parametrize(
    ("role", "kept"),
    [
        ("", {"agents", "memories", "jobs", "auth", "accounts"}),
        ("viewer", {"agents", "memories", "jobs", "auth", "accounts"}),
        ("operator", {"auth", "accounts"}),
    ],
)
def test_what_a_role_may_not_change_stays(role: str, kept: set[str], rows: dict[str, Any]) -> None:
    client = client_of(role)
    client.get("/")
    before = contents(kept)
    assert len(before) >= len(kept)
    asked = [
        (address, post(client, address, row)) for address, row in addresses(rows, get_resolver().url_patterns)
    ]
    assert len(asked) > 40
    assert contents(kept) == before
    assert [(address, status) for address, status in asked if status >= 500] == []


def test_those_who_may_do_change_it_so(rows: dict[str, Any]) -> None:
    """The walk is no proof unless the same requests from somebody permitted have effects."""
    operator, boss = client_of("operator"), client_of("administrator")
    job, session = rows["jobs/job"], rows["sessions"]
    for address, row in addresses(rows, get_resolver().url_patterns):
        if "retry" in address or "/agents/agent/" in address:
            post(operator, address, row)
        if address.startswith("/sessions/"):
            post(boss, address, row)
    job.refresh_from_db()
    assert job.state == "queued"
    assert not Agent.objects.filter(pk=rows["agents/agent"].pk).exists()
    session.refresh_from_db()
    assert session.ended_at is not None
