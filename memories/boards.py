"""The leaderboard of memories, and what memories count for that of agents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Protocol
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Left
from django.urls import reverse

from agents.boards import ACTIVE
from arcweb.leaderboards import Board, Member, register_board, score
from memories.models import Memory

#: Results of a search that count: what stands first is what was found.
LED = 3
#: Characters of a memory that are read for its name, and that are shown.
READ, SHOWN = 200, 80


class Hit(Protocol):
    """A result of a search, as far as it counts here."""

    @property
    def id(self) -> UUID: ...
    @property
    def agent_id(self) -> UUID | None: ...


def searched(hits: Iterable[Hit]) -> None:
    """Count what a search found, best first: a point for each of the first memories, and their agents."""
    led = list(islice(hits, LED))
    score(FOUND, {str(hit.id): 1 for hit in led})
    score(ACTIVE, {str(agent): 1 for agent in {hit.agent_id for hit in led} if agent is not None})


def stored(agent_id: UUID | None, memories: int) -> None:
    """Count what an agent stored, once the transaction is committed."""
    if agent_id is not None and memories:
        transaction.on_commit(lambda: score(ACTIVE, {str(agent_id): memories}), robust=True)


def _members(ids: Sequence[str]) -> Mapping[str, Member]:
    wanted = []
    for one in ids:
        try:
            wanted.append(UUID(one))
        except ValueError:
            continue  # somebody else wrote there
    found = Memory.objects.filter(pk__in=wanted).annotate(start=Left("content", READ))
    return {
        str(pk): Member(
            " ".join(start.split())[:SHOWN] or "(no content)",
            reverse("admin:memories_memory_change", args=[pk]),
        )
        for pk, start in found.values_list("pk", "start")
    }


FOUND = register_board(
    Board(
        "memories",
        "Most searched memories",
        f"A point each time a memory was among the first {LED} results of somebody's search.",
        "memories.view_memory",
        _members,
    )
)
