"""Copies proven: what is whole is, what is damaged is said to be, and what could not be tried is neither."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pyrage
import pytest
from django.conf import settings as django_settings

from arcweb.backups import manifest as manifests
from arcweb.backups import scratch, seals, server, streams
from arcweb.backups.exceptions import LockedOut
from arcweb.backups.job_handlers.proving import run_verify
from arcweb.backups.models import Backup
from arcweb.backups.proving import loading, proof
from arcweb.events.models import Event
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobCancelled, JobFailed, RetryLater
from arcweb.jobs.models import Job
from tests.backups.proving import sample
from tests.backups.proving.conftest import Sample

pytestmark = pytest.mark.django_db
FORMATS = pytest.mark.parametrize("format_", ["custom", "plain"])


def copy(source: Sample, folder: Path, format_: str = "custom", **fields: Any) -> Backup:
    return sample.row(sample.write(folder, source.raw(format_), source.facts, format_), **fields)


def steps(backup: Backup) -> dict[str, Any]:
    assert backup.check_result is not None
    return {step["name"]: step["ok"] for step in backup.check_result["steps"]}


def events(backup: Backup) -> list[str]:
    return list(Event.objects.filter(object_id=str(backup.pk)).values_list("kind", flat=True))


def proven(backup: Backup, **options: Any) -> proof.Outcome:
    outcome = proof.prove(backup.pk, **options)
    backup.refresh_from_db()
    return outcome


@FORMATS
def test_a_whole_copy_is_proven_step_by_step(source: Sample, folder: Path, format_: str) -> None:
    backup = copy(source, folder, format_, state=Backup.State.WRITTEN)
    before = sample.scratches()
    outcome = proven(backup)
    assert (outcome.verdict, outcome.trouble) == ("proven", "")
    assert backup.state == Backup.State.VERIFIED
    assert backup.verified_at is not None
    assert backup.hashed_at is not None
    assert backup.checked_at is not None
    assert backup.verify_seconds == backup.check_result["seconds"] > 0
    contents = ["contents"] if format_ == "custom" else []
    assert list(steps(backup)) == [
        *("file", "manifest", "hash", "unpacked", *contents, "scratch", "restored"),
        *("rows", "sequences", "structure", "vectors"),
    ]
    assert set(steps(backup).values()) == {True}
    said = {step["name"]: step["sentence"] for step in backup.check_result["steps"]}
    assert "68 rows in 4 tables, 2 of them attached as partitions" in said["rows"]
    assert "2 sequences stand where they should" in said["sequences"]
    assert "nearest (hnsw) gave 10 neighbours" in said["vectors"]
    assert "generated columns, computed again and hashed: 1" in said["structure"]
    assert events(backup) == ["backup.verified"]
    assert sample.scratches() == before
    assert list((folder / "spool").iterdir()) == []
    assert proven(backup).verdict == "proven"  # twice is harmless


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def other(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


DAMAGE = {
    "a bit flipped": (flip, "is damaged: it has its", "hash"),
    "cut": (cut, r"was cut: 100 of [\d,]+ bytes are missing", "hash"),
    "longer": (grow, "has 4 bytes more", "hash"),
    "another file": (other, "is another file", "hash"),
    "empty": (lambda path: path.write_bytes(b""), "is empty", "hash"),
    "gone": (lambda path: path.unlink(), "The file is gone", "file"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_said(source: Sample, folder: Path, damage: str) -> None:
    backup, beside = copy(source, folder), copy(source, folder)
    change, said, step = DAMAGE[damage]
    change(folder / backup.file)
    outcome = proven(backup)
    assert outcome.verdict == "bad"
    assert backup.state == Backup.State.BAD
    assert re.search(said, backup.trouble), backup.trouble
    assert steps(backup)[step] is False
    assert list(steps(backup))[-1] == step
    assert events(backup) == ["backup.bad"]
    assert not Backup.objects.proven().exists()
    assert (folder / backup.file).exists() == (damage != "gone")
    # The copy beside it is none the worse, and a bad one that is whole again is proven again.
    assert Backup.objects.get(pk=beside.pk).state == Backup.State.HASHED


def test_manifests_that_are_not_the_copys_own_are_found(source: Sample, folder: Path) -> None:
    one, two = copy(source, folder), copy(source, folder)
    paths = [folder / manifests.manifest_name(backup.file) for backup in (one, two)]
    kept = [path.read_bytes() for path in paths]
    for path, data in zip(paths, reversed(kept), strict=True):
        path.write_bytes(data)
    assert "manifest of another copy" in proven(one).trouble
    for path, data in zip(paths, kept, strict=True):
        path.write_bytes(data)
    manifest = manifests.read(paths[0])[0]
    sample.rewritten(folder, manifest, notes=["all is well"])
    assert "was changed since it was written" in proven(one).trouble
    assert one.state == Backup.State.BAD
    paths[0].write_bytes(b"{")
    assert "it is no JSON" in proven(one).trouble
    paths[0].unlink()
    assert "The manifest is gone" in proven(one).trouble
    paths[0].write_bytes(kept[0])
    assert proven(one).verdict == "proven"
    assert (one.state, one.trouble) == (Backup.State.VERIFIED, "")


def test_a_manifest_that_was_made_to_fit_a_changed_file_is_found_by_the_catalogue(
    source: Sample, folder: Path
) -> None:
    backup = copy(source, folder)
    changed = source.custom.replace(b"memory 7", b"memory 8", 1)
    other = sample.write(folder, changed, source.facts)
    (folder / other.file.name).rename(folder / backup.file)
    (folder / manifests.manifest_name(other.file.name)).unlink()
    file = replace(other.file, name=backup.file)
    sample.rewritten(folder, manifests.Manifest.from_json(backup.manifest), file=file)
    assert "was changed since it was written" in proven(backup).trouble
    # Where the catalogue knows nothing of it the content tells, for the hash of the rows is another.
    Backup.objects.all().delete()
    outcome = proof.prove_file(folder / backup.file)
    assert outcome.verdict == "bad"
    assert "agents.memories has 62 rows as it should, but not the same content" in outcome.trouble
    assert not seals.is_ours(manifests.read(folder / manifests.manifest_name(backup.file))[0])


def test_less_comes_out_than_the_manifest_says_or_more(source: Sample, folder: Path) -> None:
    manifest = sample.write(folder, source.custom, source.facts)
    for raw, said in ((10_000, "holds more than its manifest says"), (10**9, "is not what was copied")):
        lying = sample.rewritten(folder, manifest, file=replace(manifest.file, raw_bytes=raw))
        outcome = proof.prove_file(folder / lying.file.name)
        assert outcome.verdict == "bad"
        assert said in outcome.trouble


@FORMATS
def test_encrypted_copies_are_proven_with_their_key_alone(
    source: Sample, folder: Path, format_: str, settings: Any, tmp_path: Path
) -> None:
    key = pyrage.x25519.Identity.generate()
    manifest = sample.write(
        folder, source.raw(format_), source.facts, format_, recipients=(str(key.to_public()),)
    )
    backup = sample.row(manifest)
    outcome = proven(backup)
    assert outcome.verdict == "not tried"
    assert "names no identity here" in outcome.trouble
    assert backup.state == Backup.State.HASHED
    identities = tmp_path / "identities"
    identities.write_text(f"# made for a test\n{key}\n")
    settings.ARC_BACKUP_IDENTITY_FILE = str(identities)
    assert proven(backup).verdict == "proven"


# Not the copy's fault -----------------------------------------------------------------------------------


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
    name = f"{scratch.PREFIX}without_{uuid.uuid4().hex[:6]}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            settings.ARC_TEMPLATE_DATABASE = name
            with sample.superuser(name) as held:  # a session keeps it from being swept
                monkeypatch.setattr(scratch, "TRIES", 1)
                is_not_tried("Somebody is connected to the template")
                held.close()
            monkeypatch.setattr(scratch, "sweep", lambda connection: [])
            is_not_tried("lacks the extension vector")
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    settings.ARC_TEMPLATE_DATABASE = django_settings.ARC_TEMPLATE_DATABASE
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
def test_cancelled_it_leaves_nothing_behind(source: Sample, folder: Path, at: str) -> None:
    backup, before = copy(source, folder), sample.scratches()
    context = Stopped(at, backup)
    with pytest.raises(JobCancelled):
        run_verify(context)
    backup.refresh_from_db()
    assert any(message.startswith(at) for message in context.seen)
    assert (backup.state, backup.check_result) == (Backup.State.HASHED, None)
    assert sample.scratches() == before
    assert not (folder / "spool").exists() or list((folder / "spool").iterdir()) == []


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
    flip(folder / backup.file)
    with pytest.raises(JobFailed, match=r"The copy is bad: .* is damaged"):
        run_verify(context)
    with pytest.raises(JobFailed, match="gone from the catalogue"):
        run_verify(JobContext(uuid.uuid4(), {"backup": str(uuid.uuid4())}))
    assert not Job.objects.filter(kind="backup-prune").exists()


def test_a_copy_that_was_deleted_meanwhile_stays_deleted(source: Sample, folder: Path) -> None:
    backup = copy(source, folder)

    class Deleting(Stopped):
        def check(self) -> None:
            Backup.objects.filter(pk=backup.pk).update(state=Backup.State.DELETED)

    proven(backup, context=Deleting("never", backup))
    assert backup.state == Backup.State.DELETED
    assert events(backup) == []


def test_found_files_are_ours_by_their_seal_alone(source: Sample, folder: Path, settings: Any) -> None:
    manifest = sample.write(folder, source.plain, source.facts, "plain")
    found = sample.row(manifest, trigger=Backup.Trigger.FOUND)
    assert proven(found).verdict == "proven"
    settings.SECRET_KEY = "of another installation"
    assert "only copies of this installation" in proven(found).trouble
    assert found.state == Backup.State.VERIFIED
    settings.SECRET_KEY_FALLBACKS = [django_settings.SECRET_KEY]
    assert proven(found, trusted=True).verdict == "proven"


# Scratch databases --------------------------------------------------------------------------------------


def test_what_a_killed_process_left_is_swept_by_the_next(source: Sample) -> None:
    script = (
        "import django; django.setup()\n"
        "from arcweb.backups import scratch\n"
        "import time\n"
        "with scratch.database('test') as name:\n"
        "    print(name, flush=True)\n"
        "    time.sleep(60)\n"
    )
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "arcweb.settings"}
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=env)
    assert child.stdout is not None
    name = child.stdout.readline().strip()
    assert name in sample.scratches()
    with server.connect() as connection:
        assert name not in scratch.sweep(connection)  # its maker lives
        child.send_signal(signal.SIGKILL)
        child.wait()
        end = time.monotonic() + 20
        while name in sample.scratches():
            scratch.sweep(connection)
            assert time.monotonic() < end
            time.sleep(0.1)
        assert source.name in sample.scratches()
    with pytest.raises(ValueError, match="is no scratch database"):
        scratch.drop(connection, "arc")


def test_nobody_else_may_connect_to_a_scratch_database() -> None:
    with scratch.database("test") as name, server.connect(name) as connection:
        row = connection.execute(
            "SELECT datacl::text FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        assert row is not None
        assert re.search(r"[{,]=", row[0]) is None
