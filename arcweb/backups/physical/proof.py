"""Proving base backups: unpacked, verified, put together, started, and read to the last block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql

from arcweb.backups import seals
from arcweb.backups.exceptions import CorruptCopy, ToolError
from arcweb.backups.manifest import Manifest
from arcweb.backups.physical import chain, cluster, copies, private_server
from arcweb.backups.physical.judging import judged
from arcweb.backups.physical.programs import Programs, account
from arcweb.backups.processes import run
from arcweb.backups.proving.ladder import Copy, Ladder, NotTried

MB = 1024 * 1024
FORMATS = ("base", "incremental")
#: Unpacked, combined (shared files where the program can), and what recovery writes.
ROOM = 1.3
DATABASES = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname"
#: Heaps with content of their own: a count by sequential scan reads every page.
TABLES = """
    SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' AND c.relispopulated ORDER BY 1, 2
"""
INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1"
#: How pg_amcheck ends then; with 1 it could not look (main in src/bin/pg_amcheck/pg_amcheck.c).
FOUND_DAMAGE = "ended with code 2"
NO_INDEX = "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off"


@dataclass
class Read:
    """databases, tables, rows: how many were read. rows_of: of the application's database, by name."""

    databases: int = 0
    tables: int = 0
    rows: int = 0


def prove(copy: Copy, ladder: Ladder) -> None:
    """A prover of `arcweb.backups.proving`. Raises CorruptCopy when the copy is at fault, BackupError."""
    manifest = copy.manifest
    if not copy.trusted:
        raise NotTried(
            "A base backup holds code that runs in the server, and this one was not made here: it is not "
            "started. Restore it by hand on a machine of its own."
        )
    parts = [*_parents(manifest), manifest]
    if strangers := [one.file.name for one in parts[:-1] if not seals.is_ours(one)]:
        raise NotTried(
            f"It builds on {', '.join(strangers)}, which was not made here, and whose code would run in the "
            "server: it is not started."
        )
    programs = Programs(int(manifest.server.get("version_num", 0)), account())
    try:
        programs.find("postgres")
    except ToolError as error:
        raise NotTried(f"{error} A base backup is proven by starting a server on it.") from error
    raw = sum(one.file.raw_bytes for one in parts)
    ladder.total = max(1, 2 * raw // MB)
    with cluster.scratch(int(raw * ROOM)) as folder:
        data = unpacked(parts, copy, programs, folder, ladder)
        with private_server.running(programs, data) as server:
            with ladder.step("start", "starting PostgreSQL on it") as step:
                try:
                    server.wait(ladder.check)
                except private_server.NoStart as error:
                    raise judged(error, str(error)) from error
                step.sentence = "PostgreSQL recovered it to the end of the backup and answers."
            with ladder.step("system", "comparing the system identifier") as step:
                step.sentence = same_system(server, str(manifest.physical.get("system", "")))
            with ladder.step("tables", "reading every table", raw // MB) as step:
                found = read_all(server, ladder)
                step.sentence = (
                    f"{found.tables:,} tables of {found.databases} databases were read to the end: "
                    f"{found.rows:,} rows."
                )
            _check_structures(programs, server, folder, ladder)
            with ladder.step("stop", "stopping it") as step:
                server.stop()
                step.sentence = "It stopped cleanly."
        _check_pages(programs, data, ladder)


def unpacked(
    parts: list[Manifest], last: Copy | None, programs: Programs, folder: Path, ladder: Ladder
) -> Path:
    """The cluster that a chain of copies gives, below `folder`. last: the file of the last one, if not in
    ARC_BACKUP_DIR. Raises CorruptCopy, BackupError, OSError."""
    found = []
    for number, manifest in enumerate(parts):
        target = folder / f"part{number}"
        opened = (
            last.open()
            if last is not None and manifest is parts[-1]
            else copies.opened(manifest, Path(settings.ARC_BACKUP_DIR))
        )
        with ladder.step("unpack", f"unpacking {manifest.file.name}", manifest.file.raw_bytes // MB) as step:
            cluster.unpack(opened, manifest.file.raw_bytes, target, programs.user, ladder.check)
            step.sentence = f"{manifest.file.name} was unpacked: {manifest.file.raw_bytes // MB:,} MB."
        with ladder.step("files", "checking each file by the backup's own list") as step:
            words = cluster.verify(programs, target)
            step.sentence = f"pg_verifybackup: {words or 'every file and the log are as they were written.'}"
        found.append(target)
    if len(found) == 1:
        return found[0]
    with ladder.step("combine", "putting the chain together") as step:
        cluster.combine(programs, found, folder / "whole")
        step.sentence = f"{len(found)} copies were put together by pg_combinebackup."
    return folder / "whole"


def same_system(server: private_server.Running, wanted: str) -> str:
    """A sentence. Raises CorruptCopy when the copy is of another cluster than its manifest says."""
    with server.connect() as connection:
        row = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    found = row[0] if row else "none"
    if found != wanted:
        raise CorruptCopy(f"The copy is of the cluster {found}, and its manifest says {wanted or 'none'}.")
    return f"It is the cluster {found}, as its manifest says."


def read_all(server: private_server.Running, ladder: Ladder) -> Read:
    """Counts every table of every database, page by page. Raises CorruptCopy with the server's words."""
    found = Read()
    with server.connect() as connection:
        names = [name for (name,) in connection.execute(DATABASES)]
    for name in names:
        with server.connect(name) as connection:
            connection.execute(NO_INDEX)
            found.databases += 1
            for schema, table in connection.execute(TABLES).fetchall():
                found.rows += _count(connection, schema, table)
                found.tables += 1
                ladder.say(f"reading every table: {found.rows:,} rows of {found.tables} tables so far")
    return found


def _count(connection: psycopg.Connection[Any], schema: str, table: str) -> int:
    query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, table))
    try:
        row = connection.execute(query).fetchone()
    except psycopg.Error as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise judged(error, f"{schema}.{table} cannot be read: {said}.") from error
    return int(row[0]) if row else 0


def _check_structures(
    programs: Programs, server: private_server.Running, folder: Path, ladder: Ladder
) -> None:
    """Heaps, TOAST and B-trees as pg_amcheck sees them, where it and its extension are installed."""
    try:
        program = programs.find("pg_amcheck")
    except ToolError:
        ladder.note("structures", "Heaps and indexes were not looked into: pg_amcheck is not installed here.")
        return
    with server.connect() as connection:
        known = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'").fetchone()
    if known is None:
        ladder.note("structures", "Heaps and indexes were not looked into: there is no extension amcheck.")
        return
    with ladder.step("structures", "looking into heaps and indexes") as step:
        env = {
            "PGHOST": str(server.sockets),
            "PGPORT": "5432",
            "PGUSER": server.superuser(),
            "PGDATABASE": "postgres",
        }
        try:
            run(
                [
                    program,
                    "--all",
                    "--maintenance-db=postgres",
                    "--install-missing",
                    "--no-password",
                    "--jobs=1",
                ],
                env,
                cwd=folder,
                **programs.user.popen_options(),
            )
        except ToolError as error:
            if FOUND_DAMAGE not in str(error):
                raise NotTried(f"Heaps and indexes could not be looked into: {error}") from error
            raise CorruptCopy(f"pg_amcheck found damage: {error}") from error
        step.sentence = "pg_amcheck found every heap, TOAST table and B-tree sound."


def _check_pages(programs: Programs, data: Path, ladder: Ladder) -> None:
    with ladder.step("checksums", "checking the checksum of every page") as step:
        try:
            programs.run("pg_checksums", "--check", "--pgdata", data, cwd=data)
        except ToolError as error:
            if "data checksums are not enabled" in str(error):
                step.sentence = "The cluster has no data checksums, so pages were not checked."
                return
            raise judged(error, f"pg_checksums found damaged pages: {error}") from error
        step.sentence = "pg_checksums: every page has its checksum."


def _parents(manifest: Manifest) -> list[Manifest]:
    if manifest.format == "base":
        return []
    this = chain.Item(manifest.id, "written", local=True, manifest=manifest)
    return [one.manifest for one in chain.ancestors(chain.known(), this)[:-1]]
