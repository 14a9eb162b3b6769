"""Whether a database that just became live works: asked as pages ask, before anybody else may."""

from __future__ import annotations

import psycopg

from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import databases
from arcweb.backups.restore.journal import Journal

#: What must be there, with what each is for.
TABLES = ("django_migrations", "auth_user", "agents.agents", "agents.memories", "events.events", "jobs_job")


def check(journal: Journal) -> str:
    """A sentence about what works. Raises BackupError, psycopg.Error."""
    with databases.connected(journal.live, autocommit=False) as connection:
        found = databases.named(connection, journal.live)
        if found is None or found.oid != journal.new_oid:
            raise BackupError(f"{journal.live} is not the database that was put in its place.")
        missing = [
            name
            for name in TABLES
            if (connection.execute("SELECT to_regclass(%s)", [name]).fetchone() or (None,))[0] is None
        ]
        if missing:
            raise BackupError(f"It lacks the tables {', '.join(missing)}.")
        agents = (connection.execute("SELECT count(*) FROM agents.agents").fetchone() or (0,))[0]
        connection.execute(
            "SELECT id FROM agents.memories WHERE embedding IS NOT NULL "
            "ORDER BY embedding <=> (SELECT embedding FROM agents.memories WHERE embedding IS NOT NULL LIMIT "
            "1) LIMIT 3"
        )
        # Whether it can be written to, without writing.
        try:
            connection.execute("INSERT INTO events.events (kind) VALUES ('restore.health')")
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise BackupError("It takes no changes.") from error
        connection.rollback()
    return f"{agents} agent{'' if agents == 1 else 's'}; reading, writing and a search by vector work."
