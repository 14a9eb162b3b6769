"""The sentence on top of the overview: what it names first, and what it counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest
from django.test import RequestFactory
from django.utils import timezone

from arcweb import servers, watches
from arcweb.panels import Card, Concern
from arcweb.samples.models import Sample
from arcweb.verdict import judge, verdict
from arcweb.watches import Outlook, Watch
from tests.people import make_user

WARN = Concern("warn", "38 memories failed to embed.", "/memories/", "Show them")
BAD = Concern("bad", "PostgreSQL is away.")


def said(card: Card) -> str:
    return str(card.context["sentence"])


def test_the_worst_comes_first_whoever_said_it() -> None:
    unknown, idle = Concern("unknown", "Nobody knows."), Concern("idle", "Nothing yet.")
    card = judge([Outlook((idle, unknown)), Outlook((WARN,)), Outlook((BAD,))])
    assert [concern.state for concern in card.concerns] == ["bad", "warn", "unknown", "idle"]
    assert card.state == "bad"
    assert card.word == "2 things to do"
    assert said(card) == "One more thing is named below."


def test_among_equals_the_order_of_the_watches_decides() -> None:
    other = Concern("warn", "3 jobs failed.")
    assert judge([Outlook((WARN,)), Outlook((other,))]).concerns == (WARN, other)
    assert judge([Outlook((other,)), Outlook((WARN,))]).concerns == (other, WARN)


def test_what_is_well_is_said_beside_what_is_not() -> None:
    card = judge(
        [Outlook((WARN,)), Outlook(well="every server answers"), Outlook(well="14 agents are known")]
    )
    assert card.word == "One thing to do"
    assert said(card) == "Otherwise every server answers and 14 agents are known."


@pytest.mark.parametrize(
    ("outlook", "state", "word", "words"),
    [
        (Outlook(), "good", "All well", "Nothing here asks for attention."),
        (Outlook(well="all answer"), "good", "All well", "All answer."),
        (Outlook((Concern("unknown", "?"),)), "unknown", "Not all is known", ""),
        (Outlook((Concern("idle", "Empty."),)), "idle", "Ready", ""),
    ],
)
def test_without_anything_to_do(outlook: Outlook, state: str, word: str, words: str) -> None:
    card = judge([outlook])
    assert (card.state, card.word, said(card)) == (state, word, words)


def test_the_age_is_that_of_the_oldest_figure() -> None:
    before = timezone.now()
    card = judge([], 4.2)
    assert card.context["checked"] == "4 s ago"
    assert card.measured_at is not None
    assert before <= card.measured_at + timedelta(seconds=4.2) <= timezone.now()
    assert judge([], 0.3).context["checked"] == "just now"


# --- with samples ------------------------------------------------------------------------------


@pytest.fixture
def sample(db: None) -> Callable[..., None]:
    def make(source: str, seconds_ago: float = 3, **values: float) -> None:
        moment = timezone.now() - timedelta(seconds=seconds_ago)
        Sample.objects.create(source=source, taken_at=moment, read_at=moment, values=values)

    return make


@pytest.fixture
def healthy(sample: Callable[..., None]) -> None:
    sample("memories", embedded=412, pending=2, failed=0)
    sample("agents", total=14)
    sample("jobs", running=1, queued=0, failed=0)
    sample("postgres", connections=21, max_connections=100)
    sample("redis-cache", used_bytes=250, max_bytes=256, evicting=1, unsaved=0)
    sample("redis-state", used_bytes=5, max_bytes=0, evicting=0, unsaved=0)
    sample("celery", **{"waiting:celery": 6, "waiting:quick": 0, "held": 1})
    sample("alerts", failed=0)
    sample("backups", since=timezone.now().timestamp())


def asked(role: str = "viewer") -> Card:
    request = RequestFactory().get("/")
    request.user = make_user(role)
    return verdict(request)


def test_all_is_well_in_words(healthy: None) -> None:
    card = asked()
    assert card.word == "All well"
    assert said(card) == "412 memories are searchable by meaning and 14 agents are known."


@pytest.mark.parametrize(
    ("source", "values", "state", "words"),
    [
        ("memories", {"failed": 38}, "warn", "38 memories failed to embed; search misses them."),
        ("jobs", {"failed": 1}, "warn", "1 job failed in the last 24 hours."),
        ("postgres", {"connections": 85, "max_connections": 100}, "warn", "85 of 100 connections"),
        ("postgres", {"connections": 99, "max_connections": 100}, "bad", "99 of 100 connections"),
        ("redis-state", {"evicting": 1}, "warn", "may evict queued tasks and locks"),
        ("redis-state", {"used_bytes": 9.5e8, "max_bytes": 1e9}, "warn", "evicts nothing"),
        ("redis-state", {"used_bytes": 1e9, "max_bytes": 1e9}, "bad", "evicts nothing"),
        ("redis-cache", {"unsaved": 1}, "bad", "could not write to its disk"),
        ("celery", {"waiting:quick": 900}, "warn", "900 tasks wait in the queue quick"),
        ("agents", {"total": 0}, "idle", "There are no agents yet"),
        ("alerts", {"firing:servers.worker": 300}, "bad", "Alert: The Celery worker is away (5 min)."),
        ("alerts", {"failed": 2}, "warn", "An alert could not be sent"),
        ("backups", {"since": 1.7e9}, "bad", "PostgreSQL has no proven restore point."),
        ("backups", {"failures:postgres": 2}, "warn", "The last 2 backups of PostgreSQL failed."),
    ],
)
def test_each_watch_tells_its_trouble(
    healthy: None, sample: Callable[..., None], source: str, values: dict[str, float], state: str, words: str
) -> None:
    sample(source, 1, **values)
    card = asked()
    assert card.state == state
    assert words in card.concerns[0].sentence
    assert len(card.concerns) == 1


def test_it_is_one_query_and_tells_nobody_what_they_may_not_see(
    healthy: None, sample: Callable[..., None], django_assert_num_queries: Callable[..., object]
) -> None:
    sample("memories", 1, failed=38)
    request = RequestFactory().get("/")
    request.user = make_user("viewer")
    request.user.has_perm("agents.view_agent")  # loads the permissions
    with django_assert_num_queries(1):  # type: ignore[attr-defined]
        card = verdict(request)
    assert "38 memories" in card.concerns[0].sentence
    request.user = make_user("")
    assert verdict(request).concerns == ()


def test_figures_that_are_missing_or_old_are_no_proof(
    healthy: None, sample: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    Sample.objects.filter(source="agents").delete()
    card = asked()
    assert (card.state, card.concerns[0].sentence) == (
        "unknown",
        "No figures of agents yet; they come every half minute.",
    )
    Sample.objects.all().delete()
    assert asked().concerns[0].sentence == "No figures were taken yet; they come every half minute."
    redis = ("redis-cache", "redis-state")
    for source in ("memories", "agents", "jobs", "postgres", *redis, "celery", "alerts", "backups"):
        sample(source, 600, failed=38)
    card = asked()
    assert card.word == "Not all is known"
    assert "10 min old" in card.concerns[0].sentence
    assert not any("38" in concern.sentence for concern in card.concerns)


def test_a_server_that_is_away_comes_first_and_explains_missing_figures(
    healthy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "board", servers.Board())
    servers.board.watch(lambda name: None)
    for name in servers.NAMES:
        long_ago = timezone.now() - timedelta(minutes=5.5)
        servers.board.note(name, servers.Finding(name != "beat", "No sign of life.", since=long_ago))
    Sample.objects.all().delete()
    card = asked()
    assert [concern.state for concern in card.concerns] == ["bad"]
    assert card.concerns[0].sentence.startswith(
        "Celery beat has been away for 5 min. Nothing that is scheduled"
    )
    servers.board.note("beat", servers.Finding(True))
    assert "every server and process answers" in said(asked())


def test_two_watches_of_one_name_are_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "_watches", {})

    def look(values: Mapping[str, float] | None) -> Outlook:
        return Outlook()

    watches.register_watch(Watch("one", "", "", look))
    watches.register_watch(Watch("one", "", "", look))
    with pytest.raises(ValueError, match="Two watches are named 'one'"):
        watches.register_watch(Watch("one", "", "other", look))
