"""The lists and pages of memories and documents."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from agents.models import Agent
from arcweb.events.models import Event
from memories import admin, ingest, uploads
from memories.finders import find_documents, find_memories
from memories.models import Document, Memory
from memories.neighbours import neighbours
from memories.standing import standing
from tests.memories.conftest import EmbeddingServer

pytestmark = pytest.mark.django_db
LIST = "/memories/memory/"
NOBODY = "00000000-0000-4000-8000-000000000001"


def text_of(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.content[:1000]
    return str(response.content.decode())


def one_who_may(*codenames: str) -> Client:
    user = User.objects.create_user("somebody")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def embedded(agent: Agent | None, content: str, *axes: float, model: str = "m") -> Memory:
    """A memory whose vector has these first components."""
    vector = np.zeros(1536, dtype=np.float32)
    vector[: len(axes)] = axes
    memory = Memory.objects.create(agent=agent, content=content)
    Memory.objects.filter(pk=memory.pk).update(
        embedding=vector, embedding_model=model, embedded_at=timezone.now()
    )
    memory.refresh_from_db()
    return memory


def links(page: str) -> list[str]:
    return re.findall(r'<th class="field-preview"><a href="/memories/memory/([0-9a-f-]+)/', page)


@pytest.mark.parametrize(
    "question", ["", "?q=memory", "?embedding_state__exact=pending", "?agent=keeper", "?o=5"]
)
def test_the_list_costs_the_same_at_ten_and_a_thousand(admin_client: Client, question: str) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")

    def cost() -> int:
        admin_client.get(LIST + question)
        with CaptureQueriesContext(connection) as queries:
            text_of(admin_client.get(LIST + question))
        assert not [query for query in queries if "OFFSET" in query["sql"]]
        return len(queries)

    def fill(rows: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO agents.memories (agent_id, content, created_at) "
                "SELECT %s, 'memory ' || i, CASE WHEN i %% 9 > 0 THEN now() END "
                "FROM generate_series(1, %s) AS i",
                [agent.pk, rows],
            )

    fill(10)
    few = cost()
    fill(990)
    assert cost() == few
    assert few <= 11


def test_turning_the_pages_shows_every_memory_once(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.MemoryAdmin, "list_per_page", 4)
    for number in range(11):
        memory = Memory.objects.create(content=f"memory {number}")
        if number < 3:
            Memory.objects.filter(pk=memory.pk).update(created_at=None)
    page, seen = text_of(admin_client.get(f"{LIST}?q=memory&embedding_state__exact=pending")), []
    while True:
        seen += links(page)
        following = re.search(r'rel="next" href="([^"]+)">Older', page)
        if following is None:
            break
        page = text_of(admin_client.get(LIST + following.group(1).replace("&amp;", "&")))
    assert len(seen) == len(set(seen)) == 11
    assert "Newest" in page
    assert "embedding_state__exact=pending" in page
    assert Memory.objects.filter(pk__in=seen[-3:], created_at=None).count() == 3


def test_filters_carry_no_place_along(admin_client: Client) -> None:
    page = text_of(admin_client.get(f"{LIST}?after=2026-01-01T00:00:00%2B00:00~{NOBODY}"))
    assert 'name="after"' not in page
    assert not re.search(r'href="\?[^"]*after=[^"]*embedding_state', page)


def test_the_list_tells_agent_state_and_document(admin_client: Client) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    document = Document.objects.create(agent=agent, name="notes.md", content_hash=b"x")
    Memory.objects.create(agent=agent, document=document, position=2, content="<i>one</i> two")
    page = text_of(admin_client.get(LIST))
    assert '<span class="clip">&lt;i&gt;one&lt;/i&gt; two</span>' in page
    assert '<span class="state idle">pending</span>' in page
    assert f'<a href="/memories/document/{document.pk}/change/">notes.md</a>, chunk 3' in page
    assert f'<a href="/agents/agent/{agent.pk}/change/">keeper</a>' in page


def test_agents_are_filtered_by_name_or_id_and_a_wrong_one_is_told(admin_client: Client) -> None:
    one, other = (Agent.objects.create(name=name, type="assistant") for name in ("keeper", "other"))
    mine = Memory.objects.create(agent=one, content="a")
    Memory.objects.create(agent=other, content="b")
    for address in ("?agent=keeper", f"?agent={one.pk}", f"?agent__id__exact={one.pk}"):
        page = text_of(admin_client.get(LIST + address))
        assert links(page) == [str(mine.pk)]
        assert "Agent: keeper" in page
    page = text_of(admin_client.get(f"{LIST}?agent=nobody"))
    assert links(page) == []
    assert "There is no agent named &#x27;nobody&#x27;" in page
    Agent.objects.create(name="keeper", type="assistant")
    assert "More than one agent is named" in text_of(admin_client.get(f"{LIST}?agent=keeper"))


def test_the_chunks_of_a_document_stand_in_their_order(admin_client: Client) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    document = Document.objects.create(agent=agent, name="notes.md", content_hash=b"x", chunk_count=45)
    now = timezone.now()
    Memory.objects.bulk_create(
        Memory(
            agent=agent, document=document, position=n, content=f"chunk {n}", created_at=now - timedelta(n)
        )
        for n in range(45)
    )
    url = f"{LIST}?document__id__exact={document.pk}"
    order = [str(pk) for pk in Memory.objects.order_by("position").values_list("pk", flat=True)]
    assert links(text_of(admin_client.get(url))) == order
    assert links(text_of(admin_client.get(f"{url}&o=-5"))) == order
    page_url = reverse("admin:memories_document_change", args=[document.pk])
    page, seen = text_of(admin_client.get(page_url)), []
    assert "45 pending" in page
    while True:
        seen += re.findall(r'<a class="clip" href="/memories/memory/([0-9a-f-]+)/', page)
        following = re.search(r'rel="next" href="([^"#]+)#', page)
        if following is None:
            break
        page = text_of(admin_client.get(page_url + following.group(1)))
    assert seen == order


def test_the_page_of_a_document_shows_its_job_until_that_has_ended_well(admin_client: Client) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    stored = ingest.store(agent, uploads.from_text("plan ä.md", "the whole text", limit_mb=1))
    url = reverse("admin:memories_document_change", args=[stored.document.pk])
    assert stored.job is not None
    assert f'id="job-{stored.job.pk}"' in text_of(admin_client.get(url))
    type(stored.job).objects.update(state="succeeded", finished_at=timezone.now())
    assert 'id="job-' not in text_of(admin_client.get(url))
    source = reverse("admin:memories_document_source", args=[stored.document.pk])
    response = admin_client.get(source)
    assert text_of(response) == "the whole text"
    assert response["Content-Disposition"] == "attachment; filename*=utf-8''plan%20%C3%A4.md"
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    looker = one_who_may("view_document")
    assert looker.get(source).status_code == 403
    page = text_of(looker.get(url)).split("<main")[1]
    for word in ("Download", "<form", "<textarea", "Delete", "chunks-title"):
        assert word not in page, word


def test_a_memory_tells_how_it_stands_and_what_to_do(admin_client: Client) -> None:
    memory = Memory.objects.create(content="text", metadata={"source": "<x>"})
    Memory.objects.filter(pk=memory.pk).update(embedding_state="failed", embedding_error="It is too long.")
    url = reverse("admin:memories_memory_change", args=[memory.pk])
    page = text_of(admin_client.get(url))
    assert "It could not be embedded: It is too long. Searches by meaning miss it." in page
    assert "&quot;source&quot;: &quot;&lt;x&gt;&quot;" in page
    again = reverse("admin:memories_memory_embed_again", args=[memory.pk])
    assert again in page
    assert admin_client.get(again).status_code == 405
    assert "queued to be embedded again" in text_of(admin_client.post(again, follow=True))
    assert "nothing was done" in text_of(admin_client.post(again, follow=True))
    assert Event.objects.filter(kind="memory.embed_again").count() == 1
    looker = one_who_may("view_memory")
    assert looker.post(again).status_code == 403
    page = text_of(looker.get(url)).split("<main")[1]
    for word in ("Edit", "<textarea", "Delete", "Embed again"):
        assert word not in page, word


def test_sentences_of_every_state() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    later = now + timedelta(minutes=5)
    say = lambda **values: standing(Memory(content="a", **values), now).sentence  # noqa: E731
    assert say(embedding_state="embedded", embedding_model="m", embedded_at=now).startswith(
        "Embedded by m on 2026-01-02 at 03:04:05 UTC"
    )
    assert "ARC_EXTERNAL_MODEL" in say(embedding_state="embedded", embedding_model="external")
    assert "It is due now." in say(embedding_state="pending")
    tried = say(embedding_state="pending", embedding_due_at=later, embedding_error="The provider is away.")
    assert "tried again at 03:09:05 UTC. Last time: The provider is away." in tried
    assert "held back" in say(embedding_state="stale", embedding_due_at=now.replace(year=9999))
    assert "old meaning" in say(embedding_state="stale", embedded_at=now)
    assert "no reason was recorded" in say(embedding_state="failed", embedding_error="")
    assert "no content" in say(embedding_state="empty")


def test_neighbours_are_the_nearest_of_the_same_model(admin_client: Client) -> None:
    one, other = (Agent.objects.create(name=name, type="assistant") for name in ("keeper", "other"))
    memory = embedded(one, "here", 1, 0)
    near, far = embedded(one, "near", 1, 0.2), embedded(one, "far", 0, 1)
    theirs = embedded(other, "theirs", 1, 0.1)
    embedded(one, "of another model", 1, 0, model="else")
    found = neighbours(memory.pk, agent_id=one.pk, k=5)
    assert found is not None
    assert [(hit.id, round(hit.similarity or 0, 3)) for hit in found.hits] == [
        (near.pk, 0.981),
        (far.pk, 0.0),
    ]
    everywhere = neighbours(memory.pk, agent_id=None, k=1)
    assert everywhere is not None
    assert [hit.id for hit in everywhere.hits] == [theirs.pk]
    assert neighbours(UUID(NOBODY), agent_id=None, k=1) is None

    url = reverse("admin:memories_memory_neighbours", args=[memory.pk])
    fragment = text_of(admin_client.get(url, headers={"HX-Request": "true"}))
    assert "<html" not in fragment
    assert "0.981" in fragment
    assert str(theirs.pk) not in fragment
    assert str(theirs.pk) in text_of(admin_client.get(f"{url}?of=all"))
    bare = Memory.objects.create(content="no vector")
    page = text_of(admin_client.get(reverse("admin:memories_memory_neighbours", args=[bare.pk])))
    assert "has no vector yet" in page
    assert one_who_may("view_document").get(url).status_code == 403


def test_a_typed_query_is_compared_or_the_reason_is_told(
    admin_client: Client, embedding_server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = embedding_server.provider()
    monkeypatch.setattr(admin, "get_provider", lambda: provider)
    memory = embedded(None, "here", 1)
    url = reverse("admin:memories_memory_change", args=[memory.pk])
    assert "vectors of two models cannot be compared" in text_of(admin_client.get(url, {"q": "words"}))
    vector = provider.embed(["words"])[0]
    Memory.objects.filter(pk=memory.pk).update(
        embedding=vector, embedding_model=provider.model, embedded_at=timezone.now()
    )
    assert '<b class="num">1.000</b> similarity' in text_of(admin_client.get(url, {"q": "words"}))
    embedding_server.answer = lambda body: (500, {}, {})
    assert "The query could not be embedded" in text_of(admin_client.get(url, {"q": "others"}))


def test_what_belongs_to_it_goes_only_with_those_who_may_delete_that_too() -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    document = Document.objects.create(agent=agent, name="notes.md", content_hash=b"x")
    memory = Memory.objects.create(agent=agent, document=document, content="a")
    client = one_who_may("view_agent", "delete_agent", "view_document", "delete_document")
    for kind, obj in (("agents_agent", agent), ("memories_document", document)):
        url = reverse(f"admin:{kind}_delete", args=[obj.pk])
        lists = reverse(f"admin:{kind}_changelist")
        page = text_of(client.get(url)).split("<main")[1]
        assert "<li>memories</li>" in page
        assert "<form" not in page
        assert client.post(url, {"post": "yes", "typed": obj.name}).status_code == 403
        several = {"action": "delete_selected", "_selected_action": str(obj.pk)}
        assert "<li>memories</li>" in text_of(client.post(lists, several))
        assert client.post(lists, {**several, "post": "yes", "typed": "1"}).status_code == 403
    memory.delete()
    url = reverse("admin:agents_agent_delete", args=[agent.pk])
    assert client.post(url, {"post": "yes", "typed": "keeper"}).status_code == 302
    assert not Document.objects.exists()


def test_nothing_leads_to_pages_that_one_may_not_open(admin_client: Client) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    document = Document.objects.create(agent=agent, name="notes.md", content_hash=b"x")
    memory = embedded(agent, "here", 1, 0)
    Memory.objects.filter(pk=memory.pk).update(document=document)
    embedded(agent, "near", 1, 0.1)
    client = one_who_may("view_memory")
    for url in (
        LIST,
        reverse("admin:memories_memory_change", args=[memory.pk]),
        reverse("admin:memories_memory_neighbours", args=[memory.pk]),
    ):
        page = text_of(client.get(url))
        assert "keeper" in page
        assert "/agents/agent/" not in page
        assert "/memories/document/" not in page
        assert "/agents/agent/" in text_of(admin_client.get(url))
    client.logout()
    User.objects.get(username="somebody").delete()
    client = one_who_may("view_document")
    for url in (
        reverse("admin:memories_document_changelist"),
        reverse("admin:memories_document_change", args=[document.pk]),
    ):
        page = text_of(client.get(url))
        assert "keeper" in page
        assert "/agents/agent/" not in page


def test_the_palette_finds_memories_and_documents() -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    document = Document.objects.create(agent=agent, name="Operations.md", content_hash=b"x")
    old = Memory.objects.create(agent=agent, content="a zebra in the zoo")
    new = Memory.objects.create(content="zebras again")
    Memory.objects.filter(pk=old.pk).update(created_at=None)
    found = find_memories(None, "zebra", 5)
    assert [item.url.split("/")[3] for item in found] == [str(new.pk), str(old.pk)]
    assert [item.note for item in found] == ["no agent", "keeper"]
    assert [item.title for item in find_memories(None, str(old.pk), 5)] == ["a zebra in the zoo"]
    assert find_memories(None, NOBODY, 5) == []
    assert find_memories(None, '"unclosed & | !', 5) == []
    assert [item.title for item in find_documents(None, "oper", 5)] == ["Operations.md"]
    assert [item.title for item in find_documents(None, str(document.pk), 5)] == ["Operations.md"]


def test_the_palette_sorts_no_crowd_of_documents_of_one_beginning() -> None:
    agent = Agent.objects.create(name="reader", type="helper")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO agents.documents (agent_id, name, content_hash) "
            "SELECT %s, 'page ' || n, sha256(n::text::bytea) FROM generate_series(1, 5000) AS n",
            [agent.pk],
        )
        cursor.execute("ANALYZE agents.documents")
    with CaptureQueriesContext(connection) as asked:
        assert [item.title for item in find_documents(None, "page", 3)] == ["page 1", "page 10", "page 100"]
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + asked[-1]["sql"])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "idx_documents_name " in plan
    assert "Sort" not in plan
