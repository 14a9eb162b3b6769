"""The page Search: what it shows, what it says when something is missing, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.models import Agent
from memories import admin_views, providers
from memories.models import Document, Memory
from memories.search import routes
from tests.memories.conftest import EmbeddingServer

pytestmark = pytest.mark.django_db
URL = reverse("admin:memories_search")


@pytest.fixture
def provider(embedding_server: EmbeddingServer, settings: Any) -> Iterator[EmbeddingServer]:
    settings.ARC_EMBEDDING_PROVIDER = "openai"
    settings.OPENAI_API_KEY = "sk-not-a-secret"
    settings.OPENAI_BASE_URL = f"{embedding_server.url}/v1"
    settings.ARC_OPENAI_MODEL = "test-model"
    settings.ARC_OPENAI_RETRIES = 0
    providers.forget_providers()
    yield embedding_server
    providers.forget_providers()


@pytest.fixture
def reader(client: Client) -> Client:
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_memory"))
    client.force_login(user)
    return client


def embedded(server: EmbeddingServer, agent: Agent | None, content: str, **fields: Any) -> Memory:
    memory = Memory.objects.create(agent=agent, content=content, **fields)
    provider = server.provider()
    Memory.objects.filter(pk=memory.pk).update(
        embedding=provider.embed([content])[0], embedding_model=provider.model
    )
    return memory


def page(client: Client, status: int = 200, **query: Any) -> str:
    response = client.get(URL, query)
    assert response.status_code == status
    return " ".join(response.content.decode().split())


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def test_a_result_has_passage_place_time_route_timing_and_sql(
    reader: Client, provider: EmbeddingServer
) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    document = Document.objects.create(agent=agent, name="locks.md", content_hash=b"x")
    body = "Long before. " * 60 + "The worker renews its lease."
    memory = embedded(provider, agent, body, document=document, position=4)
    html = page(reader, q="leases", agent=agent.pk, mode="semantic")
    assert "<mark>lease</mark>" in html
    assert html.count("<details>") == 1
    assert html.count("Long before. Long before.") >= 1
    assert f'href="{reverse("admin:memories_memory_change", args=[memory.pk])}"' in html
    said = text(html)
    assert re.search(r"1 result in \d+\.\d ms · exact, 1 row\.", said)
    assert re.search(r"query embedded in \d+\.\d ms, searched in \d+\.\d ms, rows read in \d+\.\d ms", said)
    assert "locks.md chunk 5" in said
    memory.refresh_from_db()
    assert memory.created_at is not None
    assert f"{memory.created_at:%Y-%m-%d %H:%M}" in said
    assert "SET LOCAL statement_timeout = 10000;" in html
    assert "m.embedding &lt;=&gt; &#x27;[" in html
    assert "checked" in html.split('value="semantic"')[1].split(">")[0]


def test_links_go_only_where_one_may_go(reader: Client, provider: EmbeddingServer) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    document = Document.objects.create(agent=agent, name="locks.md", content_hash=b"x")
    embedded(provider, agent, "lease", document=document, position=0)
    ways = [
        reverse("admin:agents_agent_change", args=[agent.pk]),
        reverse("admin:memories_document_change", args=[document.pk]),
        reverse("admin:memories_ingest"),
    ]
    html = page(reader, q="lease")
    assert not any(f'href="{way}"' in html for way in ways)
    for codename in ("view_agent", "view_document", "add_document"):
        User.objects.get(username="reader").user_permissions.add(Permission.objects.get(codename=codename))
    html = page(reader, q="lease")
    assert all(f'href="{way}"' in html for way in ways)


def test_each_mode_is_asked_by_the_address(reader: Client, provider: EmbeddingServer) -> None:
    embedded(provider, None, "red apple")
    for mode, words in (
        ("semantic", "exact, 1 row"),
        ("keyword", "keyword, 1 row matches."),
        ("hybrid", "hybrid of 1"),
    ):
        html = page(reader, q="red apple", mode=mode)
        assert words in html
        assert f'value="{mode}" ' in html
    assert "meaning 1 keyword 1" in text(html)


def test_hostile_names_contents_and_queries_are_text(reader: Client, provider: EmbeddingServer) -> None:
    evil = "<script>alert(1)</script>"
    agent = Agent.objects.create(name=evil, type=evil)
    document = Document.objects.create(agent=agent, name=evil, content_hash=b"x")
    embedded(provider, agent, f"{evil} lease", document=document, position=0, metadata={evil: evil})
    for mode in ("semantic", "keyword", "hybrid"):
        html = page(reader, q=f"{evil} lease", mode=mode, type=evil)
        assert evil not in html
        assert "alert(1)" not in re.sub(
            r"&lt;script&gt;alert\(1\)&lt;/script&gt;", "", re.sub("</?mark>", "", html)
        )
    assert "1 result" in text(html)
    assert "<script>alert" not in page(reader, q="x", metadata=f'{{"{evil}": 1}}')
    assert "<script>alert" not in page(reader, q="x", metadata=evil, mode=evil, k=evil, agent=evil)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"q": " "}, "Type what you are looking for."),
        ({"q": "a", "k": "0"}, "greater than or equal to 1"),
        ({"q": "a", "mode": "psychic"}, "psychic is not one of the available choices"),
        ({"q": "a", "metadata": "[1]"}, "must be an object"),
        ({"q": "a", "agent": "x"}, "There is no such agent"),
        ({"q": "a" * 701}, "at most 700 characters"),
    ],
)
def test_what_cannot_be_searched_is_told_and_kept(
    reader: Client, provider: EmbeddingServer, query: dict[str, str], words: str
) -> None:
    html = page(reader, **query)
    assert words in text(html)
    assert 'id="verdict"' not in html
    assert provider.asked == []


def test_nothing_found_says_why_and_what_to_do(reader: Client, provider: EmbeddingServer) -> None:
    assert "There are no memories yet" in text(page(reader, q="lease"))
    agent = Agent.objects.create(name="keeper", type="assistant")
    Memory.objects.create(agent=agent, content="waits")
    failed = Memory.objects.create(agent=agent, content="failed")
    Memory.objects.filter(pk=failed.pk).update(embedding_state="failed")
    for _ in range(2):
        Memory.objects.create(agent=agent, content="theirs", embedding=[1.0] * 1536, embedding_model="other")
    html = page(reader, q="lease", agent=agent.pk)
    said = text(html)
    assert "4 memories pass the filters, but none has a vector that can be compared" in said
    assert "1 memory waits to be embedded" in said
    assert "1 memory could not be embedded" in said
    assert "2 memories have vectors of another model than test-model" in said
    assert "mode=keyword" in html
    assert "Search without filters" in said
    assert "holds all of these words" in text(page(reader, q="lease", mode="keyword"))
    assert "No memory passes the filters" in text(page(reader, q="lease", type="voice"))


def test_a_provider_that_is_away_gives_a_keyword_answer_that_says_so(
    reader: Client, provider: EmbeddingServer
) -> None:
    provider.answer = lambda body: (503, {}, {"error": {"message": "overloaded"}})
    Memory.objects.create(content="the lease")
    html = page(reader, q="leases")
    assert "verdict warn" in html
    assert "keyword, because the model did not answer in time" in text(html)
    assert "Searched by keyword instead of meaning" in text(html)
    assert "<mark>lease</mark>" in html


def test_a_search_that_takes_too_long_is_told(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "STATEMENT_TIMEOUT", 1)
    monkeypatch.setattr(routes, "ROWS", "SELECT pg_sleep(1) AS id, {} FROM agents.memories AS m")
    monkeypatch.setattr(routes, "COLUMNS", "1")
    Memory.objects.create(content="lease")
    assert "took too long and was stopped" in text(page(reader, q="lease", mode="keyword"))


def test_an_error_that_is_no_timeout_is_not_hidden(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise OperationalError("the disk is full")

    monkeypatch.setattr(admin_views, "search", fail)
    reader.raise_request_exception = False
    response = reader.get(URL, {"q": "a"})
    assert response.status_code >= 500
    assert "took too long" not in response.content.decode()


def test_a_page_without_a_query_tells_what_to_do(reader: Client) -> None:
    assert "There are no agents yet" in text(page(reader))
    agent = Agent.objects.create(name="keeper", type="assistant")
    html = page(reader, agent=agent.pk, mode="hybrid")
    assert "By meaning finds what is said in other words" in text(html)
    assert f'value="{agent.pk}" selected' in html
    assert "autofocus" in html
    assert reader.post(URL).status_code == 405


@pytest.mark.parametrize("mode", ["semantic", "keyword", "hybrid"])
def test_the_queries_do_not_grow_with_the_rows(reader: Client, provider: EmbeddingServer, mode: str) -> None:
    def fill(start: int, stop: int) -> None:
        for number in range(start, stop):
            agent = Agent.objects.create(name=f"agent {number}", type="t")
            document = Document.objects.create(agent=agent, name=f"d {number}", content_hash=b"x")
            embedded(provider, agent, f"lease {number}", document=document, position=number)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert "Open this memory" in page(reader, q="lease", mode=mode, k=100)
        return len(queries)

    fill(0, 2)
    cost()
    few = cost()
    fill(2, 40)
    assert cost() == few
