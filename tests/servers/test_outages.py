"""Each server killed and frozen under a person who is logged in: words at once, and recovery unaided."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import psycopg
import pytest

from arcweb.embedded.layout import Layout
from tests.servers.conftest import STATEMENT_SECONDS
from tests.servers.frozen import frozen
from tests.servers.site import Answer, Browser, Site, title
from tests.waiting import until

#: Seconds. About one is promised; whoever waits for the end of a statement waits longer than this.
FIRST = STATEMENT_SECONDS - 5.0
#: Less than any timeout, of a connection (0.8) or of Redis (0.5).
NO_TIMEOUT = 0.4
#: Seconds for which pages are asked once a server was killed.
LOOKED_FOR = 2.0
#: Pages that read much and little.
PAGES = ("/", "/agents/agent/", "/memories/memory/", "/jobs/job/", "/events/")


@pytest.fixture(scope="module")
def agent(site: Site) -> str:
    """The id of an agent."""
    made = "from agents.models import Agent; print(Agent.objects.create(name='survivor', type='tester').pk)"
    return site.shell(made).strip()


@pytest.fixture(autouse=True)
def well(site: Site) -> Iterator[None]:
    """All is well before each test, and after it nobody was logged out and nothing was a 500."""
    for page in PAGES:
        site.admin.get(page)  # open connections in more than one thread
    yield
    site.wait_until_well()
    assert site.admin.logged_in()
    assert "Internal Server Error" not in site.web_log()


def dsn(layout: Layout) -> str:
    return psycopg.conninfo.make_conninfo(
        "", host=str(layout.socket_dir), dbname="arc", user="arc",
        password=layout.read_secret("postgres-password"),
    )  # fmt: skip


def at_once(site: Site, count: int) -> list[Answer]:
    """So many requests together, each from a thread of its own."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda n: site.admin.get(PAGES[n % len(PAGES)]), range(count)))


def nobody_waited(site: Site, answers: list[Answer]) -> None:
    """A busy machine delays one answer or another; a timeout that each pays delays the fastest as well."""
    assert max(answer.seconds for answer in answers) < FIRST
    seconds = [answer.seconds for answer in answers]

    def one_did_not() -> bool:
        if min(seconds) < NO_TIMEOUT:
            return True
        seconds.append(site.admin.get("/").seconds)
        return False

    until(one_did_not, what="an answer without a timeout")


def told(what: str, answers: list[Answer]) -> None:
    seconds = sorted(answer.seconds for answer in answers)
    middle = seconds[len(seconds) // 2]
    print(f"{what}: {len(seconds)} answers, median {middle:.2f} s, worst {seconds[-1]:.2f} s")


def test_postgres_frozen_with_its_backends_on_open_connections(site: Site) -> None:
    with frozen(site.processes("postgres")):
        first = at_once(site, 8)
        told("first, PostgreSQL frozen", first)
        assert {answer.status for answer in first} == {503}
        assert max(answer.seconds for answer in first) < FIRST
        site.wait_for(postgres=False)
        later = [site.admin.get(page) for page in PAGES] + at_once(site, 8)
        told("later, PostgreSQL frozen", later)
        for answer in later:
            assert answer.status == 503
            assert title(answer.text) == "PostgreSQL is away"
            assert "It does not answer." in answer.text
            assert "You stay logged in" in answer.text
            assert answer.headers["Cache-Control"] == "no-store"
            assert int(answer.headers["Retry-After"]) > 0
            assert str(site.layout.socket_dir) not in answer.text
        nobody_waited(site, later)
        part = site.admin.get("/events/", HX_Request="true")
        assert part.status == 503
        assert part.text.startswith("PostgreSQL is away for ")
        assert "<" not in part.text
        sent = site.admin.post("/agents/agent/add/", {"name": "nobody"})
        assert sent.status == 503
        assert "was not stored" in sent.text
        assert Browser(site.port).get("/login/").status == 503
    print(f"PostgreSQL thawed: back after {until(lambda: site.admin.get('/').status == 200, 120):.2f} s")


def test_only_the_backends_frozen(site: Site) -> None:
    def all_are_served() -> bool:
        """On new connections. A busy machine may make one too late, and says so on that page."""
        with frozen(site.processes("backends")):
            answers = [site.admin.get(page) for page in PAGES * 2]
        told("backends frozen", answers)
        assert {answer.status for answer in answers} <= {200, 503}
        assert answers[0].seconds < FIRST
        return {answer.status for answer in answers} == {200}

    until(all_are_served, 180)


def test_a_statement_in_flight_when_postgres_freezes(site: Site) -> None:
    with psycopg.connect(dsn(site.layout)) as locker, ThreadPoolExecutor(1) as pool:
        locker.execute("LOCK TABLE agents.agents IN ACCESS EXCLUSIVE MODE")
        waiting = pool.submit(site.admin.get, "/agents/agent/")
        until(lambda: locker.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone() is not None)
        with frozen(site.processes("postgres")):
            answer = waiting.result()
            told("in flight, PostgreSQL frozen", [answer])
            assert answer.status == 503
            assert answer.seconds < FIRST


def test_a_statement_that_takes_too_long_is_stopped_in_words(site: Site) -> None:
    with psycopg.connect(dsn(site.layout)) as locker:
        locker.execute("LOCK TABLE agents.agents IN ACCESS EXCLUSIVE MODE")

        def stopped_in_words() -> bool:
            """Where PostgreSQL says a second too late that it stopped it, the connection counts as lost."""
            answer = site.admin.get("/agents/agent/")
            assert answer.status == 503
            assert answer.seconds >= STATEMENT_SECONDS
            words = f"longer than {STATEMENT_SECONDS} s"
            return title(answer.text) == "This took too long" and words in answer.text

        until(stopped_in_words, 120)


@pytest.mark.parametrize("name", ["postgres", "backends"])
def test_postgres_or_its_backends_killed(site: Site, name: str) -> None:
    for victim in site.processes(name)[: 1 if name == "postgres" else None]:
        with suppress(psutil.NoSuchProcess):  # one that dies takes the others with it
            victim.kill()
    answers = []
    end = time.monotonic() + LOOKED_FOR
    while time.monotonic() < end:
        answers.append(site.admin.get(PAGES[len(answers) % len(PAGES)]))
        time.sleep(0.02)
    told(f"{name} killed", answers)
    assert {answer.status for answer in answers} <= {200, 503}
    assert name == "backends" or 503 in {answer.status for answer in answers}
    assert max(answer.seconds for answer in answers) < FIRST
    took = until(lambda: site.admin.get("/").status == 200, 120)
    print(f"{name} killed: back {LOOKED_FOR + took:.1f} s later at the latest, with no restart of the web")


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_redis_cache_away(site: Site, number: signal.Signals) -> None:
    ended = Browser(site.port, dict(site.admin.cookies))
    password = site.layout.admin_password_file.read_text().strip()
    ended = Browser(site.port).login("admin", password)
    left = Browser(site.port, dict(ended.cookies))
    with frozen(site.processes("redis-cache")):
        if number == signal.SIGKILL:
            os.kill(site.processes("redis-cache")[0].pid, number)
        first = at_once(site, 4)
        told(f"first, Redis cache {number.name}", first)
        assert {answer.status for answer in first} == {200}
        assert max(answer.seconds for answer in first) < FIRST
        if number == signal.SIGSTOP:
            site.wait_for(redis_cache=False)
        later = [site.admin.get(page) for page in PAGES * 2]
        told(f"later, Redis cache {number.name}", later)
        assert {answer.status for answer in later} == {200}
        nobody_waited(site, later)
        if number == signal.SIGSTOP:
            assert "Redis (cache role)</b> has been away for" in later[0].text
            assert "sessions are read from PostgreSQL meanwhile" in later[0].text
        assert ended.post("/logout/").status == 200
        assert Browser(site.port).login("admin", password).logged_in()
    site.wait_until_well()
    assert not left.logged_in(), "what was ended while Redis was away stays ended"


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_redis_state_away(site: Site, agent: str, number: signal.Signals) -> None:
    with frozen(site.processes("redis-state")):
        if number == signal.SIGKILL:
            os.kill(site.processes("redis-state")[0].pid, number)
        answers = [site.admin.get(page) for page in PAGES]
        texts = [f"Kept while Redis was away: {number.name} {n}" for n in range(2)]
        queued = [site.admin.post("/memories/ingest/", {"agent": agent, "text": text}) for text in texts]
        told(f"Redis state {number.name}", answers + queued)
        assert {answer.status for answer in answers} == {200}
        nobody_waited(site, answers)
        assert max(answer.seconds for answer in queued) < FIRST
        assert {answer.status for answer in queued} == {302}
        if number == signal.SIGSTOP:
            site.wait_for(redis_state=False)
            site.wait_for(worker=None, beat=None)
            banner = site.admin.get("/").text
            assert "Redis (state role)</b> has been away for" in banner
    print(f"Redis state {number.name}: all well after {site.wait_until_well():.1f} s")
    with psycopg.connect(dsn(site.layout), autocommit=True) as connection:
        rows = "SELECT count(embedding) FROM agents.memories WHERE content = ANY(%s)"
        took = until(lambda: connection.execute(rows, [texts]).fetchone() == (2,), 150)
    print(f"Redis state {number.name}: what was sent meanwhile is embedded {took:.1f} s later")


@pytest.mark.parametrize("name", ["worker", "beat"])
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_worker_and_beat_away(site: Site, name: str, number: signal.Signals) -> None:
    with frozen(site.processes(name)):
        took = site.wait_for(**{name: False})
        print(f"{name} frozen: known after {took:.1f} s")
        answers = [site.admin.get("/") for _ in range(3)]
        nobody_waited(site, answers)
        for answer in answers:
            assert answer.status == 200
            assert "has been away for" in answer.text
        if number == signal.SIGKILL:
            for process in site.processes(name):
                process.kill()
    print(f"{name} {number.name}: back after {site.wait_until_well():.1f} s")
