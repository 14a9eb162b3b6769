"""Logical copies of PostgreSQL: pg_dump under a snapshot that is hashed at the same time."""

from __future__ import annotations

import fcntl
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

import psycopg

from arcweb.backups import content, one_agent, restore_words, server, snapshot
from arcweb.backups.exceptions import BackupError
from arcweb.backups.manifest import Manifest
from arcweb.backups.processes import Running, passfile, postgres_env, running
from arcweb.backups.taking import Work

#: Seconds between two looks whether the work is to stop, while pg_dump gives nothing.
LOOK = 0.3
#: Of the pipe, where the system allows it: fewer changes between the two processes.
PIPE = 1024 * 1024
FORMATS = {"custom": ["--format=custom", "--compress=0"], "plain": ["--format=plain"]}
#: Longest name of PostgreSQL's, in bytes.
NAME = 63
#: First servers whose pg_dump can leave out extensions one way or the other.
EXCLUDES_EXTENSIONS, NAMES_EXTENSIONS = 170000, 140000


def take(work: Work) -> Manifest:
    """A copy of the database, a schema of it, or one agent. See arcweb.backups.taking for what is raised."""
    scope = work.options.scope
    if "agent" in scope:
        return one_agent.take(work, dump)
    schema = str(scope.get("schema", ""))
    work.say("waiting for the tables' locks")
    with snapshot.hold(schema, work.check) as held:
        if schema and not held.relations:
            raise BackupError(f"There is no schema {schema[:NAME]!r} with tables in this database.")
        return dump(work, held, schema=schema)


def dump(
    work: Work,
    held: snapshot.Snapshot,
    *,
    schema: str = "",
    database: str = "",
    original: snapshot.Snapshot | None = None,
    notes: Sequence[str] = (),
) -> Manifest:
    """The copy of what the snapshot shows. database: where it is held, if not in the application's.

    original: the snapshot of which the manifest speaks, if that is another.
    """
    program = server.program("pg_dump", held.connection)
    where = server.database() | ({"NAME": database} if database else {})
    facts, taken_at = snapshot.describe(original or held), (original or held).taken_at
    work.need(_expected(held))
    argv: list[str | Path] = [
        program.path,
        *FORMATS[work.options.format],
        *_chosen(schema, held.connection.info.server_version),
    ]
    argv += [f"--snapshot={held.name}", f"--lock-wait-timeout={snapshot.LOCK_SECONDS}s", "--no-password"]
    work.say("dumping")
    with (
        _hashing(held, schema, work) as hashing,
        passfile(str(where["PASSWORD"])) as secret,
        running(argv, postgres_env(where) | secret) as process,
    ):

        def look() -> None:
            work.check()
            hashing.check()

        def finish() -> None:
            process.end()
            hashing.wait(work.check)

        file = work.write(_Heard(process, look), taken_at, finish=finish)
    said = [f"pg_dump said: {line}" for line in process.words.splitlines()]
    return work.manifest(
        file,
        taken_at,
        client={
            "tool": "pg_dump",
            "version": program.version,
            "content": content.VERSION,
            "arcweb": _own_version(),
        },
        tables=hashing.content.tables,
        sequences=hashing.content.sequences,
        restore=restore_words.commands(file, facts["database"]["role"], schema),
        notes=[*notes, *said],
        **facts,
    )


def _chosen(schema: str, version_num: int) -> list[str]:
    """Without extensions: a role that is no superuser may neither make nor describe them, and databases are
    made from a template that has them."""
    if schema:
        return [f"--schema={restore_words.pattern(schema)}"]
    if version_num >= EXCLUDES_EXTENSIONS:
        return ["--exclude-extension=*"]
    return ["--extension=plpgsql"] if version_num >= NAMES_EXTENSIONS else []


def _expected(held: snapshot.Snapshot) -> int:
    """Bytes of the tables, without indexes: more than a compressed copy was seen to take."""
    oids = [one.oid for one in held.relations]
    row = held.connection.execute(
        "SELECT coalesce(sum(pg_table_size(oid)), 0) FROM unnest(%s::oid[]) AS oid", [oids]
    ).fetchone()
    return int(row[0]) if row else 0


def _own_version() -> str:
    try:
        return version("arc-web")
    except PackageNotFoundError:
        return "unknown"


class _Heard:
    """A program's output, read as it comes, with a look in between whether to go on."""

    def __init__(self, process: Running, look: Callable[[], object]) -> None:
        self._pipe: IO[bytes] = process.stdout
        self._look = look
        with suppress(AttributeError, OSError):  # without: smaller steps, the same bytes
            fcntl.fcntl(self._pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE)

    def read(self, size: int = -1) -> bytes:
        while not select.select([self._pipe], [], [], LOOK)[0]:
            self._look()
        self._look()
        found: bytes = self._pipe.read1(size if size > 0 else PIPE)  # type: ignore[attr-defined]
        return found


class _Hashing(threading.Thread):
    """The tables hashed in a session of its own, while pg_dump reads them."""

    def __init__(self, held: snapshot.Snapshot, schema: str, work: Work) -> None:
        super().__init__(name="hashing", daemon=True)
        self._held, self._schema, self._work = held, schema, work
        self._over = threading.Event()
        self._trouble: Exception | None = None
        self.content = content.Content()

    def run(self) -> None:
        try:
            self.content = content.look(self._held.connection, schema=self._schema, progress=self._said)
        except Exception as error:  # noqa: BLE001 - raised in the other thread
            self._trouble = error
        finally:
            self._over.set()

    def check(self) -> None:
        """Raises what went wrong in it."""
        if self._over.is_set() and self._trouble is not None:
            raise self._trouble

    def wait(self, check: Callable[[], None]) -> None:
        while not self._over.wait(LOOK):
            check()
        self.check()

    def _said(self, done: int, total: int, rows: int, name: str) -> None:
        self._work.message = f"dumping; {done} of {total} tables hashed, {rows:,} rows of {name}"


@contextmanager
def _hashing(held: snapshot.Snapshot, schema: str, work: Work) -> Iterator[_Hashing]:
    thread = _Hashing(held, schema, work)
    thread.start()
    try:
        yield thread
    finally:
        if thread.is_alive():
            with suppress(psycopg.Error):  # the server is away: so will be the answer
                held.connection.cancel_safe(timeout=2)
            thread.join(5)
