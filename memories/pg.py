"""Binary vectors over Django's connection.

Django's own cursors render every parameter as text; a vector of 1536 numbers is three times as
costly that way. These cursors bind on the server, in binary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import psycopg
from django.db import connections
from pgvector.psycopg import register_vector
from psycopg.rows import RowFactory
from psycopg.types.json import JsonbLoader

from arcweb.postgres import replica

_registered: WeakSet[psycopg.Connection[Any]] = WeakSet()


@contextmanager
def vector_cursor(row_factory: RowFactory[Any] | None = None) -> Iterator[psycopg.Cursor[Any]]:
    """A server-side-binding cursor on the connection that reads use here, that takes numpy float32 vectors.

    Runs in Django's current transaction. Errors are Django's, as from its own cursors. Statements are
    never prepared: a generic plan ruins vector queries.
    """
    connection: Any = connections[replica.alias()]
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    with connection.wrap_database_errors:
        if raw not in _registered:
            register_vector(raw)
            _registered.add(raw)
        with psycopg.Cursor(raw, row_factory=row_factory or psycopg.rows.tuple_row) as cursor:
            # Django has its connections give jsonb as text.
            cursor.adapters.register_loader("jsonb", JsonbLoader)
            yield cursor
