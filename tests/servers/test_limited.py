"""`limited`: a part of a page may cost so much, change nothing, and leave the connection as it was."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, InternalError, connection, transaction

from agents.models import Agent
from arcweb.embedded.stack import Stack
from arcweb.postgres import TooSlow, base, limited
from arcweb.postgres.base import DatabaseWrapper
from tests.servers.frozen import backends, frozen

pytestmark = pytest.mark.django_db(transaction=True)
#: Seconds that a busy machine may take for what takes one at most, and that nothing here is to wait for.
SOON, LONG = 30, 60


def sleep(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])


def setting(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


def test_a_slow_statement_is_stopped_and_the_connection_stays_as_it_was() -> None:
    before = setting("statement_timeout")
    started = time.monotonic()
    with pytest.raises(TooSlow) as caught, limited(0.3):
        sleep(LONG)
    assert 0.25 < time.monotonic() - started < SOON
    assert caught.value.seconds == 0.3
    assert not connection.in_atomic_block
    assert (setting("statement_timeout"), setting("transaction_read_only")) == (before, "off")


def test_the_time_is_that_of_all_statements_together() -> None:
    ended = 0

    def look() -> None:
        nonlocal ended
        with limited(0.5):
            for _ in range(10):
                sleep(0.2)
                ended += 1

    with pytest.raises(TooSlow):
        look()
    assert ended <= 2


def test_nobody_waits_for_a_lock_beyond_the_limit() -> None:
    settings = connection.settings_dict
    other = psycopg.connect(
        host=settings["HOST"], dbname=settings["NAME"], user=settings["USER"], password=settings["PASSWORD"]
    )
    with other:
        other.execute("LOCK TABLE agents.agents IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TooSlow), limited(0.3):
            Agent.objects.count()
        other.execute("SELECT 1")  # the lock was held all the time
    with limited(LONG):
        Agent.objects.count()


def test_nothing_is_changed() -> None:
    with pytest.raises(InternalError, match="read-only"), limited(LONG):
        User.objects.create(username="nobody")
    assert not User.objects.filter(username="nobody").exists()


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(DatabaseError, match="division by zero"), limited(LONG), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def test_it_costs_one_round_trip(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(4), limited(LONG):  # BEGIN, the limits, the query, ROLLBACK
        User.objects.count()


def test_inside_a_transaction_the_rest_of_it_lives() -> None:
    with transaction.atomic():
        User.objects.create(username="kept")
        with pytest.raises(TooSlow), limited(0.2):
            sleep(LONG)
        assert setting("transaction_read_only") == "off"
    assert User.objects.filter(username="kept").exists()


def test_a_frozen_backend_costs_the_limit(
    engine: DatabaseWrapper, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "DOUBT_AFTER", LONG)  # when a connection without a limit gives up
    monkeypatch.setattr("arcweb.postgres.limits.connections", {"default": engine})
    monkeypatch.setattr("django.db.transaction.get_connection", lambda using=None: engine)

    def ask() -> None:
        with engine.cursor() as cursor:
            cursor.execute("SELECT 1")

    def look() -> None:
        with limited(0.5):
            ask()
            with frozen(backends(stack)):
                ask()

    ask()  # connecting is not part of it
    started = time.monotonic()
    with pytest.raises(TooSlow):
        look()
    assert time.monotonic() - started < SOON
    engine.close_if_unusable_or_obsolete()
    with limited(LONG):
        ask()
