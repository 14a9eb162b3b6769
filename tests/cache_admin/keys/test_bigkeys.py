"""The survey of big keys: its figures, its page, growth, and the command line."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from redis import Redis

from arcweb.events.models import Event
from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from cache_admin import connections
from cache_admin.keys import bigkeys
from tests.people import client_of

PAGE = "/redis/bigkeys/?role=state"


@pytest.fixture(autouse=True)
def no_messages(state: Redis) -> Iterator[None]:
    yield
    state.flushdb()


def text(answer: Any) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


def fill(state: Redis) -> None:
    state.set("big:string", "x" * 500_000)
    state.rpush("big:list", *("y" * 100 for _ in range(2000)))
    state.zadd("leaderboard", {f"player{number}": number for number in range(300)})
    state.mset({f"small:{number}": 1 for number in range(1000)})
    state.set("session:abc123", "z" * 100_000)


def quiet(*_: Any) -> None:
    """Nobody listens."""


def test_a_survey_finds_what_is_large(state: Redis) -> None:
    fill(state)
    with connections.client("state") as client:
        found = bigkeys.survey(client, quiet, quiet)
    assert found.keys == 1004
    assert [key.name for key in found.top[:2]] == ["big:string", "big:list"]
    assert found.top[1].length == 2000
    assert found.top[0].bytes > 500_000
    assert {"string", "list", "zset"} == set(found.types)
    assert found.prefixes["small:"].keys == 1000
    assert found.prefixes["big:"].bytes > 700_000
    session = next(key for key in found.top if key.name.startswith("session:"))
    assert (session.name, session.code) == ("session:abc1…", "")
    assert "leaderboard" in [key.name for key in found.top]  # of its type the largest
    assert sum(one.bytes for one in found.prefixes.values()) == found.bytes


@pytest.mark.django_db(transaction=True)
def test_the_page_measures_and_tells_the_growth(state: Redis) -> None:
    fill(state)
    operator, viewer = client_of("operator"), client_of("viewer")
    assert "is not known yet" in text(viewer.get(PAGE))
    assert "Measure now" not in text(viewer.get(PAGE))
    for more in (0, 50_000):
        state.append("big:string", "x" * more)
        assert operator.post(PAGE).status_code == 302
        job = Job.objects.filter(kind="redis.big_keys").latest("created_at")
        assert f"/jobs/job/{job.pk}/" in viewer.get(PAGE).content.decode()
        ledger.run(job.pk)
    page = viewer.get(PAGE)
    said = text(page)
    assert "the largest is big:string" in said
    assert "session:abc1…" in said
    assert b"abc123" not in page.content
    assert re.search(r"big: 2 \S+ [kM]B \S+ % \+\S+ [kM]B", said)
    assert Event.objects.filter(kind="redis.big_keys").count() == 2
    shown = text(operator.get(f"/jobs/job/{job.pk}/change/"))
    assert "_survey" not in shown
    assert "abc123" not in shown


def test_growth_is_told_where_it_is_known() -> None:
    before = {"prefixes": {"a:": {"keys": 1, "bytes": 10}}}
    now = {"prefixes": {"a:": {"keys": 1, "bytes": 4}, "b:": {"keys": 1, "bytes": 5}}}
    assert bigkeys.grown(now, before) == {"a:": -6, "b:": 5}
    assert bigkeys.grown(now, None) == {}


def test_the_command_line(state: Redis) -> None:
    fill(state)
    out = StringIO()
    call_command("redis_bigkeys", role="state", stdout=out)
    said = out.getvalue()
    assert "1,004 keys" in said
    assert re.search(r"kB  string  big:string  500,000 long", said)
    assert "abc123" not in said


def test_the_command_line_says_what_is_wrong(state: Redis, settings: Any) -> None:
    settings.REDIS_STATE_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(CommandError, match="cannot be reached"):
        call_command("redis_bigkeys", role="state")


def test_make_knows_it() -> None:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        ["make", "-n", "redis-bigkeys", "ARGS=--role cache"], cwd=root, capture_output=True, text=True
    )
    assert "manage.py redis_bigkeys --role cache" in done.stdout


def test_a_user_without_memory_usage_is_told(state: Redis, settings: Any) -> None:
    """An ACL that forbids MEMORY: the list shows sizes as unknown, the survey says why it cannot be."""
    state.execute_command("ACL SETUSER", "narrow", "on", "nopass", "~*", "&*", "+@all", "-memory")
    try:
        state.set("a", 1)
        scheme, _, rest = connections.url("state").partition("://")
        settings.REDIS_STATE_URL = f"{scheme}://narrow:x@{rest.rpartition('@')[2]}"
        with connections.client("state") as client:
            from cache_admin.keys import scan

            rows = scan.browse(client, scan.Filters()).rows
            assert [(row.key, row.size) for row in rows] == [(b"a", None)]
        with pytest.raises(CommandError, match="forbids this by its ACL"):
            call_command("redis_bigkeys", role="state")
    finally:
        state.execute_command("ACL DELUSER", "narrow")
