"""Web, workers and beat pause for an exchange; what is under way gets some seconds to end."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from django.conf import settings

from arcweb import paused
from arcweb.backups.restore import databases
from arcweb.backups.restore.journal import Journal, now

#: Seconds that running jobs, and requests, get to end by themselves. A job that is cut off is interrupted.
FOR_JOBS, FOR_REQUESTS = 30.0, 3.0
WHY = "A backup is being put in the place of the database."
RUNNING = (
    "SELECT count(*) FROM jobs_job WHERE state = 'running' AND heartbeat_at > now() - interval '30 seconds'"
)
BUSY = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
      AND application_name LIKE 'arcweb%%' AND state LIKE '%%active%%'
"""


def pause(journal: Journal, *, live_is_broken: bool = False) -> str:
    """Set the flag and wait until nobody of ours works any more, or their time is over; a sentence."""
    paused.begin(settings.ARC_BACKUP_DIR, paused.Pause(journal.id, now(), WHY))
    if not journal.live_oid:
        return "There is no live database that anybody works in."
    if live_is_broken:
        return "Pages answer that a restore is under way; live is not asked who works in it."
    with databases.connected(journal.live) as live:
        if not (live.execute("SELECT to_regclass('jobs_job') IS NOT NULL").fetchone() or (False,))[0]:
            return "Pages answer that a restore is under way."
        left = _wait(live, RUNNING, FOR_JOBS)
        _wait(live, BUSY, FOR_REQUESTS)
    if left:
        return f"Pages answer that a restore is under way; {left} running job(s) did not end and are cut off."
    return "Pages answer that a restore is under way; no job is running."


def _wait(connection: psycopg.Connection[Any], query: str, seconds: float) -> int:
    """How many are left after so many seconds at most."""
    deadline = time.monotonic() + seconds
    while True:
        row = connection.execute(query).fetchone()
        left = int(row[0]) if row else 0
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)
