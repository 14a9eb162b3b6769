"""What `record` writes, and what it keeps out."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from arcweb.events import Actor, acting_as, current_actor, record
from arcweb.events.actors import SYSTEM, request_origin
from arcweb.events.models import Event, EventDetail
from arcweb.events.redaction import REMOVED, redact

pytestmark = pytest.mark.django_db


def test_the_fact_and_what_may_be_erased_stand_in_different_tables() -> None:
    user = User.objects.create_user("zoe")
    actor = Actor("user", "7", "Ada", "203.0.113.9", "curl/8")
    record("user.changed", obj=user, data={"fields": ["email"]}, actor=actor, note="by phone")
    event, detail = Event.objects.get(), EventDetail.objects.get()
    assert (event.kind, event.actor_kind, event.actor_id) == ("user.changed", "user", "7")
    assert (event.object_type, event.object_id) == ("auth.user", str(user.pk))
    assert event.data == {"fields": ["email"]}
    assert (detail.actor_name, detail.address, detail.user_agent) == ("Ada", "203.0.113.9", "curl/8")
    assert (detail.label, detail.note) == ("zoe", "by phone")
    assert detail.pk == event.pk
    EventDetail.objects.all().delete()
    assert Event.objects.filter(pk=event.pk).exists()


def test_an_event_goes_with_its_transaction() -> None:
    with transaction.atomic():
        record("agent.changed")
        transaction.set_rollback(True)
    assert not Event.objects.exists()


def test_the_system_acts_where_nobody_is_named_and_blocks_nest() -> None:
    assert current_actor() == SYSTEM
    with acting_as(Actor("user", "1", "a")):
        with acting_as(lambda: Actor("service", "2", "b")):
            assert current_actor().id == "2"
        assert current_actor().id == "1"
    assert current_actor() == SYSTEM


def test_text_that_postgresql_cannot_store_is_mended() -> None:
    agent = uuid.uuid4()
    record("agent.changed\x00", agent_id=agent, label="a\x00b\ud800", data={"k\x00": ["v\x00\ud800"]})
    event = Event.objects.get()
    assert event.kind == "agent.changed\ufffd"
    assert event.agent_id == agent
    assert event.data == {"k\ufffd": ["v\ufffd?"]}
    assert EventDetail.objects.get().label == "a\ufffdb?"


def test_an_event_needs_a_kind() -> None:
    with pytest.raises(ValueError, match="needs a kind"):
        record("")


def test_secrets_never_reach_the_record() -> None:
    secrets = (
        "password",
        "New_Password1",
        "api_key",
        "OPENAI-API-KEY",
        "token",
        "client_secret",
        "session_key",
        "Cookie",
    )
    record("setting.changed", data={"nested": [dict.fromkeys(secrets, "hunter2")], "limit": 3})
    with connection.cursor() as cursor:
        cursor.execute("SELECT data::text FROM events.events")
        (text,) = cursor.fetchone()
    assert "hunter2" not in text
    assert Event.objects.get().data == {"nested": [dict.fromkeys(secrets, REMOVED)], "limit": 3}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_redaction_is_stable_and_keeps_the_shape(value: object) -> None:
    once = redact(value)
    assert redact(once) == once
    assert type(once) is type(value)


@pytest.mark.parametrize(
    ("meta", "behind_proxy", "address"),
    [
        ({"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": "203.0.113.5"}, False, "192.0.2.1"),
        ({"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": "10.0.0.1, 203.0.113.5"}, True, "203.0.113.5"),
        ({"REMOTE_ADDR": "192.0.2.1"}, True, "192.0.2.1"),
        ({"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": "' OR 1=1"}, True, None),
        ({"REMOTE_ADDR": "fe80::1%eth0"}, False, "fe80::1"),
        ({"REMOTE_ADDR": ""}, False, None),
    ],
)
def test_a_forwarded_address_counts_only_behind_a_proxy(
    meta: dict[str, str], behind_proxy: bool, address: str | None
) -> None:
    assert request_origin(meta, behind_proxy=behind_proxy).address == address
