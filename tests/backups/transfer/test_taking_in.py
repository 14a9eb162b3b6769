"""Files from elsewhere that are taken in or not, and what is left of them where something fails."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pyrage
import pytest
import zstandard
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import StopUpload
from django.test import Client
from django.utils import timezone

from arcweb.backups import manifest as manifests
from arcweb.backups import seals
from arcweb.backups.exceptions import SpaceError
from arcweb.backups.job_handlers.receiving import run_receive
from arcweb.backups.models import Backup
from arcweb.backups.transfer import receiving, slots, spooling
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed
from arcweb.jobs.models import Job
from tests.backups.copies import copy
from tests.backups.made import make_files, on_disk
from tests.backups.transfer.test_uploads import URL, job_of, send, spooled

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def brought(client: Client, elsewhere: Path, **options: Any) -> manifests.Manifest:
    """A copy of another machine stands in the spool with its manifest, and its job waits."""
    manifest, _ = make_files(folder=elsewhere, **options)
    beside = elsewhere / manifests.manifest_name(manifest.file.name)
    send(client, (elsewhere / manifest.file.name).read_bytes(), beside.read_bytes())
    return manifest


def test_a_manifest_beside_it_does_not_bring_code_in(
    admin: Client, elsewhere: Path, take_dump: Callable[[str], bytes]
) -> None:
    evil = take_dump("django_session").replace(
        b"CREATE TABLE public.django_session", b"DO $$BEGIN END$$;--.django_session"
    )
    manifest = brought(admin, elsewhere, content=evil)
    with pytest.raises(JobFailed, match=r"may not bring: TABLE public\.django_session"):
        run_receive(job_of())
    assert on_disk() == set()
    assert spooled() == []
    # What bears our seal is left to the proof, which knows it as ours.
    Job.objects.all().delete()
    data = (elsewhere / manifest.file.name).read_bytes()
    send(admin, data, seals.sealed(manifest).to_bytes())
    run_receive(job_of())
    assert str(Backup.objects.get().pk) == manifest.id


def test_a_bare_dump_is_encrypted_as_every_copy_is_and_comes_once(
    admin: Client, folder: Path, settings: Any, take_dump: Callable[[str], bytes]
) -> None:
    settings.ARC_BACKUP_RECIPIENTS = [str(pyrage.x25519.Identity.generate().to_public())]
    send(admin, take_dump("django_session"), name="their.dump")
    (data,) = spooled()
    one, two = (
        receiving.accept(data, None, "their.dump") for _ in "12"
    )  # a run that was killed, and the next
    assert one.pk == two.pk
    assert Backup.objects.get().encrypted
    assert on_disk() == {one.file, manifests.manifest_name(one.file)}
    assert (folder / one.file).read_bytes().startswith(b"age-encryption.org/v1")


@pytest.mark.parametrize(("year", "shown"), [(2100, timezone.now().year), (10_900, 1970)])
def test_a_bare_dump_that_tells_no_time_that_was_is_never_newer_than_now(
    admin: Client, take_dump: Callable[[str], bytes], year: int, shown: int
) -> None:
    def told(year: int) -> bytes:
        return b"\0" + (year - 1900).to_bytes(4, "little")

    dump = take_dump("django_session")
    now = told(datetime.now().astimezone().year)
    assert now in dump[:60]
    send(admin, dump.replace(now, told(year), 1), name="their.dump")
    run_receive(job_of())
    taken_at = Backup.objects.get().taken_at
    assert taken_at is not None
    assert taken_at <= timezone.now()
    assert taken_at.year == shown


def test_a_bare_dump_that_unpacks_without_end_leaves_nothing(
    admin: Client, monkeypatch: pytest.MonkeyPatch, take_dump: Callable[[str], bytes]
) -> None:
    monkeypatch.setattr(receiving, "HARMLESS", 100)
    monkeypatch.setattr(receiving, "MOST_RATIO", 0)
    send(admin, zstandard.compress(take_dump("django_session")), name="their.dump")
    with pytest.raises(JobFailed, match="made to fill a disk"):
        run_receive(job_of())
    assert on_disk() == set()
    assert spooled() == []


def test_a_copy_that_is_being_deleted_does_not_come_in(admin: Client, elsewhere: Path) -> None:
    manifest = brought(admin, elsewhere, source="redis-state", format_="rdb")
    copy("deleted", pk=uuid.UUID(manifest.id), local=False, delete_trouble="It was begun.")
    with pytest.raises(JobFailed, match="being taken or deleted just now"):
        run_receive(job_of())
    assert on_disk() == set()


def test_a_copy_whose_manifest_does_not_fit_leaves_nothing(
    admin: Client, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought(admin, elsewhere, source="redis-state", format_="rdb")
    data, beside = spooled()
    monkeypatch.setattr(import_module("arcweb.backups.places.folder"), "free_bytes", lambda folder: 1000)
    with pytest.raises(SpaceError):
        receiving.accept(data, beside, "x")
    assert on_disk() == set()


def test_a_disk_without_links_keeps_a_copy_all_the_same(
    admin: Client, folder: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = brought(admin, elsewhere, source="redis-state", format_="rdb")

    def refused(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    run_receive(job_of())
    assert (folder / manifest.file.name).read_bytes() == (elsewhere / manifest.file.name).read_bytes()
    assert spooled() == []


def test_a_form_brings_one_file_and_one_short_manifest(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = [SimpleUploadedFile(name, name.encode()) for name in ("one", "two")]
    assert admin.post(URL, {"data": twice}).status_code == 302
    assert [path.read_bytes() for path in spooled()] == [b"one"]
    spooled()[0].unlink()
    monkeypatch.setattr(manifests, "LONGEST", 1000)
    assert send(admin, b"x" * 2000, b"{" * 1001).status_code == 413
    assert spooled() == []


def test_an_upload_that_does_not_come_whole_leaves_nothing(admin: Client) -> None:
    body = (
        b"--x\r\nContent-Disposition: form-data; name=data; filename=a\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nabc=d\r\n--x--\r\n"
    )
    answer = admin.generic("POST", URL, body, "multipart/form-data; boundary=x")
    assert answer.status_code == 400
    assert "did not come whole" in answer.content.decode()
    assert spooled() == []


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_disk_that_takes_no_more_ends_an_upload_in_words(size: int) -> None:
    """At once, or when what is still in memory is to be written."""
    handler = spooling.SpoolHandler()
    handler.new_file("data", "x", "application/octet-stream", None)
    handler._out.close()
    handler._out = Path("/dev/full").open("wb")  # noqa: SIM115 - the handler closes it

    def write() -> None:
        handler.receive_data_chunk(b"x" * size, 0)
        handler.file_complete(size)

    with pytest.raises(StopUpload):
        write()
    assert "could not be written: No space left" in handler.why
    assert spooled() == []


def test_a_spool_that_cannot_be_made_is_told(admin: Client, settings: Any) -> None:
    settings.ARC_BACKUP_DIR = Path("/dev/null/backups")
    answer = send(admin, b"x" * 2000)
    assert answer.status_code == 413
    assert "The spool of the backups cannot be written" in answer.content.decode()


def test_a_fault_of_our_own_leaves_nothing_of_an_upload(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(receiving, "enqueue", failing)
    with pytest.raises(RuntimeError, match="of our own"):
        send(admin, b"x" * 2000)
    assert spooled() == []


def test_a_job_whose_file_was_swept_says_what_to_do() -> None:
    with pytest.raises(JobFailed, match="not in the spool any longer: upload it again"):
        run_receive(JobContext(uuid.uuid4(), {"data": "upload-data-1", "manifest": "", "original": "x"}))


@pytest.mark.parametrize(("threads", "most"), [(1, 1), (8, 2), (64, 4)])
def test_some_threads_carry_transfers_and_at_least_one_does(settings: Any, threads: int, most: int) -> None:
    settings.ARC_WEB_THREADS = threads
    assert [slots.take() for _ in range(most + 1)] == [True] * most + [False]
    for _ in range(most):
        slots.give_back()


def test_uploads_leave_threads_for_the_pages(admin: Client, settings: Any) -> None:
    settings.ARC_WEB_THREADS = 4
    assert slots.take()
    assert send(admin, b"x" * 2000).status_code == 503
    assert spooled() == []
    slots.give_back()
    assert send(admin, b"x" * 2000).status_code == 302
