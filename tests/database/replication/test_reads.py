"""Lists and search read from a real replica, and from the primary when it is behind, away or frozen."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client

from agents.models import Agent
from arcweb.postgres import own_writes, replica
from arcweb.postgres.base import DOUBT_AFTER
from arcweb.postgres.lag import Probe
from tests.database.replication.conftest import PORT, Standby
from tests.people import client_of
from tests.servers.frozen import frozen
from tests.waiting import until

LIST = "/agents/agent/"


def place() -> int:
    with connection.cursor() as cursor:
        cursor.execute(own_writes.PLACE)
        here: int = cursor.fetchone()[0]
        return here


def caught_up() -> None:
    here = place()
    until(lambda: replica.state().fresh and replica.state().replayed >= here)


def listed(browser: Client, **query: str) -> str:
    answer = browser.get(LIST, query)
    assert answer.status_code == 200
    return answer.content.decode()


def served_by(deed: Any) -> str:
    """Who served the list or search of that deed."""
    before = replica.served()
    deed()
    after = replica.served()
    return " and ".join(name for name in after if after[name] > before[name])


def _fresh(reads: Standby) -> None:
    browser = client_of("operator")
    Agent.objects.create(name="seen-everywhere", type="t")
    caught_up()
    assert served_by(lambda: listed(browser)) == "replica"
    assert "seen-everywhere" in listed(browser)
    said = browser.get("/memories/search/", {"q": "anything", "mode": "keyword"}).content.decode()
    assert "Nothing found" in said
    assert served_by(lambda: browser.get("/memories/search/?q=anything&mode=keyword")) == "replica"
    assert served_by(lambda: browser.get("/memories/memory/", {"q": "word"})) == "replica"
    assert served_by(lambda: browser.get("/jobs/job/")) == "", "jobs stay on the primary"


def _behind(reads: Standby, settings: Any) -> None:
    browser = client_of("viewer")
    caught_up()
    settings.ARC_REPLICA_MAX_LAG_SECONDS = 0.5
    reads.pause()
    Agent.objects.create(name="not-there-yet", type="t")
    until(lambda: "the replica is" in replica.state().trouble and "behind" in replica.state().trouble)
    assert served_by(lambda: listed(browser)) == "primary"
    assert "not-there-yet" in listed(browser)
    said = browser.get("/postgres/replication/").content.decode()
    assert "Lists and search are read from the primary, because the replica is" in said
    assert "pg_wal_replay_resume" in said
    reads.resume()
    settings.ARC_REPLICA_MAX_LAG_SECONDS = 3600
    caught_up()
    assert served_by(lambda: listed(browser)) == "replica"
    assert "not-there-yet" in listed(browser)


def _own_writes(reads: Standby) -> None:
    writer, other = client_of("operator"), client_of("viewer")
    caught_up()
    reads.pause()
    answer = writer.post(f"{LIST}add/", {"name": "just-written", "type": "t", "config": ""})
    assert answer.status_code == 302, answer.content.decode()
    assert served_by(lambda: listed(writer)) == "primary"
    assert "just-written" in listed(writer)
    assert served_by(lambda: listed(other)) == "replica"
    assert "just-written" not in listed(other)
    said = writer.get("/memories/search/?q=anything&mode=keyword")
    assert "your last change has not reached the replica yet" in said.context["answered"].why
    reads.resume()
    caught_up()
    assert served_by(lambda: listed(writer)) == "replica"
    assert "just-written" in listed(writer)
    writer.cookies[own_writes.cookie_name()] = "nonsense"
    assert served_by(lambda: listed(writer)) == "primary"


def _stopped(reads: Standby) -> None:
    browser = client_of("viewer")
    caught_up()
    assert served_by(lambda: listed(browser)) == "replica"
    reads.stop()
    assert served_by(lambda: listed(browser)) == "primary", "whether that is known yet or not"
    until(lambda: "takes no connection" in replica.state().trouble)
    assert replica.state().answers is False
    assert served_by(lambda: listed(browser)) == "primary"
    assert browser.get("/postgres/replication/").status_code == 200
    reads.start()
    until(lambda: replica.state().fresh)
    assert served_by(lambda: listed(browser)) == "replica"


def _frozen(reads: Standby) -> None:
    browser = client_of("viewer")
    caught_up()
    listed(browser)
    with frozen(reads.processes()):
        started = time.monotonic()
        assert served_by(lambda: listed(browser)) == "primary"
        assert time.monotonic() - started < DOUBT_AFTER  # as long as one would wait that is not watched
        until(lambda: replica.state().answers is False)
        assert browser.get("/postgres/replication/").status_code == 200
    until(lambda: replica.state().fresh)


def _writes(reads: Standby) -> None:
    agent = Agent.objects.create(name="before", type="t")
    caught_up()
    with replica.asking(0):
        (found,) = replica.read(lambda: list(Agent.objects.all())).value
        assert found._state.db == "replica"
        found.name = "after"
        found.save()
        found.refresh_from_db()
        assert found.name == "after"
        with transaction.atomic():
            assert replica.read(lambda: replica.alias()).why == "a transaction is open"
            assert Agent.objects.select_for_update().get(pk=agent.pk).name == "after"
        here = replica.read(lambda: Agent.objects.select_for_update().db)
        assert here.value == "default"
    assert replica.read(replica.alias).value == "default", "outside of a page"


def _failing(reads: Standby) -> None:
    """As when a migration has not reached the replica yet, or it cancels what is in the way of its replay."""
    caught_up()
    asked = []

    def ask() -> str:
        asked.append(replica.alias())
        with connections[replica.alias()].cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE only_a_primary_can (n int)")
        return replica.alias()

    with replica.asking(0):
        answer = replica.read(ask)
    assert asked == ["replica", "default"]
    assert (answer.value, answer.server, answer.why) == ("default", "primary", "the replica did not answer")


def _wrong_address(wrong: str, words: str) -> None:
    """Told, and never read."""
    connections.settings["replica"]["PORT"] = wrong
    probe = Probe()
    state = probe()
    probe.close()
    assert words in state.trouble
    assert not state.fresh


def _not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that waits for the name of a host to be resolved says nothing of the replica meanwhile."""
    browser = client_of("operator")
    caught_up()
    assert served_by(lambda: listed(browser)) == "replica"
    resolved = threading.Event()
    look = Probe.__call__

    def slow(probe: Probe) -> replica.State:
        resolved.wait(250)
        return look(probe)

    with monkeypatch.context() as patch:
        patch.setattr(Probe, "__call__", slow)
        patch.setattr(replica, "BELIEVED", 1)
        until(lambda: served_by(lambda: listed(browser)) == "primary")
        time.sleep(replica.BELIEVED)  # it was no look that came late
        assert served_by(lambda: listed(browser)) == "primary"
        resolved.set()
    until(lambda: served_by(lambda: listed(browser)) == "replica")


# Each test ends with every table emptied: so there are few, of several steps.


def test_lists_and_search_come_from_the_replica_while_it_is_fresh(reads: Standby, settings: Any) -> None:
    _fresh(reads)
    _own_writes(reads)
    _behind(reads, settings)


def test_a_replica_that_stops_or_freezes_is_missed_by_nobody(
    reads: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stopped(reads)
    _frozen(reads)
    _not_looked_at(monkeypatch)


def test_what_writes_or_fails_goes_to_the_primary(reads: Standby) -> None:
    _writes(reads)
    _failing(reads)
    _wrong_address("5432", "no replica")
    _wrong_address(str(PORT + 300), "takes no connection")


def test_without_the_variable_nothing_is_different(db: None) -> None:
    assert not replica.configured()
    browser = client_of("operator")
    answer = browser.get("/memories/search/?q=anything&mode=keyword")
    assert answer.context["answered"] is None
    assert own_writes.cookie_name() not in browser.cookies
    assert "All reads go to this server" in browser.get("/postgres/replication/").content.decode()
