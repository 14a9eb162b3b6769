"""What the job ledger runs for this app."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from arcweb.charts import quantity
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed, RetryLater
from arcweb.jobs.registry import handler
from memories import embed, ingest
from memories.models import Document, Memory
from memories.providers import ProviderError, ProviderUnavailableError, get_provider

#: Seconds until an ingestion is tried again after its provider failed.
RETRY_AFTER = 30


def hold_document(params: dict[str, Any]) -> None:
    """The rest of a cancelled document waits for a person's Retry; the beat leaves it alone."""
    embed.hold(UUID(params["document"]))


@handler(ingest.JOB_KIND, label="Ingest document", unit="chunks", max_attempts=12, on_cancel=hold_document)
def run_ingest(context: JobContext) -> dict[str, Any]:
    """params: {"document": id}. Result: the counts of `ingest.Outcome`."""
    document_id = UUID(context.params["document"])
    embed.release(document_id)
    try:
        outcome = ingest.ingest_document(
            document_id,
            get_provider(),
            lambda done, total, message: context.progress(done, total or None, message),
            wait=context.wait,
        )
    except Document.DoesNotExist as error:
        raise JobFailed("The document was deleted before it was ingested.") from error
    except ProviderUnavailableError as error:
        raise RetryLater(error.retry_after or RETRY_AFTER, str(error)) from error
    except ProviderError as error:
        raise JobFailed(str(error)) from error
    if outcome.failed:
        raise JobFailed(
            f"{outcome.failed} of {quantity(outcome.chunks, 'chunks')} could not be embedded: "
            f"{outcome.first_error}"
        )
    return outcome.as_json()


@handler("embed", label="Embed memories", unit="memories", max_attempts=5, queue="quick")
def run_embed(context: JobContext) -> dict[str, Any]:
    """Embeds what other services wrote or changed. Result: {"embedded", "reused", "refused"}.

    When the provider is away the rows carry the time of their next try, and the beat starts a new job then.
    """
    done = 0

    def advance(batch: embed.BatchResult) -> None:
        nonlocal done
        done += batch.rows
        context.progress(done, max(done, done + Memory.objects.waiting().count()))

    context.progress(0, Memory.objects.waiting().count())
    try:
        total = embed.embed_waiting(get_provider(), after_batch=advance, wait=context.wait)
    except ProviderError as error:
        raise JobFailed(str(error)) from error
    # Rows that came or went meanwhile moved the total; at the end it is what was done.
    context.progress(done, done)
    return {"embedded": total.embedded, "reused": total.reused, "refused": total.refused}
