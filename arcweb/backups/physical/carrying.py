"""What live knows better goes into the cluster that takes its place, before anybody works in it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
from django.conf import settings

from arcweb.backups import erasures
from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import private_server, renames
from arcweb.backups.physical.live import Live
from arcweb.backups.physical.programs import Programs
from arcweb.backups.restore import databases
from arcweb.backups.restore.carry import carry_over, settle_alone

#: What people must know about a cluster that took its place while PostgreSQL was stopped.
UNREAD = (
    "PostgreSQL was stopped, so nothing could be carried over: accounts with their passwords and "
    "deactivations, audit events and the catalogue of copies are those of then."
)


def carry(now_live: Live, folder: str, target: str) -> list[str]:
    """Into the cluster of that folder, before anybody works in it: erasures, and what live knows better than
    the moment `target` (ISO)."""
    data = now_live.stack.layout.real_servers_dir / folder
    try:
        version = int((data / "PG_VERSION").read_text()) * 10_000
    except (OSError, ValueError) as error:
        raise BackupError(f"{data} is no cluster any more ({error}). Nothing was changed.") from error
    programs = Programs(version, now_live.stack.user)
    # Log that goes before it is summarised would end the chain of incremental copies.
    keeps = {"wal_level": "replica", "archive_mode": "on", "max_wal_senders": "10", "summarize_wal": "on"}
    with private_server.running(programs, data, keeps, keep=True) as server:
        server.wait(lambda: None)
        with server.connect(settings.POSTGRES_DB, user=settings.POSTGRES_USER) as new:
            _unhurried(new)
            if now_live.running:
                renames.let_go()
                with now_live.connect(settings.POSTGRES_DB, user=settings.POSTGRES_USER) as old:
                    _unhurried(old)
                    said = carry_over(old, new, target, trusted=True)
            else:
                said = [UNREAD, *settle_alone(new, settings.POSTGRES_DB)]
            since = datetime.fromisoformat(target)
            said += erasures.apply(new, erasures.newer_than(settings.ARC_BACKUP_DIR, since))
            new.commit()
        server.stop()
    return said


def _unhurried(connection: psycopg.Connection[Any]) -> None:
    """In a transaction from now on, without the limits and the search_path of role and database."""
    connection.execute(databases.UNHURRIED)
    connection.autocommit = False
