"""Base backups, whole or incremental, by pg_basebackup as the replication role: one tar, streamed.

The log that the copy needs to become consistent is inside (`-X fetch`), so that it can be restored and proven
with no archive at all; with one, it can be followed to any later moment.
"""

from __future__ import annotations

import json
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from arcweb.backups import server
from arcweb.backups.exceptions import BackupError, ToolError
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup, Format
from arcweb.backups.physical import chain, replication, segments
from arcweb.backups.physical.tar import MANIFEST, Watcher
from arcweb.backups.processes import Running, passfile, postgres_env, running
from arcweb.backups.taking import Work

#: The first version that takes incremental ones.
INCREMENTAL_SINCE = 17
#: pg_basebackup's bounds of --max-rate, in kB a second.
SLOWEST, FASTEST = 32, 1024 * 1024
FACTS = """
    SELECT current_setting('server_version'), clock_timestamp(),
           (SELECT sum(pg_database_size(oid))::bigint FROM pg_database WHERE datallowconn OR datistemplate),
           (SELECT string_agg(quote_ident(spcname), ', ' ORDER BY spcname) FROM pg_tablespace
            WHERE spcname NOT IN ('pg_default', 'pg_global')),
           pg_is_in_recovery()
"""
NOW = "SELECT clock_timestamp()"


def take(work: Work) -> Manifest:
    """A taker of `arcweb.backups.taking`, for the formats base and incremental."""
    whole = work.options.format == Format.BASE
    if work.options.scope:
        raise BackupError("A base backup holds the whole cluster: it cannot be of one schema or one agent.")
    with ExitStack() as exits:
        line = exits.enter_context(replication.connected())
        found = line.identify()
        plain = exits.enter_context(server.connect(check=work.check))
        server.lift_limits(plain)
        version, started_at, size, tablespaces, standby = _row(plain, FACTS)
        if tablespaces:
            raise BackupError(
                f"The cluster has tablespaces ({tablespaces}), whose files lie in other folders: this "
                "program takes no base backup of them. Take dumps, or move the tables: ALTER TABLE … SET "
                "TABLESPACE pg_default."
            )
        parents = [] if whole else _parents(line, found)
        work.need(int(size or 0) if whole else 0)
        program = server.program("pg_basebackup", plain)
        kept = exits.enter_context(replication.log_kept(line, f"arcweb_{work.id.hex[:12]}"))
        database = replication.database()
        env = postgres_env(database) | exits.enter_context(passfile(str(database["PASSWORD"])))
        argv: list[str | Path] = [program.path, *_arguments(work), *_incremental(work, parents, exits)]
        work.say("waiting for a checkpoint")
        process = exits.enter_context(running(argv, env))
        watcher = Watcher(_Patient(process, work.check))
        file = work.write(watcher, started_at, finish=lambda: _end(process, watcher))
        (stopped_at,) = _row(plain, NOW)
    listed = bytes(watcher.members[MANIFEST])
    chain.keep(work.folder, str(work.id), listed)
    physical = _physical(listed, found, stopped_at, watcher.files, parents)
    return work.manifest(
        file,
        started_at,
        parent=parents[-1].id if parents else "",
        server={"product": "PostgreSQL", "version": version, "version_num": found.version},
        client={"tool": "pg_basebackup", "version": program.version},
        database={"cluster_size": int(size or 0)},
        physical=physical,
        restore=_by_hand(file.name, found.version, parents),
        notes=[
            *(["Taken from a standby."] if standby else []),
            *([] if kept else ["The server had no replication slot to give while this copy was taken."]),
        ],
    )


def _row(connection: Any, query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = connection.execute(query).fetchone()
    return row


def _parents(line: replication.Line, found: replication.Server) -> list[chain.Item]:
    """What the next incremental builds on; it is taken against the last of them. Raises BackupError."""
    if found.version < INCREMENTAL_SINCE * 10_000:
        raise BackupError(
            f"Incremental base backups need PostgreSQL {INCREMENTAL_SINCE} or newer; this server is "
            f"{found.version // 10_000}. Take a whole one."
        )
    if line.ask("SHOW summarize_wal") != ["on"]:
        raise BackupError(
            "Incremental base backups need summarize_wal, which is off. A superuser switches it on: ALTER "
            "SYSTEM SET summarize_wal = on; SELECT pg_reload_conf(); then take a whole base backup first."
        )
    items = chain.known()
    parent = chain.newest(items, found.system, replication.descent(line, found.timeline))
    if parent is None:
        raise BackupError(
            "There is no base backup of this cluster and its timeline that an incremental one can build on: "
            "take a whole one."
        )
    parents = chain.ancestors(items, parent)
    if len(parents) >= chain.LONGEST:
        raise BackupError(
            f"The chain has {chain.LONGEST} copies, and a restore needs every one. Take a whole base backup."
        )
    return parents


def _incremental(work: Work, parents: Sequence[chain.Item], exits: ExitStack) -> list[str]:
    if not parents:
        return []
    return [f"--incremental={exits.enter_context(chain.listed(parents[-1], work.folder, work.check))}"]


def _arguments(work: Work) -> Iterator[str]:
    """A copy that somebody waits for asks for a checkpoint at once; a scheduled one spreads it."""
    spread = work.options.trigger == Backup.Trigger.SCHEDULE
    yield from ("--pgdata=-", "--format=tar", "--wal-method=fetch", "--no-password")
    yield f"--checkpoint={'spread' if spread else 'fast'}"
    yield f"--label=arcweb {work.id}"
    yield "--manifest-checksums=SHA256"
    if settings.ARC_BACKUP_RATE_MB:
        yield f"--max-rate={min(max(int(settings.ARC_BACKUP_RATE_MB * 1000), SLOWEST), FASTEST)}"


class _Patient:
    """A program's output; while it says nothing, whoever wants it to stop is asked every second."""

    def __init__(self, process: Running, check: Callable[[], None]) -> None:
        self._process, self._check = process, check
        self._asked = time.monotonic()

    def read(self, size: int = -1) -> bytes:
        stream = self._process.stdout
        while not select.select([stream], [], [], 1.0)[0]:
            self._check()
        found: bytes = stream.read1(size)  # type: ignore[attr-defined]
        return found


def _end(process: Running, watcher: Watcher) -> None:
    """Whether it ended well, and the tar is whole. Raises ToolError."""
    process.end()
    if not watcher.whole or MANIFEST not in watcher.members:
        raise ToolError(
            "pg_basebackup ended well, and its tar has no end or no backup_manifest: the copy is not used."
        )


def _physical(
    listed: bytes,
    found: replication.Server,
    stopped_at: datetime,
    files: int,
    parents: Sequence[chain.Item],
) -> dict[str, Any]:
    """What a recovery must know, out of the backup's own manifest."""
    ranges = json.loads(listed)["WAL-Ranges"]
    first, last = ranges[0], ranges[-1]
    start, stop = segments.lsn(first["Start-LSN"]), segments.lsn(last["End-LSN"])
    size = found.segment_bytes
    return {
        "system": found.system,
        "timeline": last["Timeline"],
        "start_lsn": first["Start-LSN"],
        "stop_lsn": last["End-LSN"],
        "first_segment": segments.Segment(first["Timeline"], start // size).name(size),
        "last_segment": segments.Segment(last["Timeline"], (stop - 1) // size).name(size),
        "segment_bytes": size,
        "stopped_at": stopped_at.astimezone(UTC).isoformat(),
        "files": files,
        "chain": [one.id for one in parents],
    }


def _by_hand(file: str, version: int, parents: Sequence[chain.Item]) -> list[str]:
    major = version // 10_000
    opened = f"zstd -dc {file}"
    if file.endswith(".age"):
        opened = f"age --decrypt -i IDENTITY_FILE {file} | zstd -dc"
    lines = [
        f"# With the programs of PostgreSQL {major}, as the account that runs the server:",
        f"mkdir -m 700 new && {opened} | tar -x -C new",
        "pg_verifybackup new",
    ]
    if parents:
        files = [one.file for one in parents]
        lines += [
            f"# The same for each copy that it builds on, oldest first: {', '.join(files)}",
            "pg_combinebackup OLDEST … NEWEST -o cluster   # new is NEWEST",
        ]
    return [*lines, "# Then start the server on that folder; it recovers to the end of the backup."]
