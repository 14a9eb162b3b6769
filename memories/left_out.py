"""What a search by meaning cannot find, and why: for the page that found nothing, or not everything."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from psycopg import sql
from psycopg.rows import dict_row

from arcweb.postgres import replica
from memories.pg import vector_cursor
from memories.search import STATEMENT_TIMEOUT, Filters, candidates, params_of

#: Rows up to which is counted.
MOST_COUNTED = 1000

COUNT = "(SELECT count(*) FROM ({} LIMIT %(cap)s) AS capped) AS {}"
#: Not `<> ALL (models)`: each of these is a range, and an index is skipped through by it.
OTHER_MODELS = (
    "m.embedding_model < least(%(first)s, %(last)s)",
    "m.embedding_model > greatest(%(first)s, %(last)s)",
    "m.embedding_model > least(%(first)s, %(last)s) AND m.embedding_model < greatest(%(first)s, %(last)s)",
)


@dataclass(frozen=True)
class LeftOut:
    """Rows that pass the filters, each number at most MOST_COUNTED + 1, which means "more than".

    `pending` have no vector yet, `failed` got none, `other_models` have one that cannot be compared.
    """

    rows: int
    pending: int
    failed: int
    other_models: int

    @property
    def any(self) -> bool:
        return bool(self.pending or self.failed or self.other_models)


def left_out(filters: Filters, models: list[str]) -> LeftOut:
    """Counts, in one statement, what passes the filters but has no vector of these (one or two) models."""
    rows = candidates(filters, None)

    def narrowed(condition: str) -> sql.Composed:
        return sql.SQL("SELECT 1 FROM {} AND {}").format(rows, sql.SQL(condition))

    counted = {
        "rows": narrowed("true"),
        "pending": narrowed("m.embedding_state = 'pending'"),
        "failed": narrowed("m.embedding_state = 'failed' AND m.embedding IS NULL"),
        "other_models": sql.SQL(" UNION ALL ").join(
            narrowed(f"m.embedding IS NOT NULL AND {condition}") for condition in OTHER_MODELS
        ),
    }
    parts = [sql.SQL(COUNT).format(query, sql.Identifier(name)) for name, query in counted.items()]
    params = {**params_of(filters), "cap": MOST_COUNTED + 1, "first": models[0], "last": models[-1]}
    with transaction.atomic(using=replica.alias()), vector_cursor(dict_row) as cursor:
        cursor.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(STATEMENT_TIMEOUT))
        cursor.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(parts)), params)
        return LeftOut(**cursor.fetchall()[0])
