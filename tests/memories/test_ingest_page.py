"""The page Ingest: nothing is lost, nothing is stored twice, and everything is told."""

from __future__ import annotations

import re
import threading
from html import unescape
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
from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from memories.forms import MOST_FILES
from memories.models import Document

URL = reverse("admin:memories_ingest")
pytestmark = pytest.mark.django_db


@pytest.fixture
def agent(db: None) -> Agent:
    return Agent.objects.create(name="keeper", type="assistant")


def file(name: str, text: str = "A text.") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, f"{name}: {text}".encode())


def text(response: Any) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.content.decode())).split())


def test_what_is_stored_is_told_with_link_and_state_until_it_is_done(
    admin_client: Client, agent: Agent
) -> None:
    sent = {"agent": agent.pk, "documents": [file("a.md"), file("b.txt")]}
    response = admin_client.post(URL, sent)
    assert response.status_code == 302
    where = URL + response["Location"]
    page = admin_client.get(where)
    html = page.content.decode()
    for document in Document.objects.all():
        assert (
            f'href="{reverse("admin:memories_document_change", args=[document.pk])}">{document.name}</a>'
            in html
        )
    assert "2 documents stored." in text(page)
    assert text(page).count("Stored, waits") == 2
    assert 'hx-trigger="every 2s"' in html
    assert f'value="{agent.pk}" selected' in html, "the next documents go to the same agent"

    fragment = admin_client.get(where, headers={"HX-Request": "true", "HX-Target": "outcome"})
    assert fragment.content.decode().lstrip().startswith('<div id="outcome" hx-get=')
    for job in Job.objects.all():
        ledger.cancel(job.pk)
    ended = admin_client.get(where, headers={"HX-Request": "true", "HX-Target": "outcome"})
    assert "hx-get" not in ended.content.decode(), "nothing is left to wait for"
    assert text(ended).count("Cancelled") == 2


def test_when_some_fail_nothing_is_lost(admin_client: Client, agent: Agent) -> None:
    sent = {
        "agent": agent.pk,
        "documents": [file("good.md"), SimpleUploadedFile("bad.txt", b"caf\xe9"), file("x.pdf")],
        "text": "<b>Pasted</b> words.",
        "name": "pasted",
    }
    response = admin_client.post(URL, sent)
    said = text(response)
    assert response.status_code == 200
    assert set(Document.objects.values_list("name", flat=True)) == {"good.md", "pasted"}
    assert "2 of 4 are stored" in said
    assert "'bad.txt' is not valid UTF-8" in said
    assert "'x.pdf' is not a text file" in said
    html = response.content.decode()
    assert "&lt;b&gt;Pasted&lt;/b&gt; words.</textarea>" in html
    assert f'value="{agent.pk}" selected' in html
    again = admin_client.post(URL, {**sent, "documents": [file("good.md")]}, follow=True)
    assert Document.objects.count() == 2
    assert text(again).count("had the same text already") == 2


def test_the_same_file_twice_in_one_form_is_stored_once(admin_client: Client, agent: Agent) -> None:
    twins = [SimpleUploadedFile(name, b"equal words") for name in ("a.txt", "b.txt")]
    response = admin_client.post(URL, {"agent": agent.pk, "documents": twins}, follow=True)
    assert Document.objects.get().name == "a.txt"
    assert "1 document stored." in text(response)


@pytest.mark.django_db(transaction=True)
def test_two_clicks_store_once(settings: Any) -> None:
    agent = Agent.objects.create(name="keeper", type="assistant")
    user = User.objects.create_superuser("ada")
    clients = [Client(), Client()]
    for client in clients:
        client.force_login(user)
    ready = threading.Barrier(2)
    codes: list[int] = []

    def click(client: Client) -> None:
        ready.wait(60)
        sent = {"agent": agent.pk, "documents": [file("a.md"), file("b.md")], "text": "words"}
        codes.append(client.post(URL, sent).status_code)
        connection.close()

    threads = [threading.Thread(target=click, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert codes == [302, 302]
    assert Document.objects.count() == 3
    assert Job.objects.count() == 3
    assert Event.objects.filter(kind="document.added").count() == 3


def test_more_files_than_are_taken_are_refused_at_once(admin_client: Client, agent: Agent) -> None:
    files = [file(f"{n}.txt") for n in range(MOST_FILES + 1)]
    said = text(admin_client.post(URL, {"agent": agent.pk, "documents": files}))
    assert f"{MOST_FILES + 1} files were chosen and {MOST_FILES} at once are the most" in said
    assert not Document.objects.exists()


def test_as_many_as_are_taken_fit_into_the_address_at_constant_cost(
    admin_client: Client, agent: Agent
) -> None:
    def cost(number: int) -> int:
        files = [file(f"{n}.txt", str(number)) for n in range(number)]
        response = admin_client.post(URL, {"agent": agent.pk, "documents": files})
        assert len(response["Location"]) < 4000, "gunicorn takes a request line of 4094"
        with CaptureQueriesContext(connection) as queries:
            page = admin_client.get(URL + response["Location"])
        assert text(page).count("Stored, waits") == number
        return len(queries)

    cost(5)
    few = cost(6)
    assert cost(MOST_FILES) == few
    assert Document.objects.count() == MOST_FILES + 11


def test_formats_and_sizes_are_said_beforehand(admin_client: Client, settings: Any) -> None:
    settings.ARC_MAX_UPLOAD_MB = 7
    said = text(admin_client.get(URL))
    assert "Text or Markdown (.txt, .text, .md, .markdown) in UTF-8, up to 7 MB each" in said


def test_hostile_names_are_text(admin_client: Client) -> None:
    evil = "<img src=x onerror=alert(1)>"
    agent = Agent.objects.create(name=evil, type="t")
    files = [SimpleUploadedFile(f"{evil}.txt", b"words"), SimpleUploadedFile(f"{evil}.exe", b"words")]
    response = admin_client.post(URL, {"agent": agent.pk, "documents": files, "text": evil, "name": evil})
    assert evil not in response.content.decode()
    assert response.status_code == 200
    assert Document.objects.count() == 2


def test_documents_of_others_are_not_shown_by_their_ids(
    client: Client, agent: Agent, admin_client: Client
) -> None:
    where = URL + admin_client.post(URL, {"agent": agent.pk, "text": "words", "name": "secret"})["Location"]
    known = f"{URL}?known={Document.objects.get().pk}"
    assert "secret" in text(admin_client.get(known))
    writer = User.objects.create_user("writer", is_staff=True)
    writer.user_permissions.add(Permission.objects.get(codename="add_document"))
    client.force_login(writer)
    for address in (where, known):
        assert "secret" not in text(client.get(address))


@pytest.mark.parametrize(
    "query",
    ["job=x&known=x", "known={}".format("0" * 32), "job=" + "&job=".join("abc"), "known=%FF&job=%ED%A0%80"],
)
def test_bad_addresses_are_answered(admin_client: Client, query: str) -> None:
    assert admin_client.get(f"{URL}?{query}").status_code == 200


def test_an_agent_that_goes_away_meanwhile_is_told(
    admin_client: Client, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memories import ingest

    def gone(*args: Any) -> None:
        raise Agent.DoesNotExist

    monkeypatch.setattr(ingest, "store", gone)
    response = admin_client.post(URL, {"agent": agent.pk, "text": "kept words"})
    assert "The agent was deleted meanwhile" in text(response)
    assert "kept words</textarea>" in response.content.decode()
