"""The admin's pages for agents, documents, memories, ingestion and search."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.models import Agent
from arcweb.events.models import Event
from arcweb.jobs.models import Job
from memories.models import Document, Memory
from tests.memories.conftest import EmbeddingServer

pytestmark = pytest.mark.django_db
SEARCH = reverse("admin:memories_search")
INGEST = reverse("admin:memories_ingest")
NOBODY = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def admin_page(admin_client: Client) -> Client:
    return admin_client


def body(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.content[:2000]
    return str(response.content.decode())


def test_an_agent_is_made_changed_and_its_changes_are_events(admin_page: Client) -> None:
    data = {"name": "keeper", "type": "assistant", "config": '{"model": "any"}'}
    assert admin_page.post(reverse("admin:agents_agent_add"), data).status_code == 302
    agent = Agent.objects.get()
    assert agent.config == {"model": "any"}
    url = reverse("admin:agents_agent_change", args=[agent.pk])
    assert "&quot;model&quot;: &quot;any&quot;" in body(admin_page.get(url))
    assert admin_page.post(url, {**data, "config": ""}).status_code == 302
    agent.refresh_from_db()
    assert agent.config is None
    assert list(
        Event.objects.filter(object_id=str(agent.pk)).order_by("id").values_list("kind", flat=True)
    ) == [
        "agent.added",
        "agent.changed",
    ]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "This is not JSON"),
        ("[1]", "must be an object"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": "\\u0000"}', "zero character"),
        ('{"a": "\\ud800"}', "half characters"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('"' + "x" * 300_000 + '"', "longer than 256 kB"),
        ('{"a": 1e999}', "number that is too large"),
        ('{"a": ' + "9" * 5000 + "}", "more than 1000 digits"),
    ],
)
def test_bad_json_is_told_and_what_was_typed_is_kept(admin_page: Client, config: str, words: str) -> None:
    url = reverse("admin:agents_agent_add")
    page = body(admin_page.post(url, {"name": "keeper", "type": "assistant", "config": config}))
    assert words in page
    assert 'value="keeper"' in page
    assert not Agent.objects.exists()


@pytest.mark.parametrize(
    "address",
    [
        reverse("admin:agents_agent_changelist") + "?q=%00",
        reverse("admin:agents_agent_changelist") + "?type__exact=%00",
        reverse("admin:memories_memory_changelist") + "?q=%22unclosed%20%26%20%7C%20!",
        reverse("admin:memories_memory_changelist") + "?q=" + "x%20" * 3000,
        reverse("admin:memories_memory_changelist") + "?document__id__exact=nonsense",
        reverse("admin:memories_memory_changelist") + "?embedding_state__exact=nonsense",
        reverse("admin:memories_memory_changelist") + "?p=99999999999",
        reverse("admin:memories_memory_changelist") + "?o=nonsense",
        reverse("admin:memories_memory_change", args=["nonsense"]),
        reverse("admin:memories_memory_change", args=[NOBODY]),
        reverse("admin:agents_agent_delete", args=[NOBODY]),
        reverse("admin:memories_document_change", args=["%00"]),
        SEARCH + "?q=",
        SEARCH + "?q=%00",
        SEARCH + "?q=a&agent=nonsense",
        SEARCH + "?q=a&agent=" + NOBODY,
        SEARCH + "?q=a&k=nonsense",
        SEARCH + "?q=a&k=-1",
        SEARCH + "?q=a&k=99999999999999999999",
        SEARCH + "?q=a&metadata=%5B1%5D",
        SEARCH + "?q=a&metadata=%7B%22a%22%3A%22%5Cu0000%22%7D",
        SEARCH + "?q=a&type=%00",
        SEARCH + "?q=a&mode=nonsense",
        SEARCH + "?q=" + "x" * 9000,
        INGEST + "?job=nonsense&agent=nonsense",
        INGEST + "?agent=" + NOBODY,
    ],
)
def test_a_bad_address_is_never_a_500(admin_page: Client, address: str) -> None:
    response = admin_page.get(address, follow=True)
    if "%00" in address and "?" in address:
        assert "holds a zero byte" in body(response, 400)
    else:
        assert response.status_code in (200, 404)


def test_the_vector_is_neither_shown_nor_loaded_nor_editable(admin_page: Client) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    memory = Memory.objects.create(agent=agent, content="before", embedding=[0.71875] * 1536)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = body(admin_page.get(reverse("admin:memories_memory_changelist")))
        page += body(admin_page.get(reverse("admin:memories_memory_change", args=[memory.pk])))
    assert '"embedding",' not in " ".join(query["sql"] for query in queries)
    assert "0.71875" not in page
    assert 'name="embedding"' not in page
    url = reverse("admin:memories_memory_change", args=[memory.pk])
    data = {"agent": agent.pk, "content": "before", "metadata": '{"a": 1}', "embedding": "abc"}
    assert admin_page.post(url, data).status_code == 302
    memory.refresh_from_db()
    assert memory.metadata == {"a": 1}
    assert memory.embedding is not None
    assert float(memory.embedding[0]) == 0.71875
    assert (memory.embedding_state, memory.embedding_model) == ("embedded", "external")


def test_saving_the_form_does_not_undo_what_a_worker_wrote_meanwhile(
    admin_page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memories.admin import MemoryAdmin

    memory = Memory.objects.create(content="text")
    original = MemoryAdmin.save_model

    def worker_first(self: Any, request: Any, obj: Memory, form: Any, change: bool) -> None:
        Memory.objects.filter(pk=memory.pk).update(embedding=[0.5] * 1536, embedding_model="m")
        original(self, request, obj, form, change)

    monkeypatch.setattr(MemoryAdmin, "save_model", worker_first)
    url = reverse("admin:memories_memory_change", args=[memory.pk])
    assert admin_page.post(url, {"content": "text", "metadata": '{"a": 1}'}).status_code == 302
    memory.refresh_from_db()
    assert (memory.embedding_state, memory.embedding_model, memory.metadata) == ("embedded", "m", {"a": 1})


def test_a_memory_of_no_agent_and_no_content_is_shown_as_such(admin_page: Client) -> None:
    memory = Memory.objects.create()
    assert "(no content)" in body(admin_page.get(reverse("admin:memories_memory_changelist")))
    assert "no content" in body(admin_page.get(reverse("admin:memories_memory_change", args=[memory.pk])))


@pytest.mark.parametrize("name", ["agents_agent", "memories_memory", "memories_document"])
def test_a_list_costs_the_same_queries_however_long_it_is(admin_page: Client, name: str) -> None:
    url = reverse(f"admin:{name}_changelist")

    def fill(start: int, stop: int) -> None:
        for n in range(start, stop):
            agent = Agent.objects.create(name=f"agent {n}", type=f"type {n % 3}")
            document = Document.objects.create(agent=agent, name=f"document {n}", content_hash=bytes([n]))
            Memory.objects.create(agent=agent, document=document, content=f"memory {n}")

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            body(admin_page.get(url))
        return len(queries)

    fill(0, 2)
    cost()
    few = cost()
    fill(2, 40)
    assert cost() == few
    assert few <= 10


def test_deleting_an_agent_counts_instead_of_listing(admin_page: Client) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    other = Agent.objects.create(name="other", type="assistant")
    document = Document.objects.create(agent=agent, name="d", content_hash=b"x")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO agents.memories (agent_id, document_id, content) "
            "SELECT %s, %s, 'memory number ' || i FROM generate_series(1, 1234) i",
            [agent.pk, document.pk],
        )
    Memory.objects.create(agent=other, content="stays")
    url = reverse("admin:agents_agent_delete", args=[agent.pk])
    with CaptureQueriesContext(connection) as queries:
        page = body(admin_page.get(url))
    assert len(queries) <= 10
    assert '<dt>Memories</dt><dd class="num"><b>1234</b></dd>' in page
    assert '<dt>Documents</dt><dd class="num"><b>1</b></dd>' in page
    assert "memory number" not in page
    assert "Nothing was deleted" in body(admin_page.post(url, {"post": "yes", "typed": "keep"}, follow=True))
    assert Agent.objects.count() == 2
    assert admin_page.post(url, {"post": "yes", "typed": "keeper"}).status_code == 302
    assert [memory.content for memory in Memory.objects.all()] == ["stays"]
    assert Document.objects.count() == 0
    event = Event.objects.get(kind="agent.deleted")
    assert event.object_id == str(agent.pk)


def upload(name: str, data: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data)


def test_files_and_pasted_text_are_stored_and_what_is_not_is_told(admin_page: Client, settings: Any) -> None:
    settings.ARC_MAX_UPLOAD_MB = 1
    agent = Agent.objects.create(name="keeper", type="assistant")
    files = [
        upload("good.md", b"# Good\n\nA text."),
        upload("empty.txt", b""),
        upload("binary.txt", b"\x00\x01\x02"),
        upload("latin.txt", b"caf\xe9"),
        upload("large.txt", b"x" * (1024 * 1024 + 1)),
        upload("picture.png", b"\x89PNG"),
    ]
    response = admin_page.post(
        INGEST,
        {"agent": agent.pk, "documents": files, "text": "Pasted words.", "name": "pasted"},
        follow=True,
    )
    page = body(response)
    for words in ("empty", "is binary", "not valid UTF-8", "1 MB is the most", "not a text file"):
        assert words in page
    assert set(Document.objects.values_list("name", flat=True)) == {"good.md", "pasted"}
    assert Job.objects.filter(kind="ingest", state="queued").count() == 2
    assert page.count('class="job job-queued"') == 2


def test_fifty_megabytes_are_refused_in_a_sentence(admin_page: Client) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    response = admin_page.post(
        INGEST, {"agent": agent.pk, "documents": [upload("big.txt", b"x" * 50 * 1024 * 1024)]}
    )
    assert "50.0 MB and 20 MB is the most" in body(response)
    assert not Document.objects.exists()


def test_a_pasted_text_that_is_too_long_is_a_sentence(admin_page: Client) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    response = admin_page.post(INGEST, {"agent": agent.pk, "text": "x" * 50 * 1024 * 1024})
    assert response.status_code in (200, 400)
    assert "20 MB is the most" in response.content.decode()


def test_nothing_to_ingest_is_told(admin_page: Client) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    assert "Choose at least one file" in body(admin_page.post(INGEST, {"agent": agent.pk}))
    assert "This field is required" in body(admin_page.post(INGEST, {"text": "a"}))


def test_search_shows_results_and_how_they_were_found(
    admin_page: Client, embedding_server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memories import admin_views

    provider = embedding_server.provider()
    monkeypatch.setattr(admin_views, "get_provider", lambda: provider)
    agent = Agent.objects.create(name="keeper", type="assistant")
    memory = Memory.objects.create(agent=agent, content="<b>the lease</b>")
    Memory.objects.filter(pk=memory.pk).update(
        embedding=provider.embed(["the lease"])[0], embedding_model=provider.model
    )
    Memory.objects.create(agent=agent, content="theirs", embedding=[1.0] * 1536)
    page = body(admin_page.get(SEARCH, {"q": "the lease", "agent": agent.pk}))
    assert "&lt;b&gt;the <mark>lease</mark>&lt;/b&gt;" in page
    assert "1.000" in page
    assert "exact, 1 row." in page
    assert "1 memory has a vector of another model and is not compared" in " ".join(page.split())


def test_pages_are_refused_without_their_permission(client: Client) -> None:
    user = User.objects.create_user("viewer", is_staff=True)
    client.force_login(user)
    for name in ("memories_search", "memories_ingest"):
        assert client.get(reverse(f"admin:{name}")).status_code == 403
    assert client.post(INGEST).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_memory"))
    assert client.get(SEARCH).status_code == 200
    assert client.get(INGEST).status_code == 403


def test_pages_ask_for_a_login(client: Client) -> None:
    response = client.get(SEARCH)
    assert response.status_code == 302
    assert "/login/" in response["Location"]


def test_no_page_needs_inline_script_or_style(admin_page: Client) -> None:
    for url in (SEARCH, INGEST, reverse("admin:memories_memory_changelist"), reverse("admin:index")):
        response = admin_page.get(url)
        policy = response["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        page = body(response)
        assert "onclick=" not in page
        assert "<style" not in page
        assert " style=" not in page


def test_saving_an_unchanged_memory_changes_nothing(admin_page: Client) -> None:
    memory = Memory.objects.create(content="one\ntwo ", embedding=[0.5] * 1536, embedding_model="m")
    url = reverse("admin:memories_memory_change", args=[memory.pk])
    assert admin_page.post(url, {"content": "one\r\ntwo ", "metadata": ""}).status_code == 302
    memory.refresh_from_db()
    assert (memory.content, memory.embedding_state) == ("one\ntwo ", "embedded")


def test_a_list_longer_than_what_is_counted_says_so_and_takes_no_action_on_all(
    admin_page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arcweb import admin, keyset

    monkeypatch.setattr(keyset, "MOST_COUNTED", 5)
    monkeypatch.setattr(admin, "MOST_AT_ONCE", 5)
    for n in range(7):
        Memory.objects.create(content=f"memory {n}")
    url = reverse("admin:memories_memory_changelist")
    assert re.search(r"(about [\d,]+|more than 5) memories", body(admin_page.get(url)))
    assert "0 memories" in body(admin_page.get(url + "?embedding_state__exact=failed"))
    first = str(Memory.objects.values_list("pk", flat=True)[0])
    data = {"action": "delete_selected", "select_across": "1", "_selected_action": [first], "post": "yes"}
    assert "nothing was done" in body(admin_page.post(url, data, follow=True))
    assert Memory.objects.count() == 7


def test_failed_memories_are_queued_again_from_the_list(admin_page: Client) -> None:
    memory = Memory.objects.create(content="a")
    Memory.objects.update(embedding_state="failed", embedding_error="too long")
    data = {"action": "embed_again", "_selected_action": [str(memory.pk)]}
    url = reverse("admin:memories_memory_changelist")
    assert "1 failed memories are queued" in body(admin_page.post(url, data, follow=True))
    memory.refresh_from_db()
    assert (memory.embedding_state, memory.embedding_error) == ("pending", "")


@pytest.mark.parametrize("bad", ["zzz", "\x00", "9" * 40, "1e5"])
def test_bad_values_in_hidden_fields_are_refused_in_a_sentence(admin_page: Client, bad: str) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    for name in ("agents_agent", "memories_memory", "memories_document", "auth_user"):
        data = {"action": "delete_selected", "_selected_action": [bad], "post": "yes"}
        response = admin_page.post(reverse(f"admin:{name}_changelist"), data, follow=True)
        assert response.status_code in (200, 400), name
    response = admin_page.post(reverse("admin:memories_memory_add"), {"agent": bad, "content": "a"})
    assert response.status_code in (200, 400)
    assert not Memory.objects.exists()
    assert Agent.objects.get() == agent


@pytest.mark.parametrize(
    "query", ["created_at__year=0", "created_at__year=99999", "name__regex={", "id__in=x"]
)
def test_lists_offer_no_other_filters_than_their_own(admin_page: Client, query: str) -> None:
    assert admin_page.get(f"{reverse('admin:agents_agent_changelist')}?{query}").status_code in (302, 400)


def test_nonsense_before_the_login_is_no_500(client: Client, settings: Any) -> None:
    client.cookies[settings.SESSION_COOKIE_NAME] = "abc\x00defghijkl"
    assert client.get(reverse("admin:login")).status_code == 200
    headers = {"HX-Request": "true", "HX-Current-URL": "http://[::1"}
    assert client.get(reverse("admin:login"), headers=headers).status_code == 200


def test_an_agent_that_was_deleted_while_the_form_was_open_is_told(admin_page: Client) -> None:
    from memories import ingest, uploads

    agent = Agent.objects.create(name="keeper", type="assistant")
    upload_text = uploads.from_text("a.txt", "text", limit_mb=1)
    Agent.objects.filter(pk=agent.pk).delete()
    with pytest.raises(Agent.DoesNotExist):
        ingest.store(agent, upload_text)
    assert "no such agent" in body(admin_page.post(INGEST, {"agent": agent.pk, "text": "words"}))


def test_another_persons_job_is_not_shown_by_its_id(client: Client) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    from memories import ingest, uploads

    stored = ingest.store(agent, uploads.from_text("secret plan.txt", "text", limit_mb=1))
    assert stored.job is not None
    user = User.objects.create_user("writer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="add_document"))
    client.force_login(user)
    assert "secret plan" not in body(client.get(f"{INGEST}?job={stored.job.pk}"))


def test_deleting_several_asks_for_their_number(admin_page: Client) -> None:
    for n in range(30):
        Memory.objects.create(content=f"memory {n}", embedding=[0.5] * 1536)
    url = reverse("admin:memories_memory_changelist")
    data = {"action": "delete_selected", "_selected_action": [str(m.pk) for m in Memory.objects.all()]}
    page = body(admin_page.post(url, data))
    assert "and 10 more" in page
    assert "<kbd>30</kbd>" in page
    assert page.count('name="_selected_action"') == 30
    assert "Nothing was deleted" in body(
        admin_page.post(url, {**data, "post": "yes", "typed": "3"}, follow=True)
    )
    assert Memory.objects.count() == 30
    assert admin_page.post(url, {**data, "post": "yes", "typed": "30"}).status_code == 302
    assert Memory.objects.count() == 0
    assert Event.objects.filter(kind="memory.deleted").count() == 30
