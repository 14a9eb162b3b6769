"""What is no fault of a copy leaves it as it was; and the job, which may be stopped at any moment."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from arcweb.backups import scratch, server, streams
from arcweb.backups.exceptions import LockedOut
from arcweb.backups.job_handlers.proving import run_verify
from arcweb.backups.models import Backup
from arcweb.backups.proving import loading, proof
from arcweb.backups.proving.ladder import NotTried
from arcweb.backups.restore import databases
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobCancelled, JobFailed, RetryLater
from arcweb.jobs.models import Job
from tests.backups.proving import sample
from tests.backups.proving.conftest import Sample
from tests.backups.proving.rows import copy, events, proven
from tests.backups.proving.test_proof import flip

pytestmark = pytest.mark.django_db


def test_what_is_not_the_copys_fault_leaves_it_as_it_was(
    source: Sample, folder: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = copy(source, folder)
    assert proven(backup).verdict == "proven"
    verified_at = backup.verified_at

    def is_not_tried(said: str) -> None:
        outcome = proven(backup)
        assert outcome.verdict == "not tried"
        assert said in outcome.trouble
        assert (backup.state, backup.verified_at) == (Backup.State.VERIFIED, verified_at)
        assert backup.check_result["ok"] is False
        assert backup.check_result["trouble"] == outcome.trouble

    with monkeypatch.context() as patch:
        patch.setattr(streams, "RESERVE", 10**15)
        is_not_tried("stay free for the servers")
    settings.ARC_TEMPLATE_DATABASE = "arc_nowhere"
    is_not_tried("There is no database arc_nowhere (ARC_TEMPLATE_DATABASE)")
    name = f"arc_proving_{uuid.uuid4().hex[:6]}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            settings.ARC_TEMPLATE_DATABASE = name
            with sample.superuser(name), monkeypatch.context() as patch:
                patch.setattr(scratch, "TRIES", 1)  # those that follow wait for the end of this session
                is_not_tried("Somebody is connected to the template")
            is_not_tried("lacks the extension vector")
            with sample.superuser(name) as held:
                held.execute("CREATE EXTENSION vector")
                held.execute("CREATE TABLE public.mine (i integer)")
            is_not_tried("holds tables of its own (public.mine is one of 1)")
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    for path in folder.glob("postgres-*"):
        path.rename(path.with_name(f"away-{path.name[:5]}"))
    is_not_tried("is its disk mounted?")
    assert events(backup) == ["backup.verified"]


def test_a_role_that_may_not_create_databases_is_told_how_it_could(
    source: Sample, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = copy(source, folder)
    role = f"arc_proving_{uuid.uuid4().hex[:8]}"
    with sample.superuser("postgres") as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'for-this-test'")
        try:
            monkeypatch.setattr(server, "database", _as_role(server.database, role, "for-this-test"))
            outcome = proven(backup)
        finally:
            monkeypatch.undo()
            connection.execute(f"DROP ROLE {role}")
    assert outcome.verdict == "not tried"
    assert f'ALTER ROLE "{role}" CREATEDB;' in outcome.trouble
    assert backup.state == Backup.State.HASHED


def _as_role(before: Any, role: str, password: str) -> Any:
    return lambda: before() | {"USER": role, "PASSWORD": password}


@pytest.mark.parametrize("ours", [True, False])
def test_time_limits_of_the_role_end_no_proof_that_waits_in_silence(
    source: Sample, folder: Path, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    manifest = sample.write(folder, source.custom, source.facts, "custom", ours=ours)
    backup = sample.row(manifest, **({} if ours else {"trigger": "found"}))
    role, before = f"arc_proving_{uuid.uuid4().hex[:8]}", loading._restore

    def slowly(argv: Any, connection: Any, watch: Any) -> None:
        time.sleep(3.2)
        with pytest.raises(LockedOut), proof._alone(backup):
            pass
        before(argv, connection, watch)

    with sample.superuser("postgres") as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'for-this-test'")
        try:
            # Settings of a database are not those of a scratch database.
            connection.execute(f"ALTER ROLE {role} SET idle_session_timeout = '3s'")
            connection.execute(f"ALTER ROLE {role} SET transaction_timeout = '59min'")
            monkeypatch.setattr(server, "database", _as_role(server.database, role, "for-this-test"))
            with databases.connected(databases.MAINTENANCE) as restoring:
                names = ["idle_session_timeout", "transaction_timeout"]
                assert [restoring.execute(f"SHOW {name}").fetchone() for name in names] == [("0",), ("0",)]
            monkeypatch.setattr(loading, "_restore", slowly)
            outcome = proven(backup)
        finally:
            monkeypatch.undo()
            connection.execute(f"DROP ROLE {role}")
    assert (outcome.verdict, outcome.trouble) == ("proven", "")


def test_a_server_that_is_away_is_no_fault_of_the_copy(
    source: Sample, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = copy(source, folder)
    before = server.database
    monkeypatch.setattr(server, "database", lambda: before() | {"HOST": "127.0.0.1", "PORT": "1"})
    with pytest.raises(JobFailed, match="The copy was not verified: PostgreSQL cannot be reached"):
        run_verify(JobContext(uuid.uuid4(), {"backup": str(backup.pk)}))
    backup.refresh_from_db()
    assert (backup.state, backup.check_result) == (Backup.State.HASHED, None)


def test_a_restore_that_is_ended_from_outside_is_no_fault_of_the_copy(
    source: Sample, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = copy(source, folder)
    before = loading._restore

    def ended(argv: Any, connection: Any, watch: Any) -> None:
        # Of the scratch database, so that pg_restore finds it gone under its feet.
        with server.connect() as outside:
            name = connection.info.dbname
            scratch.drop(outside, name)
        before(argv, connection, watch)

    monkeypatch.setattr(loading, "_restore", ended)
    outcome = proven(backup)
    assert outcome.verdict == "not tried"
    assert backup.state == Backup.State.HASHED
    monkeypatch.setattr(loading, "_restore", before)

    class Killing(JobContext):
        def progress(self, done: int, total: int | None = None, message: str = "") -> None:
            if message.startswith("restoring:"):
                for child in psutil.Process().children():
                    if child.name() == "pg_restore":
                        child.kill()

    run = loading.running

    @contextmanager
    def held(*words: Any, **options: Any) -> Iterator[Any]:
        with run(*words, **options) as program:
            program.process.send_signal(signal.SIGSTOP)  # or it may be done before anybody looks
            yield program

    monkeypatch.setattr(loading, "running", held)
    outcome = proven(backup, context=Killing(uuid.uuid4(), {}))
    assert (outcome.verdict, backup.state) == ("not tried", Backup.State.HASHED)
    assert "pg_restore was ended by SIGKILL" in outcome.trouble


class Stopped(JobContext):
    """Cancelled when the job says that."""

    def __init__(self, at: str, backup: Backup) -> None:
        super().__init__(uuid.uuid4(), {"backup": str(backup.pk)})
        self.at, self.seen = at, list[str]()

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        self.seen.append(message)
        if message.startswith(self.at):
            self.stop(lost=False)
        super().progress(done, total, message)


@pytest.mark.parametrize("at", ["hashing", "unpacking", "restoring:", "comparing:"])
def test_cancelled_it_leaves_nothing_behind(source: Sample, folder: Path, at: str, made: list[str]) -> None:
    backup = copy(source, folder)
    context = Stopped(at, backup)
    with pytest.raises(JobCancelled):
        run_verify(context)
    backup.refresh_from_db()
    assert any(message.startswith(at) for message in context.seen)
    assert (backup.state, backup.check_result) == (Backup.State.HASHED, None)
    assert len(made) == (1 if at in ("restoring:", "comparing:") else 0)
    assert sample.scratches().isdisjoint(made)
    assert not (folder / "spool").exists() or list((folder / "spool").iterdir()) == []


def test_a_role_that_is_not_here_is_no_fault_of_the_copy(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    with scratch.database("test") as name:
        with server.connect(name) as connection:
            connection.execute("CREATE TABLE public.t (i integer)")
            connection.execute("GRANT SELECT ON public.t TO pg_monitor")
        path.write_bytes(sample.dump(name).replace(b"TO pg_monitor;", b"TO nobodyhere;"))
    said = 'could not be restored here: role "nobodyhere" does not exist'
    with scratch.database("test") as name, pytest.raises(NotTried, match=said):
        loading.load(path, name, trusted=True, rights=True)


def test_a_disk_that_fills_up_ends_the_restore(
    source: Sample, folder: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = copy(source, folder)

    class Filling(JobContext):
        def progress(self, done: int, total: int | None = None, message: str = "") -> None:
            if message == "restoring":
                monkeypatch.setattr(streams, "RESERVE", 10**15)

    outcome = proven(backup, context=Filling(uuid.uuid4(), {}))
    assert (outcome.verdict, backup.state) == ("not tried", Backup.State.HASHED)
    assert "stay free for the servers" in outcome.trouble
    assert outcome.result["steps"][-1]["name"] == "restored"
    assert len(made) == 1
    assert sample.scratches().isdisjoint(made)


def test_one_copy_is_proven_by_one_at_a_time(source: Sample, folder: Path) -> None:
    one, two = copy(source, folder), copy(source, folder)
    with proof._alone(one):
        with pytest.raises(LockedOut, match="is being verified already"):
            proof.prove(one.pk)
        with pytest.raises(RetryLater, match="is being verified already"):
            run_verify(JobContext(uuid.uuid4(), {"backup": str(one.pk)}))
        with proof._alone(two):
            pass
    with proof._alone(one):
        pass


def test_a_copy_is_free_as_soon_as_its_proof_is_over(
    source: Sample, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends a closed session some moments later; here it is not closed at all before the end."""
    one, connect = copy(source, folder), server.connect
    with ExitStack() as exits:

        def lasting(*words: Any, **options: Any) -> Any:
            made = connect(*words, **options)
            exits.callback(type(made).close, made)
            made.close = lambda: None
            return made

        monkeypatch.setattr(server, "connect", lasting)
        for _ in range(2):
            with proof._alone(one):
                pass


def test_the_job_tells_what_it_does_and_what_came_of_it(source: Sample, folder: Path) -> None:
    backup = copy(source, folder, trigger=Backup.Trigger.SCHEDULE)
    context = Stopped("never", backup)
    result = run_verify(context)
    assert result["steps"] == 11
    words = " ".join(context.seen)
    for doing in ("hashing", "unpacking", "restoring", "comparing: table 1 of 4"):
        assert doing in words
    # Retention runs behind a scheduled copy that was proven, and behind no other.
    assert Job.objects.filter(kind="backup-prune").count() == 1
    Job.objects.all().delete()
    Backup.objects.filter(pk=backup.pk).update(trigger=Backup.Trigger.MANUAL)
    run_verify(context)
    assert not Job.objects.filter(kind="backup-prune").exists()
    Backup.objects.filter(pk=backup.pk).update(trigger=Backup.Trigger.SCHEDULE)
    flip(folder / backup.file)
    with pytest.raises(JobFailed, match=r"The copy is bad: .* is damaged"):
        run_verify(context)
    with pytest.raises(JobFailed, match="gone from the catalogue"):
        run_verify(JobContext(uuid.uuid4(), {"backup": str(uuid.uuid4())}))
    assert not Job.objects.filter(kind="backup-prune").exists()


@pytest.mark.parametrize("state", ["running", "failed", "deleted"])
def test_what_is_no_copy_is_not_verified_though_a_file_stands_there(
    source: Sample, folder: Path, state: str
) -> None:
    backup = copy(source, folder, state=state)
    outcome = proven(backup)
    assert (outcome.verdict, outcome.result["steps"]) == ("not tried", [])
    assert "there is no file of it to verify" in outcome.trouble
    assert (backup.state, events(backup)) == (state, [])


def test_a_copy_that_was_deleted_meanwhile_stays_deleted(source: Sample, folder: Path) -> None:
    backup = copy(source, folder)

    class Deleting(Stopped):
        def check(self) -> None:
            Backup.objects.filter(pk=backup.pk).update(state=Backup.State.DELETED)

    proven(backup, context=Deleting("never", backup))
    assert backup.state == Backup.State.DELETED
    assert events(backup) == []
