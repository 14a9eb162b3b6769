"""What tables and indexes say to the verdict of the overview."""

from __future__ import annotations

from collections.abc import Callable

from django.urls import reverse
from django.utils import timezone

from arcweb.database.findings import Finding, Look, register_look, worst_first
from arcweb.database.storage import indexes, judged, tables

#: Of one kind so many are named one by one; more are counted.
NAMED = 3


def all_tables() -> list[Finding]:
    """Everything that is wrong with tables, the worst first."""
    found = tables.tables()
    vectors = judged.of_vectors({table.oid: table for table in found}, tables.vector_columns())
    return worst_first([*judged.of_tables(found, timezone.now()), *vectors])


def all_indexes() -> list[Finding]:
    """Everything that is wrong with indexes, the worst first."""
    found = indexes.indexes(definitions=False)
    return worst_first(
        [
            *judged.of_indexes(found, indexes.covered(found), tables.counted_since()),
            *judged.of_foreign_keys(indexes.unindexed()),
        ]
    )


def _short(ask: Callable[[], list[Finding]], page: str, things: str) -> Callable[[], list[Finding]]:
    def find() -> list[Finding]:
        found = ask()
        if len(found) <= NAMED:
            return found
        rest = len(found) - NAMED + 1
        more = f"{rest} more things are wrong with {things}."
        return [*found[: NAMED - 1], Finding(found[NAMED - 1].state, more, reverse(page), "Show them")]

    return find


register_look(
    Look(
        "tables",
        "Tables",
        _short(all_tables, "admin:database_tables", "tables"),
        "admin:database_tables",
        order=40,
    )
)
register_look(
    Look(
        "indexes",
        "Indexes",
        _short(all_indexes, "admin:database_indexes", "indexes"),
        "admin:database_indexes",
        order=45,
    )
)
