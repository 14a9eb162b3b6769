"""Each panel loads, fails and is slow by itself."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from agents.models import Agent
from arcweb import panels, servers
from arcweb.embedded.stack import Stack
from arcweb.events import record
from arcweb.jobs.models import Job
from arcweb.libpq import conninfo
from arcweb.panels import Card, Chart, Concern, Panel, Row
from arcweb.samples import taking
from arcweb.samples.models import Sample
from memories import activity
from memories.models import Document, Memory
from tests.people import client_of
from tests.servers.frozen import frozen, whole

pytestmark = pytest.mark.django_db
OVERVIEW = ["memories", "agents", "postgres", "redis-cache", "redis-state", "celery", "jobs", "events"]
HTMX = {"HX-Request": "true"}
Register = Callable[..., Panel]


@pytest.fixture(autouse=True)
def panels_have_time(unhurried: None) -> None:
    """A busy machine is not the point here."""


@pytest.fixture
def viewer() -> Client:
    return client_of("viewer")


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Registers a panel of the test's own, undone after it."""
    monkeypatch.setattr(panels, "_panels", dict(panels._panels))

    def make(content: Callable[..., Card], **options: Any) -> Panel:
        made = Panel(
            **{"name": "own", "title": "Own", "place": "overview", "permission": "", **options},
            content=content,
        )
        panels.register_panel(made)
        return made

    return make


@pytest.fixture
def locked_memories() -> Iterator[None]:
    """Somebody else holds agents.memories."""
    with psycopg.connect(conninfo(connection.settings_dict)) as other:
        other.execute("SET LOCAL lock_timeout = '60s'")
        other.execute("LOCK TABLE agents.memories IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


def fragment(client: Client, name: str, agent: uuid.UUID | None = None) -> str:
    url = f"/agents/agent/{agent}/panels/{name}/" if agent else f"/panels/{name}/"
    answer = client.get(url, headers=HTMX)
    assert answer.status_code == 200
    return answer.content.decode()


# --- what each shows ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*OVERVIEW, "verdict"])
def test_every_panel_is_filled_on_an_empty_stack(viewer: Client, name: str) -> None:
    text = fragment(viewer, name)
    assert "could not be read" not in text
    assert "<html" not in text
    assert " style=" not in text
    assert "None" not in text.replace("None yet", "").replace("None running", "")


def test_memories_by_state_with_links_and_what_to_do(viewer: Client) -> None:
    assert "Nothing is stored yet" in fragment(viewer, "memories")
    assert "/memories/ingest/" not in fragment(viewer, "memories")  # a viewer cannot
    assert 'href="/memories/ingest/"' in fragment(client_of("operator"), "memories")
    made = [Memory(content=f"Line {number}.") for number in range(1200)]
    Memory.objects.bulk_create(made)
    Memory.objects.filter(pk__in=[memory.pk for memory in made[:38]]).update(embedding_state="failed")
    taking.take_samples()
    text = fragment(viewer, "memories")
    assert "1,200" in text
    assert "1,162" in text
    assert "38 failed" in text
    assert "38 memories failed to embed" in text
    assert 'href="/memories/memory/?embedding_state__exact=failed"' in text
    assert 'class="line" d="M' in text


def test_agents_by_type_and_how_to_begin(viewer: Client) -> None:
    assert "There are no agents yet" in fragment(viewer, "agents")
    assert 'href="/agents/agent/add/"' in fragment(client_of("operator"), "agents")
    for kind, number in {"a&b": 3, "two": 2, "three": 1, "four": 1, "five": 1}.items():
        for _ in range(number):
            Agent.objects.create(name="Scout", type=kind)
    text = fragment(viewer, "agents")
    assert '<div class="big num">8 <small>agents</small></div>' in text
    assert 'href="/agents/agent/?type__exact=a%26b"' in text
    assert "2 other types" in text


def test_jobs_with_their_progress(viewer: Client) -> None:
    now = timezone.now()
    job = Job.objects.create(
        kind="dig",
        title="Ingest <b>",
        state="running",
        claim=uuid.uuid4(),
        heartbeat_at=now,
        done=118,
        total=184,
        started_at=now,
    )
    Job.objects.create(kind="dig", state="failed", finished_at=now)
    text = fragment(viewer, "jobs")
    assert 'max="184" value="118"' in text
    assert "64 %" in text
    assert "Ingest &lt;b&gt;" in text
    assert f"/jobs/job/{job.pk}/" in text
    assert "1 job failed in the last 24 hours." in text


def test_events_newest_first(viewer: Client) -> None:
    agent = Agent.objects.create(name="Scout", type="research")
    for number in range(8):
        record("t.happened", agent_id=agent.pk if number == 0 else None, label=f"<{number}>")
    text = fragment(viewer, "events")
    assert text.count("<li>") == 6
    assert text.index("&lt;7&gt;") < text.index("&lt;6&gt;")
    own = fragment(viewer, "agent-events", agent.pk)
    assert own.count("<li>") == 1
    assert "&lt;0&gt;" in own


def test_postgresql_and_redis_with_figures_and_charts(viewer: Client) -> None:
    for ago in (60, 30, 0):
        moment = timezone.now() - timedelta(seconds=ago + 15)
        Sample.objects.create(
            source="postgres", taken_at=moment, read_at=moment, values={"connections": 5, "size_bytes": 1}
        )
    text = fragment(viewer, "postgres")
    assert f"version {connection.pg_version // 10000}" in text
    assert " of 100</b>" in text
    assert "MB" in text
    assert 'role="img" aria-labelledby="postgres-title postgres-desc"' in text
    assert "in the last hour</desc>" in text
    assert "allkeys-lru" in fragment(viewer, "redis-cache")
    assert "noeviction" in fragment(viewer, "redis-state")
    assert "ops/s" in fragment(viewer, "redis-state")


def test_the_hit_rate_is_that_of_the_last_minute(viewer: Client) -> None:
    from cache_admin import samplers

    now = samplers.take("cache")
    moment = timezone.now() - timedelta(seconds=70)
    values = {"hits": now["hits"] - 9_000_000, "misses": now["misses"] - 1_000_000, "evicted": now["evicted"]}
    Sample.objects.create(source="redis-cache", taken_at=moment, read_at=moment, values=values)
    text = fragment(viewer, "redis-cache")
    # Reads of the page and of tests beside this one count too, so it is near 90 %, not 90 % exactly.
    rate = float(text.split('<div class="big num">')[1].split(" %")[0])
    assert 88 < rate < 92


def test_without_a_sample_of_then_the_last_minute_is_unknown(viewer: Client) -> None:
    moment = timezone.now() - timedelta(minutes=20)
    values = {"hits": 0, "misses": 0, "evicted": 0}
    Sample.objects.create(source="redis-cache", taken_at=moment, read_at=moment, values=values)
    text = fragment(viewer, "redis-cache")
    assert '<div class="big num">unknown <small>hit rate</small></div>' in text
    assert re.search(r"Evicted in the last minute</span>\s*<b class=\"num\">unknown</b>", text)


def test_celery_tells_worker_beat_and_queues(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "board", servers.Board())
    servers.board.note("worker", servers.Finding(True, "Well.", facts={"workers": ["a", "b"]}))
    long_ago = timezone.now() - timedelta(minutes=5.5)
    servers.board.note("beat", servers.Finding(False, "No sign.", since=long_ago))
    moment = timezone.now()
    values = {"waiting:celery": 6, "waiting:quick": 1, "held": 2}
    Sample.objects.create(source="celery", taken_at=moment, read_at=moment, values=values)
    text = fragment(viewer, "celery")
    assert '<div class="big num">7 <small>tasks wait</small></div>' in text
    assert "Celery beat has been away for 5 min." in text


# --- an agent's panels -------------------------------------------------------------------------


def test_an_agents_memories_and_documents_are_its_own(viewer: Client) -> None:
    scout, other = (Agent.objects.create(name=name, type="research") for name in ("Scout", "Other"))
    document = Document.objects.create(agent=scout, name="a<b>.md", content_hash=b"1", chunk_count=7)
    Document.objects.create(agent=other, name="other.md", content_hash=b"1")
    Memory.objects.bulk_create(Memory(agent=scout, content=f"{number}") for number in range(3))
    Memory.objects.bulk_create(Memory(agent=other, content=f"{number}") for number in range(50))
    now = timezone.now()
    Memory.objects.create(agent=scout, content="old", created_at=now - timedelta(days=3))
    Memory.objects.create(agent=scout, content="ancient", created_at=now - timedelta(days=300))
    Memory.objects.create(agent=scout, content="undated", created_at=None)
    text = fragment(viewer, "agent-memories", scout.pk)
    assert '<div class="big num">6 <small>memories</small></div>' in text
    assert "4 in 30 days, 3 today (UTC)" in text
    assert f"embedding_state__exact=pending&amp;agent__id__exact={scout.pk}" in text
    days = activity.per_day(scout.pk)
    assert [value for _, value in days.points if value] == [1, 3]
    assert len(days.points) == 30
    shown = fragment(viewer, "agent-documents", scout.pk)
    assert "a&lt;b&gt;.md" in shown
    assert f"/memories/document/{document.pk}/change/" in shown
    assert "7 chunks" in shown
    assert "other.md" not in shown


def test_an_agent_with_very_much_is_counted_to_a_limit(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    scout = Agent.objects.create(name="Scout", type="research")
    now = timezone.now()
    Memory.objects.bulk_create(
        Memory(agent=scout, content=f"{number}", created_at=now - timedelta(days=number))
        for number in range(9)
    )
    monkeypatch.setattr(activity, "MOST_COUNTED", 5)
    monkeypatch.setattr(activity, "MOST_ROWS", 4)
    assert "more than 5" in fragment(viewer, "agent-memories", scout.pk)
    days = activity.per_day(scout.pk)
    assert days.cut
    # The oldest of the newest four may be a day that is cut: it and what is before it are unknown.
    assert [value for _, value in days.points][-5:] == [None, None, 1, 1, 1]


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("patience", [3])
def test_a_lock_makes_only_the_memories_slow(viewer: Client, locked_memories: None) -> None:
    # The lock is held all the time: whatever waits for it without a limit never ends.
    assert "Memories did not answer within 1.5 s." in fragment(viewer, "memories")
    for name in OVERVIEW[1:]:
        assert "did not answer" not in fragment(viewer, name)
    assert viewer.get("/").status_code == 200
    assert "did not answer" not in fragment(viewer, "verdict")


def test_a_frozen_redis_costs_only_its_card(
    viewer: Client, throwaway_stack: Callable[..., Stack], settings: Settings
) -> None:
    stack = throwaway_stack(postgres=False)
    settings.REDIS_STATE_URL = stack.layout.redis_url("state")
    [state] = [server for server in stack.servers if server.name == "valkey-state"]
    with frozen(whole(state.process())):
        text = fragment(viewer, "redis-state")
        assert "did not answer in time" in text
        assert "No answer" in text
        for name in OVERVIEW:
            if name != "redis-state":
                assert "did not answer" not in fragment(viewer, name)
    assert "noeviction" in fragment(viewer, "redis-state")


def test_a_server_that_is_known_to_be_away_is_not_asked(
    viewer: Client, panel: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "board", servers.Board())
    servers.board.note("redis-cache", servers.Finding(False, "Away."))
    panel(lambda request: pytest.fail("it was asked"), needs=("postgres", "redis-cache"))
    text = fragment(viewer, "own")
    assert "Redis (cache role) is away since" in text
    assert "asked again every 10 s" in text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ZeroDivisionError(), "Own could not be read; the web process's log says why."),
        (OperationalError("gone"), "Own could not be read: PostgreSQL was lost."),
    ],
)
def test_a_panel_that_fails_is_a_card_and_a_line_in_the_log(
    viewer: Client, panel: Register, caplog: pytest.LogCaptureFixture, error: Exception, words: str
) -> None:
    def fail(request: Any) -> Card:
        raise error

    panel(fail)
    assert words.replace("'", "&#x27;") in fragment(viewer, "own")
    assert "The panel own" in caplog.text
    assert "agents" in fragment(viewer, "agents")  # the connection goes on


def test_a_panel_cannot_write(viewer: Client, panel: Register) -> None:
    def write(request: Any) -> Card:
        Agent.objects.create(name="Scout", type="research")
        return Card("good", "Done")

    panel(write)
    assert "could not be read" in fragment(viewer, "own")
    assert not Agent.objects.exists()


def test_what_a_card_holds_is_escaped_and_drawn(viewer: Client, panel: Register) -> None:
    evil = "<script>alert(1)</script>"
    now = timezone.now()
    chart = Chart(evil, ((now, 1.0), (now + timedelta(minutes=1), 2.0)), evil, evil)
    card = Card(
        "warn",
        evil,
        evil,
        evil,
        (Row(evil, evil, evil, "/x/"),),
        chart,
        (Concern("warn", evil, "/y/", evil),),
    )
    panel(lambda request: card, wide=True)
    text = fragment(viewer, "own")
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") >= 9
    assert 'class="course"' in text
    assert "<span>0 &lt;script&gt;" in text  # a chart with an axis stands on zero


# --- who may see, and how it is asked ----------------------------------------------------------


def test_each_panel_asks_for_its_permission() -> None:
    stranger = client_of()
    for name in OVERVIEW:
        assert stranger.get(f"/panels/{name}/", headers=HTMX).status_code == 403
    for name in ("agent-memories", "agent-documents", "agent-events"):
        assert stranger.get(f"/agents/agent/{uuid.uuid4()}/panels/{name}/").status_code == 403
    assert stranger.get("/panels/verdict/", headers=HTMX).status_code == 200
    assert Client().get("/panels/memories/").status_code == 302
    answer = Client().get("/panels/memories/", headers=HTMX, follow=True)
    assert answer.headers["HX-Redirect"].startswith("/login/?next=")


def test_unknown_panels_and_other_methods_are_refused(viewer: Client) -> None:
    assert viewer.get("/panels/nothing/").status_code == 404
    assert viewer.get("/panels/agent-memories/").status_code == 404  # it stands elsewhere
    assert viewer.get(f"/agents/agent/{uuid.uuid4()}/panels/memories/").status_code == 404
    assert viewer.post("/panels/memories/").status_code == 405


def test_without_javascript_a_panel_is_a_page(viewer: Client) -> None:
    page = viewer.get("/panels/agents/")
    assert page.headers["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    text = page.content.decode()
    assert "<h1>Agents</h1>" in text
    assert "There are no agents yet" in text
    assert "<h1>How things are</h1>" in viewer.get("/panels/verdict/").content.decode()


#: Each panel's own queries; those of session, user and permissions come before them.
QUERIES = {
    "memories": 4, "agents": 1, "postgres": 5, "redis-cache": 2, "redis-state": 1, "celery": 2, "jobs": 5,
    "events": 2, "verdict": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", QUERIES)
def test_a_panel_costs_the_same_queries_at_ten_rows_and_at_a_thousand(viewer: Client, name: str) -> None:
    fragment(viewer, name)  # the session's first request
    for number in (10, 990):
        Agent.objects.bulk_create(Agent(name=f"{number}", type=f"{one}") for one in range(number))
        Memory.objects.bulk_create(Memory(content=f"{one}") for one in range(number))
        Job.objects.bulk_create(Job(kind="dig", state="queued") for _ in range(number))
        for _ in range(number if name == "events" else 10):
            record("t.happened")
        taking.take_samples()
        with CaptureQueriesContext(connection) as asked:
            fragment(viewer, name)
        statements = [query["sql"] for query in asked]
        first = next(place for place, sql in enumerate(statements) if "transaction_read_only" in sql)
        own = [sql for sql in statements[first + 1 :] if "SAVEPOINT" not in sql and "auth_" not in sql]
        assert len(own) == QUERIES[name], statements
        assert len(statements) - len(own) <= 8
