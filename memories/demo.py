"""The demonstration: a few agents, one of which knows this project's handbook."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import connection, transaction

from agents.models import Agent
from arcweb import events
from memories import ingest, uploads
from memories.models import Memory

GUIDE = "ops-guide"
#: name, type, config, what it remembers
OTHERS: list[tuple[str, str, dict[str, object], list[str]]] = [
    (
        "research-7",
        "research",
        {"model": "any", "temperature": 0.2, "sources": ["papers", "web"]},
        [
            "HNSW keeps a layered graph of neighbours; ef_search trades recall for speed at query time.",
            "IVFFlat clusters vectors when the index is built, so one built on an empty table is useless.",
            "Cosine similarity ignores the length of vectors; padding with zeros leaves it unchanged.",
        ],
    ),
    (
        "support-voice",
        "voice",
        {"model": "any", "language": "en", "max_call_minutes": 20},
        [
            "Callers who lost their password are sent a one-time link; never read a password aloud.",
            "Refunds up to 50 euros may be promised on the phone; larger ones are passed on to a person.",
        ],
    ),
    ("night-watch", "monitor", {"every_seconds": 60}, []),
]


def handbook() -> dict[str, Path]:
    """The project's own documents by name: README and docs/, with what lies in its folders."""
    root = settings.BASE_DIR
    docs = root / "docs"
    found = {"-".join(path.relative_to(docs).parts): path for path in sorted(docs.rglob("*.md"))}
    readme = root / "README.md"
    return {**({readme.name: readme} if readme.is_file() else {}), **found}


def create() -> list[ingest.Stored] | None:
    """Makes the demonstration and queues its ingestion; None, touching nothing, when there are agents.

    Safe to call twice at once: one creates, the other finds agents.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('arcweb.demo', 0))")
        if Agent.objects.exists():
            return None
        guide = Agent.objects.create(
            name=GUIDE, type="assistant", config={"model": "any", "knows": "this handbook"}
        )
        for name, kind, config, contents in OTHERS:
            agent = Agent.objects.create(name=name, type=kind, config=config)
            for content in contents:
                Memory.objects.create(agent=agent, content=content, metadata={"source": "demo"})
        stored = []
        for name, path in handbook().items():
            upload = uploads.from_bytes(name, path.read_bytes(), limit_mb=settings.ARC_MAX_UPLOAD_MB)
            stored.append(ingest.store(guide, upload))
        events.record("demo.created", data={"agents": 1 + len(OTHERS), "documents": len(stored)})
    return stored
