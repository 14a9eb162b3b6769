"""manage.py ingest, search and demo."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from agents.models import Agent
from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from memories.management.commands import ingest as ingest_command
from memories.models import Document, Memory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs beside these tests; the command then runs the job itself."""
    monkeypatch.setattr(ingest_command, "PATIENCE", 0)


def call(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_ingest_makes_the_agent_waits_and_counts_and_search_finds(tmp_path: Path) -> None:
    file = tmp_path / "leases.md"
    file.write_text(
        "# Leases\n\nA worker renews its lease every ten seconds.\n\n# Cooking\n\nBoil the pasta."
    )
    out, err = call("ingest", "--agent", "keeper", "--create", str(file))
    assert "made the agent keeper" in out
    assert "leases.md: " in out
    assert "0 of them known before" in out
    assert "no worker took the job" in err
    out, _ = call("ingest", "--agent", "keeper", str(file))
    assert "has this text already" in out
    assert Document.objects.count() == 1

    out, _ = call("search", "--agent", "keeper", "-k", "1", "--json", "how long does a claim on work last?")
    [hit] = json.loads(out)
    assert set(hit) == {"id", "content", "similarity", "metadata"}
    assert "lease" in hit["content"]
    assert 0 < hit["similarity"] <= 1
    assert hit["metadata"]["source"] == "leases.md"
    out, _ = call("search", "dinner", "--agent", "keeper", "-k", "1")
    assert "[leases.md]" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ingest", "--agent", "nobody", "README.md"], "no agent named 'nobody'. --create makes one"),
        (["ingest", "--agent", "x", "--create", "/nonexistent/a.txt"], "cannot be read"),
        (["ingest", "--agent", "x", "--create", "manage.py"], "not a text file"),
        (["ingest", "--agent", "x", "--create", "/dev/zero"], "no regular file"),
        (["ingest", "--agent", "x", "--create", "docs"], "no regular file"),
        (["ingest", "--agent", "a\udcffb", "--create", "README.md"], "can be printed"),
        (["search", "q", "--agent", "nobody"], "no agent named 'nobody'"),
        (["search", "q", "--agent", ""], "no agent named ''"),
        (["search", "q", "-k", "0"], "k is 0"),
        (["search", ""], "Type what"),
        (["search", "", "--mode", "hybrid"], "Type what"),
        (["search", "q", "--metadata", "[1]"], "must be an object"),
    ],
)
def test_mistakes_are_sentences_and_change_nothing(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words.replace("(", r"\(")):
        call(*arguments)
    assert not Agent.objects.exists()
    assert not Job.objects.exists()


def test_an_ambiguous_name_asks_for_an_id() -> None:
    twins = [Agent.objects.create(name="twin", type="t") for _ in range(2)]
    with pytest.raises(CommandError, match="More than one agent is named 'twin'"):
        call("search", "q", "--agent", "twin", "--mode", "keyword")
    out, _ = call("search", "q", "--agent", str(twins[0].pk), "--mode", "keyword")
    assert "Nothing was found" in out


def test_the_demo_is_made_once_and_never_beside_agents() -> None:
    out, _ = call("demo")
    assert "ops-guide" in out
    guide = Agent.objects.get(name="ops-guide")
    assert Agent.objects.count() > 1
    assert {"README.md", "OPERATIONS.md"} <= set(guide.documents.values_list("name", flat=True))
    for job in Job.objects.filter(kind="ingest"):
        ledger.run(job.pk)
    assert set(Job.objects.values_list("state", flat=True)) == {"succeeded"}
    before = (Agent.objects.count(), Memory.objects.count())
    out, _ = call("demo")
    assert "nothing was touched" in out
    assert (Agent.objects.count(), Memory.objects.count()) == before


def test_the_demo_does_not_touch_somebodys_agents() -> None:
    Agent.objects.create(name="mine", type="t")
    call("demo")
    assert list(Agent.objects.values_list("name", flat=True)) == ["mine"]
    assert not Job.objects.exists()


def test_ingest_tells_why_a_document_failed(tmp_path: Path, settings: Any) -> None:
    from memories import providers

    settings.ARC_EMBEDDING_PROVIDER = "openai"
    settings.OPENAI_API_KEY = ""
    providers.forget_providers()
    file = tmp_path / "a.txt"
    file.write_text("text")
    err = StringIO()
    try:
        with pytest.raises(CommandError, match="1 of 1 documents were not ingested"):
            call_command("ingest", "--agent", "a", "--create", str(file), stdout=StringIO(), stderr=err)
    finally:
        providers.forget_providers()
    assert "OPENAI_API_KEY is missing" in err.getvalue()
