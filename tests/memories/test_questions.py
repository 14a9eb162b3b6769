"""The whole way with real input: Python's own 79 topics, the local model, natural questions."""

from pydoc_data.topics import topics

import pytest

from agents.models import Agent
from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from memories import ingest, uploads
from memories.models import Document, Memory
from memories.providers import get_provider
from memories.search import Filters, search
from tests.memories.questions import QUESTIONS


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(600)
def test_natural_questions_find_their_topic(record_testsuite_property: object) -> None:
    agent = Agent.objects.create(name="pythonist", type="assistant")
    document_of: dict[str, object] = {}
    for topic, text in topics.items():
        stored = ingest.store(agent, uploads.from_text(f"{topic}.txt", text, limit_mb=20))
        document_of[topic] = stored.document.pk  # two topics have the same text and share a document
        if stored.job and stored.created:
            ledger.run(stored.job.pk)

    assert len(topics) >= 70
    assert Document.objects.count() == len(set(topics.values()))
    assert set(Job.objects.values_list("state", flat=True)) == {"succeeded"}
    counts = Memory.objects.state_counts()
    assert (
        counts["embedded"]
        == sum(counts.values())
        == sum(Document.objects.values_list("chunk_count", flat=True))
    )

    provider = get_provider()
    wrong = []
    for question, topic in QUESTIONS:
        hits = search(question, provider, filters=Filters(agent.pk), k=5).hits
        if document_of[topic] not in {hit.document_id for hit in hits}:
            wrong.append(f"{question!r}: {[hit.document_name for hit in hits]} instead of {topic}")
    right = len(QUESTIONS) - len(wrong)
    print(f"\n{right} of {len(QUESTIONS)} questions found their topic among the first 5", *wrong, sep="\n  ")
    assert right >= 0.8 * len(QUESTIONS), wrong
