"""Rows of a statement as dataclasses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections

Row = TypeVar("Row")


def rows_of(
    kind: type[Row], statement: str, values: Sequence[Any] = (), *, using: str = DEFAULT_DB_ALIAS
) -> list[Row]:
    """One `kind` for each row, its fields by the columns' names."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement, values or None)
        names = [column.name for column in cursor.description]
        return [kind(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
