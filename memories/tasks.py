"""Celery tasks of this app: one domain call each, safe to run twice."""

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from arcweb.jobs import ledger
from arcweb.jobs.pacing import must_rest
from memories.models import Memory


@shared_task(name="memories.tasks.embed_pending")
def embed_pending() -> None:
    """Queues one job for whatever wants a vector and is due; none while one is under way, and none for
    a while after one failed or was cancelled."""
    if Memory.objects.due(timezone.now()).exists() and not must_rest("embed"):
        with transaction.atomic():
            ledger.enqueue(
                "embed", target="all agents", title="Embed waiting memories", params={}, unique_key="embed"
            )
