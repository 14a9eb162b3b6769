"""The page Locks: every kind of wait, provoked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.db.utils import ConnectionHandler
from django.template.loader import render_to_string

from arcweb.database.activity import alarms, locks, looks, sessions
from arcweb.database.activity.locks import Blocking
from arcweb.embedded.stack import Stack
from tests.database.activity.conftest import Other
from tests.people import client_of
from tests.waiting import until

pytestmark = pytest.mark.django_db
Make = Callable[..., Other]
PAGE = "/postgres/locks/"


def tree_of(*names: str) -> Blocking | None:
    """The tree in which all these applications stand."""
    for tree in locks.blocking(1000):
        apps = {member.session.application for member in tree.members if member.session}
        if set(names) <= apps:
            return tree
    return None


def page(role: str = "operator") -> str:
    answer = client_of(role).get(PAGE)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_blocked_transaction_is_seen_ended_and_gone(
    other: Make, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BLOCKED_LONG", 0.01)
    holder = other("the-holder").run(f"UPDATE {table} SET n = 1 WHERE id = 1")
    second, third = other("the-second"), other("the-third")
    thread = second.begin(f"UPDATE {table} SET n = 2 WHERE id = 1")
    until(lambda: tree_of("the-second") is not None)
    last = third.begin(f"DELETE FROM {table} WHERE id = 1")
    until(lambda: tree_of("the-holder", "the-second", "the-third") is not None)
    tree = tree_of("the-holder")
    assert tree is not None
    assert tree.state == "bad"
    monkeypatch.setattr(locks, "BLOCKED_LONG", 3600)
    assert tree.state == "warn", "a wait that has not lasted"
    monkeypatch.setattr(locks, "BLOCKED_LONG", 0.01)
    assert [(one.session.application, one.place.depth) for one in tree.members if one.session] == [
        ("the-holder", 0),
        ("the-second", 1),
        ("the-third", 2),
    ]
    assert f"a row of {table}" in tree.members[1].wait.on  # type: ignore[union-attr]
    assert f"of {table}" in tree.members[2].wait.on  # type: ignore[union-attr]
    until(lambda: any("the-holder" in one.sentence for one in looks.lock_findings()))
    said = page()
    assert "holds up 2 sessions" in said
    assert f"SELECT pg_terminate_backend({holder.pid});" in said
    assert f"UPDATE {table} SET n = 2" in said
    assert f"UPDATE {table}" not in page("viewer")
    reading = alarms.blocked()
    assert reading.value > 0
    browser = client_of("operator")
    session = holder.session()
    address = f"/postgres/activity/{session.pid}/{session.started}/"
    form = {"asked": session.asked, "next": PAGE}
    answer = browser.post(f"{address}cancel/", form, follow=True)
    assert answer.redirect_chain[-1][0] == PAGE
    assert "there was nothing to cancel" in answer.content.decode()
    assert "2 sessions that wait for it go on" in browser.get(f"{address}end/?next={PAGE}").content.decode()
    browser.post(f"{address}end/", {"typed": str(session.pid), "next": PAGE})
    thread.join(60)
    assert not thread.is_alive()
    second.raw.commit()
    last.join(60)
    third.raw.commit()
    assert tree_of("the-second") is None
    assert not any("the-holder" in one.sentence for one in looks.lock_findings())


def test_a_lock_on_a_table_and_an_advisory_lock(other: Make, table: str) -> None:
    other("locker").run(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_advisory_xact_lock(42)")
    other("reader").begin(f"SELECT * FROM {table}")
    other("adviser").begin("SELECT pg_advisory_xact_lock(42)")
    until(lambda: tree_of("locker", "reader", "adviser") is not None)
    tree = tree_of("locker")
    assert tree is not None
    waits = {one.session.application: one.wait for one in tree.members if one.session and one.wait}
    assert waits["reader"].on == table
    assert waits["reader"].mode == "AccessShareLock"
    assert waits["adviser"].on == "an advisory lock (0, 42)"


def test_a_circle_is_told_as_one(other: Make, table: str) -> None:
    """Before PostgreSQL resolves it, which it does late for these two: a superuser may ask for that."""
    late = {
        "user": "postgres",
        "password": settings.ARC_LAYOUT.read_secret("postgres-superuser-password"),
        "options": "-c deadlock_timeout=600s",
    }
    first, second = other("circle-one", **late), other("circle-two", **late)
    first.run(f"UPDATE {table} SET n = 1 WHERE id = 1")
    second.run(f"UPDATE {table} SET n = 1 WHERE id = 2")
    first.begin(f"UPDATE {table} SET n = 2 WHERE id = 2")
    until(lambda: tree_of("circle-one", "circle-two") is not None)
    second.begin(f"UPDATE {table} SET n = 2 WHERE id = 1")
    until(lambda: getattr(tree_of("circle-one"), "circle", False))
    tree = tree_of("circle-one", "circle-two")
    assert tree is not None
    assert len(tree.waiting) == 2
    until(lambda: "2 sessions wait for each other in a circle" in page())  # a look may run out of its time


def test_a_prepared_transaction_blocks_without_a_process(
    throwaway_stack: Callable[..., Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server of its own, which allows them: pg_blocking_pids calls it 0."""
    stack = throwaway_stack(roles=())
    where = {"host": str(stack.layout.socket_dir), "dbname": "arc", "autocommit": True}
    password = stack.layout.read_secret("postgres-superuser-password")
    with psycopg.connect(**where, user="postgres", password=password) as raw:
        raw.execute("ALTER SYSTEM SET max_prepared_transactions = 5")
    stack.stop()
    stack.start()
    own = deepcopy(connection.settings_dict) | {
        "NAME": "arc",
        "HOST": str(stack.layout.socket_dir),
        "PASSWORD": stack.layout.read_secret("postgres-password"),
    }
    handler = ConnectionHandler({"default": own})
    monkeypatch.setattr(locks, "connection", handler["default"])
    monkeypatch.setattr(sessions, "connections", handler)
    with (
        psycopg.connect(**where, user="arc", password=own["PASSWORD"]) as one,
        psycopg.connect(**where, user="arc", password=own["PASSWORD"], application_name="waiter") as two,
    ):
        one.execute("CREATE TABLE t (id int)")
        one.execute("INSERT INTO t VALUES (1)")
        one.execute("BEGIN; UPDATE t SET id = 2; PREPARE TRANSACTION 'it''s mine'")
        thread = threading.Thread(target=two.execute, args=("UPDATE t SET id = 3",))
        thread.start()
        until(lambda: bool(locks.blocking()))
        (tree,) = locks.blocking()
        assert tree.root.prepared is not None
        assert tree.sentence.startswith("Prepared transaction “it's mine”, prepared ")
        assert tree.statement == "ROLLBACK PREPARED 'it''s mine';"
        shown = {"trees": [tree], "prepared": locks.prepared_transactions()}
        said = render_to_string("admin/database/activity/_locks.html", shown)
        assert said.count("ROLLBACK PREPARED &#x27;it&#x27;&#x27;s mine&#x27;;") == 2
        one.execute(tree.statement)
        thread.join(60)
        assert not thread.is_alive()
    handler["default"].close()


def test_a_refresh_gives_the_trees_alone(db: None) -> None:
    assert "Prepared transactions" in page("viewer")
    assert client_of("").get(PAGE).status_code == 403
    fragment = client_of("viewer").get(PAGE, headers={"HX-Request": "true", "HX-Target": "live"})
    assert b"<html" not in fragment.content
