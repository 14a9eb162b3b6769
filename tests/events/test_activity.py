"""What an agent did, day by day, on its page."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection

from agents.models import Agent
from arcweb.events import activity
from tests.people import client_of

pytestmark = pytest.mark.django_db


def add(agent: uuid.UUID, days_ago: int, events: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events.events (kind, agent_id, occurred_at) "
            "SELECT 't.one', %s, date_trunc('day', now(), 'UTC') - make_interval(days => %s) "
            "FROM generate_series(1, %s)",
            [agent, days_ago, events],
        )


def test_each_day_has_its_number_and_other_agents_do_not_count() -> None:
    agent = uuid.uuid4()
    for days_ago, events in ((0, 3), (1, 5), (13, 2), (14, 9)):
        add(agent, days_ago, events)
    add(uuid.uuid4(), 0, 4)
    found = activity.of_agent(agent)
    assert [number for _, number in found.days] == [2, *[0] * 11, 5, 3]
    assert (found.today, found.total, found.whole) == (3, 10, True)


def test_days_beyond_what_is_counted_are_unknown_and_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MOST_COUNTED", 7)
    agent = uuid.uuid4()
    for days_ago, events in ((0, 3), (1, 3), (2, 5), (5, 1)):
        add(agent, days_ago, events)
    found = activity.of_agent(agent)
    assert [number for _, number in found.days] == [*[None] * 12, 3, 3]
    assert not found.whole


def test_the_page_of_an_agent_shows_it_and_leads_to_its_events() -> None:
    agent = Agent.objects.create(name="Scout", type="a")
    add(agent.pk, 0, 3)
    add(agent.pk, 1, 1)
    viewer = client_of("viewer")
    card = viewer.get(f"/agents/agent/{agent.pk}/panels/agent-activity/").content.decode()
    assert "events today" in card
    assert f"/events/?agent={agent.pk}" in card
    assert "Events per day: 4 in 14 days, 3 today (UTC)" in card
    assert "agent-activity" in viewer.get(f"/agents/agent/{agent.pk}/change/").content.decode()
    assert client_of().get(f"/agents/agent/{agent.pk}/panels/agent-activity/").status_code == 403
