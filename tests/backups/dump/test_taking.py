"""Faults while a copy is taken: nothing is kept, the tool's own words say why, and the next one is fine."""

from __future__ import annotations

import json
import os
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import zstandard
from django.core.management import call_command
from django.db import connection
from psycopg import sql

from agents.models import Agent
from arcweb.backups import manifest as manifests
from arcweb.backups import server, snapshot, streams
from arcweb.backups.exceptions import BackupError, CorruptCopy, LockedOut, SpaceError, ToolError
from arcweb.backups.leftovers import DIED, STOPPED
from arcweb.backups.models import Backup, Schedule
from arcweb.backups.proving.proof import prove
from arcweb.backups.taking import Options, take
from arcweb.events.models import Event
from arcweb.jobs import registry
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobCancelled, JobFailed, RetryLater
from memories.models import Document, DocumentSource
from tests.backups.dump.conftest import dumping
from tests.running import ROOT
from tests.waiting import until

LARGE = 6_000_000


@pytest.fixture
def large(agents: list[Agent]) -> None:
    """More than pipes hold, and than compresses away."""
    document = Document.objects.create(agent=agents[0], name="large", content_hash=b"large")
    DocumentSource.objects.create(document=document, text=secrets.token_hex(LARGE // 2))


class Doing:
    """A context that does something at the first report of the dump."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act, self._acted = act, False

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        if message.startswith("dumping") and children("pg_dump") and not self._acted:
            self._acted = True
            self._act()

    def check(self) -> None: ...


def children(name: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # others come and go, such as `pg_dump --version`
            if child.name() == name:
                found.append(child)
    return found


def nothing_is_left(folder: Path) -> None:
    assert [path.name for path in folder.rglob("*") if path.is_file()] == []
    assert children("pg_dump") == []
    until(lambda: not dumping(), 60, "the end of its sessions, which the server notices a moment later")


def failed(folder: Path, words: str) -> Backup:
    backup = Backup.objects.get()
    assert (backup.state, backup.file, backup.finished_at is not None) == ("failed", "", True)
    assert words in backup.trouble
    event = Event.objects.get(kind="backup.failed")
    assert event.object_id == str(backup.pk)
    nothing_is_left(folder)
    return backup


def next_one_is_fine(folder: Path) -> None:
    backup = take(Options())
    assert backup.state == "hashed"
    assert (folder / backup.file).exists()


def test_pg_dump_killed(large: None, folder: Path) -> None:
    with pytest.raises(ToolError, match="pg_dump was ended by SIGKILL"):
        take(Options(), Doing(lambda: children("pg_dump")[0].kill()))
    failed(folder, "pg_dump was ended by SIGKILL")
    next_one_is_fine(folder)


def test_the_session_of_pg_dump_ended_by_the_server(large: None, folder: Path) -> None:
    def end() -> None:
        with server.connect() as other:
            while not other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name IN ('pg_dump', 'arcweb-backup') "
                "AND pid <> pg_backend_pid() AND query LIKE 'COPY agents%%'"
            ).fetchall():
                time.sleep(0.02)

    with pytest.raises(ToolError, match="pg_dump ended with code 1"):
        take(Options(), Doing(end))
    # Behind it either the server's last words or that it closed the connection: what pg_dump read first.
    failed(folder, 'pg_dump: error: Dumping the contents of table "')
    next_one_is_fine(folder)


def test_the_session_that_hashes_ended_by_the_server(large: None, folder: Path) -> None:
    def end() -> None:
        with server.connect() as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'arcweb-backup: snapshot'"
            )

    class Early(Doing):
        def progress(self, done: int, total: int | None = None, message: str = "") -> None:
            if message == "dumping":
                self._act()

    # With the session goes the snapshot: whoever notices first says so.
    with pytest.raises(BackupError, match=r"terminating connection|snapshot"):
        take(Options(), Early(end))
    failed(folder, "")
    next_one_is_fine(folder)


def test_a_wrong_password(agents: list[Agent], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "wrong-on-purpose")
    with pytest.raises(BackupError, match="password authentication failed") as caught:
        take(Options())
    assert "wrong-on-purpose" not in str(caught.value)
    assert not Backup.objects.exists()
    nothing_is_left(folder)


def test_the_server_away(agents: list[Agent], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    with pytest.raises(BackupError, match="PostgreSQL cannot be reached"):
        take(Options())
    nothing_is_left(folder)


def test_programs_of_another_major_version(agents: list[Agent], folder: Path, settings: Any) -> None:
    old = Path("/usr/lib/postgresql/15/bin")
    if not (old / "pg_dump").exists():
        pytest.skip("Debian's PostgreSQL 15 is not installed here (.ci/run installs it as root)")
    settings.ARC_POSTGRES_TOOLS = str(old)
    with pytest.raises(ToolError, match=r"PostgreSQL 18\.\d.*15/bin/pg_dump is of 15\.\d"):
        take(Options())
    failed(folder, "Install the client programs of PostgreSQL 18")


def test_compression_failing(large: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __init__(self, **options: Any) -> None: ...

        def stream_reader(self, source: Any, **options: Any) -> Any:
            self.source = source
            return self

        def read(self, size: int) -> bytes:
            if self.source.bytes > 1_000_000:
                raise zstandard.ZstdError("cannot compress: on purpose")
            return bytes(self.source.read(size))

    with monkeypatch.context() as patched:
        patched.setattr(streams.zstandard, "ZstdCompressor", Failing)
        with pytest.raises(zstandard.ZstdError):
            take(Options())
    failed(folder, "cannot compress: on purpose")
    next_one_is_fine(folder)


def test_the_disk_takes_no_more(large: None, folder: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(BackupError, match="File too large"):
            take(Options())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    failed(folder, "Make room or mend the folder")
    next_one_is_fine(folder)


@pytest.fixture
def small_disk(tmp_path: Path, settings: Any) -> Iterator[Callable[[int], Path]]:
    """A file system of so many megabytes for the backups."""
    if os.getuid() != 0:
        pytest.skip("only root may mount a small disk")
    place = tmp_path / "small"
    place.mkdir()

    def mount(megabytes: int) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", place], check=False
        )
        if done.returncode != 0:
            pytest.skip("no disk can be mounted here")
        settings.ARC_BACKUP_DIR = place
        return place

    yield mount
    subprocess.run(["umount", place], check=False)


def test_a_small_disk_is_refused_before(agents: list[Agent], small_disk: Callable[[int], Path]) -> None:
    place = small_disk(200)
    with pytest.raises(SpaceError, match=r"has 2\d\d(\.\d)? [Mk]?B free; the copy takes about"):
        take(Options())
    failed(place, "stay free for the servers")


def test_a_disk_that_fills_meanwhile_is_not_filled_up(large: None, small_disk: Callable[[int], Path]) -> None:
    place = small_disk(330)
    filler = place / "filler"

    def fill() -> None:
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 120 * 1024**2)

    with pytest.raises(SpaceError, match="free on the disk of the backups"):
        take(Options(), Doing(fill))
    filler.unlink()
    failed(place, "Make room, then retry")


def test_a_table_locked_for_too_long(
    agents: list[Agent], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.connect(autocommit=False) as other, monkeypatch.context() as patched:
        patched.setattr(snapshot, "LOCK_SECONDS", 1)
        other.execute("LOCK TABLE agents.agents IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(BackupError, match="locked for longer than 1 s"):
            take(Options())
        other.rollback()
    failed(folder, "ALTER TABLE")
    next_one_is_fine(folder)


def test_what_a_snapshot_shows_is_not_changed_under_it(agents: list[Agent], folder: Path) -> None:
    with snapshot.hold() as held, server.connect() as other:
        other.execute("SET lock_timeout = 200")
        for statement in ("TRUNCATE agents.memories CASCADE", "ALTER TABLE agents.agents ADD x int"):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(statement)  # type: ignore[arg-type]
        other.execute("DELETE FROM agents.agents")
        row = held.connection.execute("SELECT count(*) FROM agents.agents").fetchone()
    assert row == (2,)


class Cancelling:
    """As the job's page cancels: from some moment on, every look raises."""

    def __init__(self, when: Callable[[str], bool]) -> None:
        self._when, self._over = when, False

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        self._over = self._over or self._when(message)
        self.check()

    def check(self) -> None:
        if self._over:
            raise JobCancelled("The job was cancelled.")


def test_cancelled_while_it_dumps(large: None, folder: Path) -> None:
    with pytest.raises(JobCancelled):
        take(Options(), Cancelling(lambda message: bool(children("pg_dump"))))
    assert not Backup.objects.exists()
    assert not Event.objects.filter(kind__startswith="backup.").exists()
    nothing_is_left(folder)
    next_one_is_fine(folder)


def test_cancelled_while_it_waits_for_a_lock(agents: list[Agent], folder: Path) -> None:
    class Later(Cancelling):
        def check(self) -> None:
            self._over = time.monotonic() > then
            super().check()

    with server.connect(autocommit=False) as other:
        other.execute("LOCK TABLE agents.agents IN ACCESS EXCLUSIVE MODE")
        then = time.monotonic() + 0.5
        with pytest.raises(JobCancelled):
            take(Options(), Later(lambda message: False))
        other.rollback()
    assert not Backup.objects.exists()
    nothing_is_left(folder)


def test_one_agent_cancelled_leaves_no_scratch_database(agents: list[Agent], folder: Path) -> None:
    options = Options(scope={"agent": str(agents[0].pk)})
    with pytest.raises(JobCancelled):
        take(options, Cancelling(lambda message: message.startswith("copying")))
    assert not Backup.objects.exists()
    nothing_is_left(folder)


def test_a_copy_that_does_not_read_back_is_kept_and_does_not_count(
    agents: list[Agent], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = manifests.Manifest.write

    def and_flip(self: manifests.Manifest, place: Path) -> str:
        with (place / self.file.name).open("r+b") as file:
            file.seek(100)
            byte = file.read(1)
            file.seek(100)
            file.write(bytes([byte[0] ^ 1]))
        return whole(self, place)

    with monkeypatch.context() as patched:
        patched.setattr(manifests.Manifest, "write", and_flip)
        with pytest.raises(CorruptCopy, match="does not read back"):
            take(Options())
    backup = Backup.objects.get()
    assert (backup.state, "does not read back" in backup.trouble) == ("bad", True)
    assert (folder / backup.file).exists()
    assert Event.objects.filter(kind="backup.bad", object_id=str(backup.pk)).exists()
    next_one_is_fine(folder)


def test_a_copy_that_cannot_be_read_back_is_not_kept(
    agents: list[Agent], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = manifests.Manifest.write

    def and_lose(self: manifests.Manifest, place: Path) -> str:
        (place / self.file.name).unlink()
        return whole(self, place)

    with monkeypatch.context() as patched:
        patched.setattr(manifests.Manifest, "write", and_lose)
        with pytest.raises(BackupError, match="No such file"):
            take(Options())
    failed(folder, "No such file")
    next_one_is_fine(folder)


def test_damage_that_a_taker_finds_elsewhere_leaves_no_run_under_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    def finds(work: Any) -> Any:
        raise CorruptCopy("The base backup that it would build upon is damaged.")

    monkeypatch.setattr("arcweb.backups.dump.take", finds)
    with pytest.raises(BackupError, match="build upon is damaged"):
        take(Options())
    failed = Backup.objects.get()
    assert (failed.state, failed.trouble) == (
        "failed",
        "The base backup that it would build upon is damaged.",
    )


def test_a_job_is_not_content_with_a_bad_copy_of_its_own(agents: list[Agent], folder: Path) -> None:
    job = uuid.uuid4()
    first = take(Options(format="plain"), job=job)
    Backup.objects.filter(pk=first.pk).update(state="bad")
    assert take(Options(format="plain"), job=job).pk != first.pk


def test_a_redelivered_job_finds_the_copy_of_the_first(agents: list[Agent], folder: Path) -> None:
    handler = registry.find("backup")
    assert handler is not None
    job = uuid.uuid4()
    results = [handler.run(JobContext(job, {"format": "plain"})) for _ in range(2)]
    assert results[0] == results[1]
    backup = Backup.objects.get()
    assert (backup.job, results[0]) == (
        job,
        {"backup": str(backup.pk), "file": backup.file, "bytes": backup.bytes},
    )
    assert len([path for path in folder.iterdir() if path.suffix == ".gz"]) == 1


@pytest.fixture
def working(large: None, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`manage.py backup create` in a process of its own, in the middle of a slow copy."""
    env = os.environ | {
        "POSTGRES_DB": str(connection.settings_dict["NAME"]),
        "ARC_BACKUP_DIR": str(folder),
        "ARC_BACKUP_RATE_MB": "0.02",
    }
    process = subprocess.Popen(
        [sys.executable, "manage.py", "backup", "create"], cwd=ROOT, env=env, stdout=subprocess.PIPE
    )
    try:
        until(lambda: list(folder.glob(".*.part")) or process.poll() is not None, 240, "the begin of a copy")
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def test_two_at_once_and_a_worker_killed(working: subprocess.Popen[bytes], folder: Path) -> None:
    with pytest.raises(LockedOut, match=r"A backup is under way since 2\d\d\d-.* UTC"):
        take(Options())
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("backup", "create", "--json", stdout=out)
    assert ended.value.code == 3
    assert json.loads(out.getvalue())["error"].startswith("A backup is under way since")
    handler = registry.find("backup")
    assert handler is not None
    with pytest.raises(JobFailed, match="A backup is under way since"):
        handler.run(JobContext(uuid.uuid4(), {}))
    with pytest.raises(RetryLater, match="A backup is under way since"):
        handler.run(JobContext(uuid.uuid4(), {"trigger": "schedule"}))
    (running,) = Backup.objects.all()
    assert running.state == "running"

    working.send_signal(signal.SIGKILL)
    working.wait()
    until(lambda: not dumping(), 60, "the end of pg_dump with its worker")
    backup = take(Options())
    running.refresh_from_db()
    assert (running.state, running.trouble) == ("failed", DIED)
    assert backup.state == "hashed"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [backup.file, manifests.manifest_name(backup.file)]
    )


def test_a_run_killed_after_its_last_step_is_whole(agents: list[Agent], folder: Path) -> None:
    backup = take(Options())
    Backup.objects.filter(pk=backup.pk).update(
        state="running", file="", manifest=None, taken_at=None, bytes=None, local=False, hashed_at=None
    )
    take(Options(format="plain"))
    found = Backup.objects.get(pk=backup.pk)
    assert (found.state, found.file, found.sha256, found.local) == (
        "written",
        backup.file,
        backup.sha256,
        True,
    )


def test_the_schedule_of_a_job_may_be_deleted_while_it_waits(agents: list[Agent], folder: Path) -> None:
    assert not Schedule.objects.filter(pk=987_654).exists()
    backup = take(Options(trigger="schedule", schedule_id=987_654))
    assert (backup.state, backup.schedule) == ("hashed", None)


def test_what_a_killed_run_left_and_nobody_can_remove_keeps_no_copy_from_being_taken(
    agents: list[Agent], folder: Path
) -> None:
    died = Backup.objects.create(source="postgres", format="custom")
    stuck = folder / f".postgres-20260101T000000Z-{died.pk.hex[:8]}.dump.zst.abc.part"
    stuck.mkdir(parents=True)  # unlink fails for root, too
    backup = take(Options())
    died.refresh_from_db()
    assert (died.state, backup.state) == ("failed", "hashed")
    assert (
        died.trouble
        == f"{STOPPED} {stuck} could not be removed: Is a directory. Remove by hand what is left."
    )


def test_half_a_file_of_a_run_that_nobody_knows_goes_after_a_day(agents: list[Agent], folder: Path) -> None:
    folder.mkdir()
    old, new = (folder / f".postgres-{name}.dump.zst.abc.part" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    take(Options())
    assert (old.exists(), new.exists()) == (False, True)


@pytest.fixture
def hurried(transactional_db: None) -> Iterator[None]:
    """Time limits of the database, as a careful administrator sets them for pages: long enough for whatever
    is no backup on a loaded machine."""
    names = ("statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout")
    limits = [*names, "idle_session_timeout"]
    database = sql.Identifier(str(connection.settings_dict["NAME"]))
    with server.connect() as session:
        server.lift_limits(session)
        for name in limits:
            session.execute(sql.SQL("ALTER DATABASE {} SET {} = '2s'").format(database, sql.Identifier(name)))
        connection.close()
        try:
            yield
        finally:
            for name in limits:
                session.execute(sql.SQL("ALTER DATABASE {} RESET {}").format(database, sql.Identifier(name)))
            connection.close()


@pytest.mark.parametrize("fails", [False, True])
def test_time_limits_that_are_meant_for_pages_end_no_backup(
    large: None, hurried: None, folder: Path, settings: Any, fails: bool
) -> None:
    settings.ARC_BACKUP_RATE_MB = 2  # three seconds
    if fails:

        def kill() -> None:
            time.sleep(2.5)
            children("pg_dump")[0].kill()

        with pytest.raises(ToolError, match="SIGKILL"):
            take(Options(), Doing(kill))
        connection.close()
        assert Backup.objects.get().state == "failed"
        return
    backup = take(Options())
    assert backup.state == "hashed"
    slow = Doing(lambda: None)
    slow.progress = lambda *args, **said: time.sleep(0.05)  # type: ignore[method-assign]
    assert prove(backup.pk, slow).verdict == "proven"


def test_what_cannot_be_written_is_named(
    agents: list[Agent], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    (folder / "spool").touch()
    with pytest.raises(BackupError, match=rf"{folder}, could not be written: File exists \(spool\)"):
        take(Options(scope={"agent": str(agents[0].pk)}))
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", "/nonexistent")
        with pytest.raises(BackupError, match=r"^/nonexistent/arcweb-pgpass-.* could not be used: No such"):
            take(Options())
    next_one_is_fine(folder)


def test_a_name_of_ten_thousand_letters_is_not_said_whole(agents: list[Agent], folder: Path) -> None:
    with pytest.raises(BackupError, match=r"There is no schema 'x{63}' with tables"):
        take(Options(scope={"schema": "x" * 10_000}))
