"""From a copy to a database of its own that holds what the manifest says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psycopg
from django.conf import settings

from arcweb.backups import content, scratch, streams
from arcweb.backups.exceptions import BackupError, CorruptCopy, SpaceError
from arcweb.backups.manifest import Manifest
from arcweb.backups.proving import comparing, unpacking
from arcweb.backups.proving import loading as proving
from arcweb.backups.proving.ladder import Ladder
from arcweb.backups.restore import databases, migrating
from arcweb.backups.restore.journal import Journal
from arcweb.backups.restore.source import Source

Progress = Callable[[int, int], None]
#: Beside the data itself: what sorting for the indexes needs meanwhile, and the log.
SPACE = 1.3
#: Seconds between two looks at the disk of an embedded server.
LOOK_AT_DISK = 2.0


def check(source: Source, journal: Journal, progress: Progress = lambda done, total: None) -> str:
    """Everything that can be known before anything is made; a sentence. Raises BackupError in words."""
    _may(journal)
    if not source.trusted:
        with databases.connected(databases.MAINTENANCE) as outside:
            proving.refuse_powerful(outside)
    manifest = source.manifest
    if manifest is not None:
        if manifest.source != "postgres" or manifest.format not in ("custom", "plain"):
            raise BackupError(f"{source.path.name} is no dump of PostgreSQL, and is not restored this way.")
        if manifest.scope:
            raise BackupError(
                f"{source.path.name} holds a part only ({_scope(manifest.scope)}), and cannot take the place "
                "of a database. Restore the agent or a table out of it (--agent, --table)."
            )
        migrating.refuse_newer(manifest.migrations)
        _room(manifest)
    if source.plain and not source.trusted:
        raise BackupError(
            f"{source.path.name} is SQL text from outside, which may do anything. If you know that this "
            "installation made it, restore it on the command line with --trust; else take a custom dump."
        )
    source.check(progress)
    if manifest is None:
        return f"{source.path.name} has no manifest: nothing says what it should hold."
    rows = sum(table.rows for table in manifest.tables)
    return f"{source.path.name} has the sha256 of its manifest: {len(manifest.tables)} tables, {rows:,} rows."


def load(source: Source, journal: Journal, progress: Progress) -> str:
    """Restore into journal.new, which is empty but for the template's extensions; a sentence."""
    with source.unpacked(progress) as dump:
        try:
            loaded = proving.load(
                dump, journal.new, trusted=source.trusted, plain=source.plain, watch=keeping_reserve()
            )
        except CorruptCopy:
            raise
        except psycopg.Error as error:
            raise BackupError(f"PostgreSQL did not take the copy: {error}") from error
    left = f", {len(loaded.choice.left)} entries left out" if loaded.choice and loaded.choice.left else ""
    return f"Restored into {journal.new} as the role {loaded.role}, in {loaded.seconds:.1f} s{left}."


def compare(source: Source, journal: Journal, progress: Progress) -> str:
    """Rows, hashes, sequences, indexes and a search by vector, against the manifest. Raises CorruptCopy."""
    manifest = source.manifest
    with databases.connected(journal.new) as connection:
        if manifest is None or manifest.client.get("outside"):  # a dump that was uploaded alone
            return f"{len(content.relations(connection))} tables; there is no manifest to compare with."
        ladder = Ladder(_Noted(progress, len(manifest.tables)))
        said = [
            comparing.rows(connection, manifest, ladder),
            comparing.sequences(connection, manifest),
            comparing.structure(connection, manifest),
            comparing.vectors(connection),
        ]
        # The dump brings no statistics for the planner, and autovacuum comes by minutes later.
        connection.execute("ANALYZE")
    return " ".join(said)


class _Noted:
    """Progress of a comparison, which tells it in words: each call is a look at one more block of a table."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._tables = progress, total, set[str]()

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        self._tables.add(message.partition(",")[0])
        self._progress(min(len(self._tables), self._total), self._total)

    def check(self) -> None:
        """Nobody cancels it."""


def _may(journal: Journal) -> None:
    """The role's rights, before hours of work: CREATE DATABASE, and both renames at the end."""
    found = databases.standing()
    if found.standby:
        raise BackupError("This PostgreSQL is a standby, which takes no changes. Restore on its primary.")
    with databases.connected(databases.MAINTENANCE) as outside:
        scratch.refuse(outside)
    if journal.swap and found.owner and not found.owns and not found.superuser:
        raise BackupError(
            f"The role {found.role} does not own the database {journal.live}, and only its owner may rename "
            "it. "
            f'A superuser allows it with: ALTER DATABASE "{journal.live}" OWNER TO "{found.role}";'
        )
    if journal.swap and found.prepared:
        raise BackupError(
            f"{found.prepared} prepared transaction(s) stand open in {journal.live} (pg_prepared_xacts), and "
            "a database with one cannot be renamed. COMMIT PREPARED or ROLLBACK PREPARED them first."
        )


def keeping_reserve() -> Callable[[], None]:
    """For as long as a dump is restored: raises SpaceError before an embedded server's disk is full."""
    folder, looked = settings.ARC_LAYOUT.real_servers_dir, 0.0

    def watch() -> None:
        nonlocal looked
        if settings.ARC_EMBEDDED and time.monotonic() - looked > LOOK_AT_DISK:
            looked = time.monotonic()
            unpacking.keep_reserve(folder)

    return watch


def _room(manifest: Manifest) -> None:
    """Only where the server's disk is this machine's. Raises SpaceError."""
    if not settings.ARC_EMBEDDED:
        return
    known = manifest.database.get("bytes")
    expected = known if isinstance(known, int) and known > 0 else manifest.file.raw_bytes
    free = streams.free_bytes(settings.ARC_LAYOUT.real_servers_dir)
    if free < expected * SPACE:
        raise SpaceError(
            f"The restored database needs about {int(expected * SPACE) // 1024**2:,} MB beside the live one, "
            f"and {settings.ARC_LAYOUT.real_servers_dir} has {free // 1024**2:,} MB free. Make room, then "
            "start again."
        )


def _scope(scope: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in scope.items() if key != "name")
