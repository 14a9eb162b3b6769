"""Files from elsewhere: into the spool with bounded memory, into the folder only after a look."""

from __future__ import annotations

import os
import resource
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import zstandard
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import StopUpload
from django.test import Client

from arcweb.backups import catalogue, places
from arcweb.backups import manifest as manifests
from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.job_handlers.receiving import run_receive
from arcweb.backups.models import Backup
from arcweb.backups.transfer import dump_head, receiving, spooling
from arcweb.events.models import Event
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed
from arcweb.jobs.models import Job
from tests.backups.made import make_copy, make_files, on_disk
from tests.people import client_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]
URL = "/backups/upload/"


def spooled() -> list[Path]:
    return sorted(path for path in places.spool().iterdir() if path.is_file())


def send(client: Client, data: bytes, manifest: bytes = b"", name: str = "copy.dump.zst") -> Any:
    files = {"data": SimpleUploadedFile(name, data)}
    if manifest:
        files["manifest"] = SimpleUploadedFile("copy.manifest.json", manifest)
    return client.post(URL, files)


def job_of() -> JobContext:
    job = Job.objects.get(kind="backup-receive")
    return JobContext(job.pk, job.params)


def test_a_copy_with_its_manifest_becomes_one_of_the_catalogue(
    admin: Client, folder: Path, elsewhere: Path
) -> None:
    manifest, _ = make_files(
        folder=elsewhere, source="redis-state", format_="rdb", taken_at=datetime(2026, 1, 2, tzinfo=UTC)
    )
    data = (elsewhere / manifest.file.name).read_bytes()
    answer = send(admin, data, (elsewhere / manifests.manifest_name(manifest.file.name)).read_bytes())
    job = Job.objects.get(kind="backup-receive")
    assert answer.headers["Location"] == f"/jobs/job/{job.pk}/change/"
    assert on_disk() == set()  # nothing stands in the folder before the look
    assert not Backup.objects.exists()
    assert all(path.stat().st_mode & 0o077 == 0 for path in spooled())

    result = run_receive(job_of())
    backup = Backup.objects.get()
    assert (str(backup.pk), backup.state, backup.trigger) == (manifest.id, "written", "found")
    assert (folder / backup.file).read_bytes() == data
    assert (folder / manifests.manifest_name(backup.file)).exists()
    assert spooled() == []
    assert Job.objects.get(pk=result["verify"]).params == {"backup": manifest.id}
    assert Event.objects.get(kind="backup.received").object_id == manifest.id
    assert Event.objects.filter(kind="backup.upload_asked").exists()


def test_what_is_not_what_its_manifest_says_is_refused_and_deleted(
    admin: Client, folder: Path, elsewhere: Path
) -> None:
    manifest, _ = make_files(folder=elsewhere)
    other, _ = make_files(folder=elsewhere)
    data = (elsewhere / manifest.file.name).read_bytes()
    beside = (elsewhere / manifests.manifest_name(manifest.file.name)).read_bytes()
    flipped = data[:50] + bytes([data[50] ^ 1]) + data[51:]
    for sent, described, words in (
        (data[:-1], beside, "it was cut on its way, or the manifest is of another copy"),
        (flipped, beside, "has not the sha256 of its manifest"),
        (data, (elsewhere / manifests.manifest_name(other.file.name)).read_bytes(), "sha256|cut"),
        (data, b'{"made_by": "somebody"}', "none of this program"),
        (data, beside.replace(b"postgres-2", b"../../x-2"), "none that a copy has"),
        (data, b"[" * 100_000, "no JSON"),
    ):
        send(admin, sent, described)
        with pytest.raises(JobFailed, match=words):
            run_receive(job_of())
        Job.objects.all().delete()
        assert on_disk() == set()
        assert spooled() == []
    assert not Backup.objects.exists()


def test_a_copy_that_is_known_is_not_taken_twice(admin: Client, folder: Path) -> None:
    from arcweb.backups import catalogue

    manifest, _ = make_files(source="redis-cache", format_="rdb")
    catalogue.scan()
    files = [folder / manifest.file.name, folder / manifests.manifest_name(manifest.file.name)]
    data, beside = (path.read_bytes() for path in files)
    send(admin, data, beside)
    with pytest.raises(JobFailed, match="has this copy already"):
        run_receive(job_of())
    assert on_disk() == {path.name for path in files}  # and the one that was there stays
    for path in files:
        path.unlink()
    catalogue.scan()
    Job.objects.all().delete()
    send(admin, data, beside)
    run_receive(job_of())
    assert Backup.objects.get().state == "written"  # lost, and back


def test_a_run_that_was_killed_is_done_again(admin: Client, folder: Path, elsewhere: Path) -> None:
    manifest, _ = make_files(folder=elsewhere, source="redis-state", format_="rdb")
    beside = (elsewhere / manifests.manifest_name(manifest.file.name)).read_bytes()
    send(admin, (elsewhere / manifest.file.name).read_bytes(), beside)
    data = next(path for path in spooled() if "-data-" in path.name)
    os.link(data, folder / manifest.file.name)  # as far as it came
    run_receive(job_of())
    assert Backup.objects.get().state == "written"


@pytest.mark.parametrize("packed", [False, True])
def test_a_bare_dump_gets_a_manifest_that_says_that_nothing_is_known(
    admin: Client, folder: Path, take_dump: Callable[[str], bytes], packed: bool
) -> None:
    raw = take_dump("django_session")
    send(admin, zstandard.compress(raw) if packed else raw, name="their.dump")
    run_receive(job_of())
    backup = Backup.objects.get()
    assert (backup.format, backup.state, backup.trigger) == ("custom", "written", "found")
    manifest, _ = manifests.read(folder / manifests.manifest_name(backup.file))
    assert manifest.notes[0] == receiving.UNKNOWN
    assert manifest.client["outside"] == "their.dump"
    assert manifest.tables == []
    assert manifest.file.raw_bytes == len(raw)
    assert abs(manifest.taken_at - datetime.now(UTC)) < timedelta(minutes=10)
    assert manifest.taken_at <= datetime.now(UTC)
    from arcweb.backups import seals

    assert not seals.is_ours(manifest)  # whoever restores it takes it for hostile


def test_a_dump_with_code_in_it_is_refused_by_name(
    admin: Client, folder: Path, take_dump: Callable[[str], bytes]
) -> None:
    raw = take_dump("django_session")
    evil = raw.replace(b"CREATE TABLE public.django_session", b"DO $$BEGIN END$$;--.django_session")
    assert evil != raw
    send(admin, evil, name="evil.dump")
    with pytest.raises(JobFailed, match=r"may not bring: TABLE public\.django_session"):
        run_receive(job_of())
    assert on_disk() == set()
    assert spooled() == []


@pytest.mark.parametrize(
    "data", [b"-- SQL\nDROP DATABASE arc;\n", b"\x1f\x8b\x08rest", b"PG", b"age-encryption.org/v1\n"]
)
def test_what_is_no_dump_is_refused_in_words(admin: Client, folder: Path, data: bytes) -> None:
    send(admin, data, name="dump.sql")
    with pytest.raises(JobFailed, match=r"dump\.sql is no file of pg_dump's custom format"):
        run_receive(job_of())
    assert spooled() == []


def test_a_bomb_ends_before_it_fills_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "HARMLESS", 1024**2)
    source = receiving._Bounded(BytesIO(b"\0" * (4 * 1024**2)), 1000)
    assert len(source.read(1024**2)) == 1024**2
    with pytest.raises(CorruptCopy, match="fill a disk"):
        source.read(1024**2)


def test_the_time_in_the_head_of_a_dump() -> None:
    def integer(value: int) -> bytes:
        return b"\0" + value.to_bytes(4, "little")

    for version, packing in ((b"\1\x10\0", b"\0"), (b"\1\x0e\0", integer(0))):
        head = b"PGDMP" + version + b"\4\x08\1" + packing
        head += b"".join(map(integer, (7, 30, 22, 23, 10, 126, 0))) + b"\0" * 100
        assert dump_head.made_at(head) == datetime(2026, 11, 23, 22, 30, 7, tzinfo=UTC)
        odd = head.replace(integer(10) + integer(126), integer(40) + integer(126))
        assert dump_head.made_at(odd) is None
    assert dump_head.made_at(b"PGDMP") is None
    assert dump_head.made_at(b"x" * 200) is None


def test_nobody_uploads_without_the_permission_or_the_token(folder: Path) -> None:
    assert send(client_of("operator"), b"x").status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(client_of("administrator").get("/account/").wsgi_request.user)
    assert send(strict, b"x" * 5000).status_code == 403
    token = strict.get(URL).context["csrf_token"]
    answer = strict.post(URL, {"csrfmiddlewaretoken": str(token), "data": SimpleUploadedFile("a", b"x")})
    assert answer.status_code == 302
    assert len(spooled()) == 1  # of those that were refused nothing is left


def test_too_long_is_refused_before_it_is_read_and_while_it_is(
    admin: Client, folder: Path, settings: Any
) -> None:
    settings.ARC_BACKUP_MAX_UPLOAD_GB = 1 / 1024  # 1 MB
    answer = send(admin, b"x" * (2 * 1024**2))
    assert answer.status_code == 413
    assert "ARC_BACKUP_MAX_UPLOAD_GB" in answer.content.decode()
    assert spooled() == []
    handler = spooling.SpoolHandler()
    handler.new_file("data", "x", "application/octet-stream", None)
    handler.receive_data_chunk(b"x" * 1024**2, 0)
    with pytest.raises(StopUpload):
        handler.receive_data_chunk(b"x", 1024**2)
    assert "is the most" in handler.why
    assert spooled() == []


def test_a_full_disk_ends_an_upload_in_words(
    admin: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "free_bytes", lambda path: 10_000)
    answer = send(admin, b"x" * 1000)
    assert (answer.status_code, "stay free for the servers" in answer.content.decode()) == (413, True)
    monkeypatch.setattr(spooling, "trouble", lambda length: "")
    answer = send(admin, b"x" * 1000)
    assert (answer.status_code, "nearly full" in answer.content.decode()) == (413, True)
    assert spooled() == []


def test_a_form_without_a_file_says_so(admin: Client, folder: Path) -> None:
    for sent in ({}, {"data": SimpleUploadedFile("empty", b"")}, {"other": SimpleUploadedFile("x", b"x")}):
        assert admin.post(URL, sent).status_code == 400
    assert spooled() == []
    assert admin.get(URL).status_code == 200


def test_an_upload_takes_no_memory(folder: Path) -> None:
    handler = spooling.SpoolHandler()
    handler.new_file("data", "large", "application/octet-stream", None)
    block, before = os.urandom(1024**2), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(100):
        handler.receive_data_chunk(block, number * 1024**2)
    made = handler.file_complete(100 * 1024**2)
    assert made is not None
    assert made.path.stat().st_size == 100 * 1024**2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024  # kB
    handler.discard()


def test_a_job_names_only_files_of_the_spool(folder: Path) -> None:
    (folder / "dear").write_text("x")
    for name in ("../dear", "upload-/../../dear", "dear", ""):
        with pytest.raises(JobFailed, match="names no uploaded file"):
            run_receive(JobContext(uuid.uuid4(), {"data": name, "manifest": "", "original": "x"}))
    assert (folder / "dear").exists()


def test_the_same_copy_twice_at_once_leaves_the_one_that_came_first(folder: Path, elsewhere: Path) -> None:
    manifest, _ = make_files(folder=elsewhere, source="redis-state", format_="rdb")
    name, beside = manifest.file.name, manifests.manifest_name(manifest.file.name)
    pairs = []
    for number in "12":
        pairs.append([places.spool() / f"upload-{kind}-{number}" for kind in ("data", "manifest")])
        for path, source in zip(pairs[-1], (name, beside), strict=True):
            path.write_bytes((elsewhere / source).read_bytes())
    (first, described), second = pairs
    came: list[Backup] = []

    def meanwhile(_done: int) -> None:
        came.append(receiving.accept(first, described, "first"))

    with pytest.raises(BackupError, match="stands in the folder already"):
        receiving.accept(*second, "second", meanwhile)
    assert str(came[0].pk) == manifest.id
    assert on_disk() == {name, beside}


def test_other_bytes_do_not_come_back_as_a_copy_that_is_only_in_the_store(
    folder: Path, elsewhere: Path
) -> None:
    """The row is proven, and the file that would count for it was never looked into."""
    known = make_copy(remote=True, local=False)
    described = folder / manifests.manifest_name(known.file)
    whole = manifests.read(described)[0]
    (folder / known.file).write_bytes(b"x" * (known.bytes or 0))
    replace(whole, file=replace(whole.file, sha256=sha256(b"x" * (known.bytes or 0)).hexdigest())).write(
        folder
    )
    assert any("other bytes" in trouble for trouble in catalogue.scan().troubles)
    assert not Backup.objects.get(pk=known.pk).local
    (folder / known.file).rename(elsewhere)
    data, beside = (places.spool() / f"upload-{kind}-1" for kind in ("data", "manifest"))
    elsewhere.rename(data)
    described.rename(beside)
    with pytest.raises(BackupError, match="other bytes"):
        receiving.accept(data, beside, "x")
