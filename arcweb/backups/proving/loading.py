"""A dump restored into a database that is empty but for the template's extensions, by PostgreSQL's programs.

They run as the application's role. Where that is no superuser, COPY … PROGRAM and files of the server are
refused by PostgreSQL itself; where it is, no file from outside is restored. Such a file is restored in two
parts, and between them the catalog is looked at: before that nothing of it has run, see `statements` and
`expressions`.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from arcweb.backups import entries, server
from arcweb.backups.entries import Choice
from arcweb.backups.exceptions import CorruptCopy, ToolError
from arcweb.backups.processes import passfile, postgres_env, run, running
from arcweb.backups.proving import archive, expressions, unpacking
from arcweb.backups.proving.ladder import NotTried

JOBS = 2
#: Seconds between two looks at whether to stop.
LOOK = 0.2
#: What building a vector index wants, when the server gives less (pgvector's README, "Index Build Time").
MAINTENANCE_MB = 256
#: Words of PostgreSQL and of the system for what is no fault of the copy.
CIRCUMSTANCES = re.compile(
    r"No space left|could not extend file|[Dd]isk quota|out of (shared )?memory|Cannot allocate memory"
    r"|too many clients|remaining connection slots|too many connections|too many open files"
    r"|server closed the connection|terminating connection|connection to server|could not connect"
    r"|no connection to the server|could not receive data|could not send data|SSL error|SSL SYSCALL"
    r"|the database system is|crash of another server process|canceling statement|deadlock detected"
    r"|permission denied|must be superuser|must be owner|cannot execute .* in a read-only transaction"
    r"|database \"arc_scratch_\w+\" does not exist|could not open extension control file"
    r"|could not access file|could not open (?:input|TOC) file|Input/output error|temporary file size exceeds"
    r"|memory required is \d+ MB"  # pgvector, for the lists of an index
    # What another server, version or cluster would have.
    r"|unsupported version \(|unrecognized configuration parameter|invalid command \\(?:un)?restrict"
    r"|role \"[^\n]+\" does not exist|must be able to SET ROLE|must be (?:a )?member of role"
    r"|access method \"\w+\" does not exist|collation \"[^\n]+\" [^\n]*does not exist"
)
ERROR = re.compile(r"(?:ERROR|FATAL|PANIC|error|fatal): +(?!could not execute query)(.+)")

ROLE = """
    SELECT rolname, rolsuper,
           array(SELECT found.rolname::text FROM pg_roles AS found WHERE found.rolname = ANY (%s)
                 AND pg_has_role(mine.oid, found.oid, 'MEMBER') ORDER BY 1)
    FROM pg_roles AS mine WHERE rolname = current_user
"""
#: Members of these reach beyond the database (https://www.postgresql.org/docs/current/predefined-roles.html).
REACHING = ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"]

#: Asked several times a second; what it raises stops the work.
Watch = Callable[[], None]


@dataclass(frozen=True)
class Loaded:
    """choice: None for SQL text, which is taken whole. role: that it was restored as, in words."""

    seconds: float
    choice: Choice | None = None
    role: str = ""


def read(dump: Path, *, trusted: bool) -> tuple[archive.Archive, Choice]:
    """What a file of the custom format holds, and what of it is restored. Runs nothing of it.

    Raises CorruptCopy; NotTried with names when a file that is not trusted holds what may not come from
    outside.
    """
    with dump.open("rb") as file:
        found = archive.read(file)
    choice = entries.of_ours(found.items) if trusted else entries.from_outside(found.items)
    if refusal := choice.refusal():
        raise NotTried(refusal)
    return found, choice


def refuse_powerful(connection: psycopg.Connection[Any]) -> None:
    """Raises NotTried when that session's role reaches beyond its database: a file from outside could too."""
    role, superuser, reaching = _role(connection)
    name = sql.Identifier(role).as_string()
    only = "so that only copies of this installation are restored as it."
    if superuser:
        raise NotTried(
            f"The role {role} is a superuser, whom PostgreSQL refuses nothing, {only} Another superuser "
            f"takes that away with: ALTER ROLE {name} NOSUPERUSER CREATEDB; Of the first role of a cluster "
            "PostgreSQL does not take it: then let ARC Web log in as another one, which "
            "arcweb/embedded/init.sql makes."
        )
    if reaching:
        raise NotTried(
            f"The role {role} is a member of {' and '.join(reaching)} and reaches the server's files or "
            f"programs, {only} A superuser takes that away with: REVOKE {', '.join(reaching)} FROM {name};"
        )


def _role(connection: psycopg.Connection[Any]) -> tuple[str, bool, list[str]]:
    return connection.execute(ROLE, [REACHING]).fetchone() or ("", False, [])


def load(
    dump: Path,
    database: str,
    *,
    trusted: bool,
    plain: bool = False,
    rights: bool = False,
    jobs: int = JOBS,
    watch: Watch = lambda: None,
) -> Loaded:
    """Restore the uncompressed file `dump` into `database`, which was made from the template.

    trusted: this program made the file, and its hash was compared. plain: SQL text, for psql; only trusted.
    rights: GRANTs too; their roles must exist. Raises CorruptCopy when the file is at fault, NotTried and
    ToolError when it is not, and what `watch` raises; then the database is to be dropped.
    """
    if plain and not trusted:
        raise NotTried(
            "SQL text can do anything that its role may do, so that only copies of this installation are "
            "restored from it. Its manifest has the commands that restore it by hand, where you trust it."
        )
    started = time.monotonic()
    with server.connect(database, application="arcweb: restore", check=watch) as connection:
        server.lift_limits(connection)  # it waits in silence while the programs work
        if not trusted:
            refuse_powerful(connection)
        name, superuser, _ = _role(connection)
        role = f"{name}, which is {'a' if superuser else 'no'} superuser"
        if plain:
            _psql(dump, database, connection, watch)
            return Loaded(time.monotonic() - started, role=role)
        found, choice = read(dump, trusted=trusted)
        if rights:
            choice = entries.of_ours(found.items, rights=True)
        program = server.program("pg_restore", connection).path
        _check_listing(program, dump, found, choice)
        _check_extensions(connection, choice)
        wanted = unpacking.list_beside(dump)
        try:
            wanted.write_text(choice.as_list())
            argv: list[str | Path] = [
                *(program, "--exit-on-error", "--no-owner", "--no-tablespaces", "--no-password"),
                *(f"--use-list={wanted}", f"--dbname={make_conninfo(dbname=database)}"),
                *(() if rights else ("--no-privileges",)),
            ]
            if trusted:
                _restore([*argv, f"--jobs={jobs}", dump], connection, watch)
            else:
                with dump.open("rb") as file:
                    unpacking.measure(file, found, dump.stat().st_size, lambda done: watch())
                _restore([*argv, "--section=pre-data", dump], connection, watch)
                expressions.refuse(connection)
                rest = [*argv, "--section=data", "--section=post-data", f"--jobs={jobs}", dump]
                _restore(rest, connection, watch)
                expressions.refuse(connection)
        finally:
            wanted.unlink(missing_ok=True)
    return Loaded(time.monotonic() - started, choice, role)


def _check_listing(program: Path, dump: Path, found: archive.Archive, choice: Choice) -> None:
    try:
        listing = run([program, "--list", dump])
    except ToolError as error:
        if "was ended by" in str(error) or "compression" in str(error):
            raise
        if CIRCUMSTANCES.search(str(error)):
            raise NotTried(f"The archive could not be read here: {_said(str(error))}") from error
        raise CorruptCopy(f"pg_restore cannot read the archive: {_said(str(error))}") from error
    entries.check_listing(found, choice, listing.decode(errors="replace"))


def _check_extensions(connection: psycopg.Connection[Any], choice: Choice) -> None:
    there = {name for (name,) in connection.execute("SELECT extname FROM pg_extension").fetchall()}
    if missing := [name for name in choice.extensions if name not in there]:
        raise NotTried(
            f"The copy needs the extension {', '.join(missing)}, which databases from the template do not "
            "have. A superuser creates it there with CREATE EXTENSION."
        )


def _psql(dump: Path, database: str, connection: psycopg.Connection[Any], watch: Watch) -> None:
    program = server.program("psql", connection).path
    argv: list[str | Path] = [program, "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1"]
    _restore([*argv, f"--file={dump}", f"--dbname={make_conninfo(dbname=database)}"], connection, watch)


def _restore(argv: Sequence[str | Path], connection: psycopg.Connection[Any], watch: Watch) -> None:
    where = server.database()
    # pg_restore itself lifts every time limit (SET statement_timeout = 0), so that `watch` is the only one.
    options = f"-c synchronous_commit=off -c maintenance_work_mem={_memory(connection)}kB"
    try:
        with (
            passfile(str(where["PASSWORD"])) as secret,
            running(
                argv, postgres_env(where) | secret | {"PGOPTIONS": options}, stdout=subprocess.DEVNULL
            ) as it,
        ):
            while it.process.poll() is None:
                watch()
                time.sleep(LOOK)
            it.end()
    except ToolError as error:
        raise _judged(error, connection) from error


def _memory(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(
        "SELECT setting::bigint FROM pg_settings WHERE name = 'maintenance_work_mem'"
    ).fetchone()
    return max(int(row[0]) if row else 0, MAINTENANCE_MB * 1024)


def _judged(error: ToolError, connection: psycopg.Connection[Any]) -> CorruptCopy | NotTried:
    """Whether the copy is at fault for a restore that failed."""
    words = str(error)
    if "was ended by" in words:
        return NotTried(f"The restore was stopped from outside: {words.partition(':')[0]}. Try again.")
    if CIRCUMSTANCES.search(words):
        return NotTried(f"The copy could not be restored here: {_said(words)}")
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return NotTried(f"PostgreSQL went away while the copy was restored: {_said(words)}")
    return CorruptCopy(f"PostgreSQL cannot restore it: {_said(words)}")


def _said(words: str) -> str:
    """The first error in a program's words; all of them where none is recognised."""
    found = ERROR.search(words)
    return (found[1] if found else words.strip().splitlines()[-1] if words.strip() else "no word.").strip()
