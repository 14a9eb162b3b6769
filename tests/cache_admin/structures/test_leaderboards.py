"""Leaderboards: kept for other apps, shown to people, changed by those who may."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.urls import reverse
from redis import Redis
from redis.connection import Connection

from agents.models import Agent
from arcweb.events.models import Event, EventDetail
from arcweb.leaderboards import score
from cache_admin import codes
from cache_admin.structures import leaderboards, quick
from memories import boards
from memories.models import Memory
from tests.people import client_of

LIST = reverse("admin:redis_leaderboards")
BOARD = reverse("admin:redis_leaderboard")
CHANGE = reverse("admin:redis_leaderboard_change")
KEY = codes.encode(b"leaderboard")


@pytest.fixture
def seeded(state: Redis) -> Redis:
    state.zadd("leaderboard", {"player1": 100, "player2": 150, "player3": 120})
    return state


@pytest.mark.django_db
def test_the_first_have_medals_in_words_and_bars_by_their_score(seeded: Redis) -> None:
    html = " ".join(client_of("viewer").get(LIST).content.decode().split())
    places = [html.index(name) for name in ("player2", "player3", "player1")]
    assert places == sorted(places)
    for medal in ("Gold", "Silver", "Bronze"):
        assert f">{medal}<" in html
    assert '<rect class="fill" width="100"' in html
    assert '<rect class="fill" width="66.67"' in html
    assert "Begin a leaderboard" not in html


@pytest.mark.django_db
def test_a_board_shows_its_ends_and_a_member_among_its_neighbours(state: Redis) -> None:
    state.zadd("points", {f"member-{n:03}": n for n in range(1, 101)})
    browser = client_of("viewer")
    asked = {"role": "state", "key": codes.encode(b"points"), "member": "member-050"}
    response = browser.get(BOARD, asked)
    assert [line.label for line in response.context["lines"]][:2] == ["member-100", "member-099"]
    assert [(line.place, line.label) for line in response.context["last"]][-2:] == [
        (99, "member-002"),
        (100, "member-001"),
    ]
    near = response.context["near"]
    assert [line.place for line in near] == [48, 49, 50, 51, 52, 53, 54]
    assert [line.label for line in near if line.asked] == ["member-051"] or near[3].asked
    assert b"not on this board" in browser.get(BOARD, {**asked, "member": "nobody"}).content
    assert len(browser.get(BOARD, {**asked, "n": "25"}).context["lines"]) == 25


@pytest.mark.django_db
def test_scores_are_set_added_to_and_removed_with_events(seeded: Redis) -> None:
    browser = client_of("operator")
    for form, result in (
        ({"do": "set", "member": "player4", "score": "7"}, 7),
        ({"do": "increment", "member": "player4", "score": "0.5"}, 7.5),
        ({"do": "increment", "member": "player1", "score": "-200"}, -100),
    ):
        response = browser.post(CHANGE, {"key": KEY, **form}, follow=True)
        assert response.status_code == 200
        assert seeded.zscore("leaderboard", form["member"]) == result
    form = {"key": KEY, "do": "remove", "raw": codes.encode(b"player4")}
    assert b"To confirm, type" in browser.post(CHANGE, form).content
    assert seeded.zscore("leaderboard", "player4") is not None
    said = browser.post(CHANGE, {**form, "typed": "remove"}, follow=True).content.decode()
    assert "player4 is removed; its score was 7.5." in said
    assert seeded.zscore("leaderboard", "player4") is None
    kinds = list(
        Event.objects.filter(kind__startswith="leaderboard.").order_by("id").values_list("kind", flat=True)
    )
    assert kinds == [
        "leaderboard.set",
        "leaderboard.incremented",
        "leaderboard.incremented",
        "leaderboard.removed",
    ]
    removed = Event.objects.get(kind="leaderboard.removed")
    assert removed.data == {"role": "state", "score": 7.5}
    assert EventDetail.objects.get(event_id=removed.id).note == "player4"
    assert browser.post(CHANGE, {**form, "typed": "remove"}).status_code == 404


@pytest.mark.django_db
def test_a_new_board_begins_with_its_first_member(state: Redis) -> None:
    form = {"name": "games", "do": "set", "member": "ada", "score": "3"}
    assert (
        b"ada leads"
        not in client_of("operator").post(CHANGE, form, follow=True).content.replace(b"<b>", b"")[:0]
    )
    assert state.zscore("games", "ada") == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"key": KEY, "do": "set", "member": "x", "score": "much"}, 400),
        ({"key": KEY, "do": "set", "member": "x", "score": "nan"}, 400),
        ({"key": KEY, "do": "set", "member": "x", "score": "1e999"}, 400),
        ({"key": KEY, "do": "set", "member": "", "score": "1"}, 400),
        ({"key": KEY, "do": "dance", "member": "x", "score": "1"}, 400),
        ({"key": "", "do": "set", "member": "x", "score": "1"}, 400),
        ({"key": codes.encode(b"nothing"), "do": "set", "member": "x", "score": "1"}, 404),
        (
            {
                "key": codes.encode(b"arcweb:celery:unacked_index"),
                "do": "set",
                "member": "x",
                "score": "1",
            },
            400,
        ),
        ({"name": "session:abc", "do": "set", "member": "x", "score": "1"}, 400),
        ({"name": "text", "do": "set", "member": "x", "score": "1"}, 302),
    ],
)
def test_what_cannot_be_is_refused_in_words(seeded: Redis, form: dict[str, str], status: int) -> None:
    seeded.set("text", "hello")
    before = seeded.zrange("leaderboard", 0, -1, withscores=True)
    assert client_of("operator").post(CHANGE, form).status_code == status
    assert seeded.zrange("leaderboard", 0, -1, withscores=True) == before
    assert seeded.get("text") == b"hello"
    assert seeded.dbsize() == 2


@pytest.mark.django_db
def test_a_viewer_changes_nothing_and_queues_are_not_shown(seeded: Redis) -> None:
    seeded.zadd("arcweb:celery:unacked_index", {"a-delivery": 1})
    browser = client_of("viewer")
    form = {"key": KEY, "do": "set", "member": "player1", "score": "999"}
    assert browser.post(CHANGE, form).status_code == 403
    assert "a-delivery" not in browser.get(LIST).content.decode()
    address = {"role": "state", "key": codes.encode(b"arcweb:celery:unacked_index")}
    assert browser.get(BOARD, address).status_code == 400


@pytest.mark.django_db
def test_members_and_names_of_any_bytes_and_scores_without_end(state: Redis) -> None:
    name, member = b"odd\n<i>\xff", b"\x00<script>\xfe" + b"m" * 9000
    state.zadd(name, {member: float("inf"), b"low": float("-inf"), b"one": 1})
    state.zadd(b"long:" + b"k" * 10_000, {b"a": 0})
    browser = client_of("operator")
    html = browser.get(LIST).content.decode()
    assert r"odd\n&lt;i&gt;\xff" in html
    assert "<script>\\" not in html
    assert r"\x00&lt;script&gt;\xfe" in html
    assert "unlimited" in html
    assert len(html) < 60_000
    page = browser.get(BOARD, {"role": "state", "key": codes.encode(name)})
    assert page.status_code == 200
    form = {"key": codes.encode(name), "do": "remove", "raw": codes.encode(b"low"), "typed": "remove"}
    assert browser.post(CHANGE, form).status_code == 302
    assert state.zscore(name, b"low") is None
    assert Event.objects.get(kind="leaderboard.removed").data["score"] == "-inf"


def test_a_board_keeps_the_highest_and_never_grows_beyond_its_bound(state: Redis) -> None:
    key = leaderboards.key_of("memories")
    assert leaderboards.bump("memories", {f"m{n:05}": n + 1 for n in range(leaderboards.MOST + 50)})
    assert state.zcard(key) == leaderboards.MOST
    assert state.zscore(key, "m00000") is None
    assert state.zscore(key, f"m{leaderboards.MOST + 49:05}") == leaderboards.MOST + 50


def test_without_redis_nobody_waits_for_a_score(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    connect = Connection._connect
    monkeypatch.setattr(Connection, "_connect", lambda own: (tries.append(own), connect(own))[1])
    monkeypatch.setattr(quick, "PAUSE", 600)
    settings.REDIS_STATE_URL = "redis://127.0.0.1:1/0"
    for _ in range(100):
        assert not leaderboards.bump("memories", {"a": 1})
        score(boards.FOUND, {"a": 1})
    assert len(tries) == 1


@pytest.mark.django_db
def test_searches_are_counted_and_shown_by_name(state: Redis) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    memory = Memory.objects.create(agent=agent, content="The worker renews its lease <every> minute.")
    url = reverse("admin:memories_search")
    browser = client_of("viewer")
    for _ in range(2):
        assert browser.get(url, {"q": "lease", "mode": "keyword"}).status_code == 200
    assert state.zscore("arcweb:leaderboard:memories", str(memory.pk)) == 2
    assert state.zscore("arcweb:leaderboard:agents", str(agent.pk)) == 2
    state.zadd("arcweb:leaderboard:memories", {"no id": 1, str(uuid.uuid4()): 1})
    html = browser.get(LIST).content.decode()
    assert "Most searched memories" in html
    assert "The worker renews its lease &lt;every&gt; minute." in html
    assert reverse("admin:agents_agent_change", args=[agent.pk]) in html
    nobody = client_of("")
    assert nobody.get(LIST).status_code == 403


def test_a_search_that_led_nowhere_counts_nothing(state: Redis) -> None:
    boards.searched([])
    assert state.dbsize() == 0


@pytest.mark.django_db
def test_stored_memories_count_once_they_are_committed(
    state: Redis, django_capture_on_commit_callbacks: Any
) -> None:
    agent = uuid.uuid4()
    with django_capture_on_commit_callbacks(execute=True):
        boards.stored(agent, 7)
        assert state.dbsize() == 0
    assert state.zscore("arcweb:leaderboard:agents", str(agent)) == 7


@pytest.mark.django_db
def test_what_is_masked_on_the_page_of_a_key_is_masked_here(state: Redis) -> None:
    state.zadd("user:7:api-keys", {"hunter22": 1})
    state.zadd("logins", {'{"name": "Ada", "password": "hunter22"}': 1})
    state.zadd("online", {"session:abcdefghijklmnopqrst": 1, "player": 2})
    for role, sees in (("viewer", False), ("operator", True)):
        client = client_of(role)
        said = client.get(LIST).content.decode()
        for key in (b"user:7:api-keys", b"logins", b"online"):
            asked = {"key": codes.encode(key), "role": "state", "member": "hunter22"}
            page = client.get(BOARD, asked)
            assert page.status_code == 200
            said += page.content.decode().replace('value="hunter22"', "")
        assert ("hunter22" in said) is sees
        assert "Ada" in said
        assert "session:abcd…" in said
        assert "efghijkl" not in said
        assert codes.encode(b"session:abcdefghijklmnopqrst") not in said
    form = {
        "key": codes.encode(b"online"),
        "do": "set",
        "member": "session:abcdefghijklmnopqrst",
        "score": "3",
    }
    client_of("operator").post(CHANGE, form)
    assert not EventDetail.objects.filter(note__contains="efghijkl")
