"""Keeps the SQL that a search really ran, as text for psql."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

#: Numbers of a vector that are shown.
SHOWN_NUMBERS = 3


class Recorder:
    """Runs statements on a cursor whose rows are dicts, and keeps each as it was run.

    The text is made of the very statement and parameters that are executed: the parameters are written
    in as literals, a vector by its first numbers (`abbreviated` tells that one was).
    """

    def __init__(self, cursor: psycopg.Cursor[dict[str, Any]]) -> None:
        self._cursor = cursor
        # Interpolates on this side, without asking the server.
        self._writer = psycopg.ClientCursor(cursor.connection)
        self.texts: list[str] = []
        self.abbreviated = False

    def __call__(
        self, statement: sql.SQL | sql.Composed, params: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Executes the statement; returns its rows, none when it gives none."""
        self._cursor.execute(statement, params)
        shown = {name: self._shown(value) for name, value in params.items()} if params else None
        self.texts.append(textwrap.dedent(self._writer.mogrify(statement, shown)).strip())
        return self._cursor.fetchall() if self._cursor.description else []

    def _shown(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        self.abbreviated = True
        return f"[{','.join(f'{number:.4f}' for number in value[:SHOWN_NUMBERS])},…]"

    @property
    def text(self) -> str:
        """Everything that was run, in one transaction as it was."""
        note = "-- The query's vector is abbreviated.\n" if self.abbreviated else ""
        return note + "\n".join(f"{text};" for text in ["BEGIN", *self.texts, "COMMIT"])
