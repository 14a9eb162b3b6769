"""The scratch schema, and running statements in it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import psycopg
from pgvector.psycopg import register_vector

from tests.bench.storage.layouts import SCHEMA, Connection


def progress(message: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


def run(db: Connection, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Executes SQL made of this file's constants; the rows, or none."""
    cursor = db.execute(statement, parameters or None)
    return cursor.fetchall() if cursor.description else []


def connect(dsn: str) -> Connection:
    """An autocommit connection in the bench's own, new schema; unsuitable servers end in a sentence."""
    try:
        db = psycopg.connect(dsn, autocommit=True)
    except psycopg.Error as error:
        sys.exit(f"No connection with that DSN: {error}")
    place = run(db, "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'")
    if not place:
        sys.exit("This database has no extension `vector`: CREATE EXTENSION vector as a superuser first.")
    run(db, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    run(db, f"CREATE SCHEMA {SCHEMA}")
    run(db, f"SET search_path TO {SCHEMA}, {place[0][0]}")
    # A generic plan knows no query vector; the application sets the same.
    run(db, "SET plan_cache_mode = force_custom_plan")
    run(db, "SET max_parallel_workers_per_gather = 0")
    run(db, "SET maintenance_work_mem = '1GB'")
    register_vector(db)
    return db
