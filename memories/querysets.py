"""Named queries on documents and memories. None of them loads a vector."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Count, Q

if TYPE_CHECKING:
    from memories.models import Memory  # noqa: F401 - the models import this module


class MemoryQuerySet(models.QuerySet["Memory"]):
    def without_vectors(self) -> MemoryQuerySet:
        """Leaves out what is large and never shown: the vector and the full-text column."""
        return self.defer("embedding", "content_tsv")

    def waiting(self) -> MemoryQuerySet:
        """Rows that want a vector, due or not."""
        return self.filter(embedding_state__in=["pending", "stale"])

    def due(self, now: datetime) -> MemoryQuerySet:
        """Rows that want a vector and are neither leased nor put off, but for those a document's job embeds.

        A document's own job embeds its chunks; they are picked up here when it has left them for a minute.
        """
        mine = Q(document=None) | Q(created_at__lt=now - timedelta(minutes=1))
        return self.waiting().filter(mine, Q(embedding_due_at=None) | Q(embedding_due_at__lte=now))

    def state_counts(self) -> dict[str, int]:
        """How many rows are in each embedding state; absent states count 0."""
        from memories.models import EmbeddingState  # the models import this module

        counts = dict.fromkeys(EmbeddingState.values, 0)
        counts.update(self.order_by().values_list("embedding_state").annotate(Count("pk")))
        return counts

    def other_models(self, models_searched: list[str]) -> MemoryQuerySet:
        """Rows whose vector was made by a model that the search does not compare with."""
        return self.filter(~Q(embedding_model__in=models_searched), embedding_state__in=["embedded", "stale"])
