"""Copies between this machine and the store: what the catalogue says of them, and what faults leave."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from arcweb.backups import manifest as manifests
from arcweb.backups import places, taking
from arcweb.backups.exceptions import BackupError, CorruptCopy, SpaceError
from arcweb.backups.job_handlers.places import run_fetch, run_upload
from arcweb.backups.keeping import deletion
from arcweb.backups.models import Backup
from arcweb.backups.places import fetching, uploading
from arcweb.backups.places.base import PlaceError, Unreachable
from arcweb.events.models import Event
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobCancelled, JobFailed, RetryLater
from arcweb.jobs.models import Job
from tests.backups.made import make_copy, on_disk
from tests.backups.places.conftest import BUCKET, SECRET, Wire, keys, unfinished
from tests.people import client_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("set_up")]
MB = 1024**2


def at(backup: Backup) -> list[str]:
    """Where both files of a copy are in the store."""
    return sorted(f"arc/web/{name}" for name in (backup.file, manifests.manifest_name(backup.file)))


def in_store(raw: Any, **options: Any) -> Backup:
    """A copy that is nowhere but in the store."""
    backup = make_copy(**options)
    uploading.upload(backup.pk)
    for name in on_disk():
        (places.folder().path / name).unlink()
    Backup.objects.filter(pk=backup.pk).update(local=False)
    backup.refresh_from_db()
    return backup


def test_a_copy_is_put_there_with_its_manifest_and_the_row_says_so(raw: Any) -> None:
    backup = make_copy(remote_trouble="it was away")
    uploading.upload(backup.pk)
    assert sorted(keys(raw)) == at(backup)
    backup.refresh_from_db()
    assert (backup.remote, backup.remote_trouble) == (True, "")
    assert Event.objects.get(kind="backup.uploaded").object_id == str(backup.pk)
    manifest, _ = manifests.parse(
        places.store().read(manifests.manifest_name(backup.file), manifests.LONGEST)
    )
    assert manifest.id == str(backup.pk)


def test_a_deleted_copy_goes_from_the_store_too(raw: Any, wire: Wire) -> None:
    make_copy()
    backup = make_copy(days=1)
    uploading.upload(backup.pk)
    assert deletion.claim(backup.pk, lambda: "by hand") is not None
    wire.left = 0
    assert "did not answer" in deletion.finish(backup.pk)
    assert sorted(keys(raw)) == at(backup)
    assert {backup.file, manifests.manifest_name(backup.file)} <= on_disk(), "what is left is left whole"
    wire.left = None
    assert deletion.finish(backup.pk) == ""
    assert keys(raw) == []
    backup.refresh_from_db()
    assert (backup.local, backup.remote, backup.delete_trouble) == (False, False, "")


def test_what_was_cut_has_no_manifest_there_and_the_row_tells_why(raw: Any, wire: Wire) -> None:
    backup = make_copy(size=9 * MB)
    wire.left = 3 * MB
    with pytest.raises(Unreachable):
        uploading.upload(backup.pk)
    assert keys(raw) == []
    backup.refresh_from_db()
    assert backup.remote is False
    assert "did not answer, or not to the end" in backup.remote_trouble
    assert SECRET not in backup.remote_trouble


def test_a_manifest_that_could_not_be_put_leaves_data_that_count_for_nothing(
    raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup, put = make_copy(), places.S3Store.put

    def failing(store: Any, file: Path, name: str, **options: Any) -> str:
        if name.endswith(manifests.ENDING):
            raise Unreachable("The store went away.")
        return put(store, file, name, **options)

    monkeypatch.setattr(places.S3Store, "put", failing)
    with pytest.raises(Unreachable):
        uploading.upload(backup.pk)
    assert keys(raw) == [f"arc/web/{backup.file}"]
    assert not Backup.objects.get(pk=backup.pk).remote
    monkeypatch.undo()


def test_a_copy_that_was_changed_on_the_disk_is_not_sent(raw: Any) -> None:
    backup = make_copy()
    path = places.folder().path / backup.file
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptCopy):
        uploading.upload(backup.pk)
    assert keys(raw) == []


def test_a_copy_whose_files_are_gone_is_not_sent_and_the_row_tells_why(raw: Any) -> None:
    for name in (str, manifests.manifest_name):
        backup = make_copy()
        (places.folder().path / name(backup.file)).unlink()
        with pytest.raises(PlaceError, match="any longer; scan the folder"):
            uploading.upload(backup.pk)
        backup.refresh_from_db()
        assert name(backup.file) in backup.remote_trouble
    assert keys(raw) == []


def test_a_copy_deleted_while_it_was_sent_is_taken_out_again(raw: Any) -> None:
    backup = make_copy()

    def deleted(done: int) -> None:
        Backup.objects.filter(pk=backup.pk).update(state="deleted")

    with pytest.raises(BackupError, match="deleted meanwhile"):
        uploading.upload(backup.pk, deleted)
    assert keys(raw) == []
    with pytest.raises(BackupError, match="is put nowhere"):
        uploading.upload(backup.pk)
    assert keys(raw) == []
    assert not Event.objects.filter(kind="backup.uploaded").exists()


def test_what_the_store_has_not_is_queued_once_and_bad_ones_are_not(settings: Any) -> None:
    wanted = {str(make_copy(state).pk) for state in ("written", "hashed", "verified")}
    make_copy("bad")
    make_copy(remote=True)
    make_copy(owner="f" * 32)
    for _ in range(2):
        uploading.enqueue_missing()
    assert {job.params["backup"] for job in Job.objects.filter(kind="backup-upload")} == wanted
    assert Job.objects.filter(kind="backup-upload").count() == 3
    settings.ARC_BACKUP_S3_BUCKET = ""
    assert uploading.enqueue_missing() == []


def context_of(job: Job, attempt: int = 1) -> JobContext:
    return JobContext(job.pk, job.params, total=job.total, attempt=attempt)


def test_the_job_sends_waits_for_a_store_that_is_away_and_gives_up_on_one_that_refuses(
    raw: Any, wire: Wire, settings: Any
) -> None:
    backup = make_copy()
    job = uploading.enqueue(backup)
    assert (job.total, job.unit, job.max_attempts) == (1, "MB", 8)
    wire.left = 0
    with pytest.raises(RetryLater, match="did not answer") as later:
        run_upload(context_of(job))
    assert later.value.seconds == 30
    with pytest.raises(RetryLater) as later:
        run_upload(context_of(job, attempt=7))
    assert later.value.seconds == 30 * 64
    with pytest.raises(RetryLater) as later:
        run_upload(context_of(job, attempt=8))
    assert later.value.seconds == 3600
    wire.left = None
    assert run_upload(context_of(job)) == {"checked": "read back from the store, its SHA-256 compared"}
    assert run_upload(context_of(job))  # delivered again
    assert sorted(keys(raw)) == at(backup)
    settings.ARC_BACKUP_S3_BUCKET = "another"
    with pytest.raises(JobFailed, match="has no such bucket"):
        run_upload(context_of(uploading.enqueue(make_copy())))


def test_a_cancelled_upload_ends_and_leaves_nothing(raw: Any) -> None:
    context = context_of(uploading.enqueue(make_copy(size=9 * MB)))
    context.stop(lost=False)
    with pytest.raises(JobCancelled):
        run_upload(context)
    assert keys(raw) == []
    assert unfinished(raw) == []


def test_the_job_that_fetches(raw: Any) -> None:
    backup = in_store(raw)
    job = fetching.enqueue(backup)
    assert run_fetch(context_of(job)) == {"bytes": backup.bytes}
    assert fetching.local_path(backup) == places.spool() / backup.file
    Backup.objects.filter(pk=backup.pk).update(state="deleted")
    with pytest.raises(JobFailed, match="gone"):
        run_fetch(context_of(job))
    with pytest.raises(BackupError, match="neither in the folder nor in the store"):
        fetching.enqueue(make_copy())


def test_a_copy_comes_back_into_the_spool_once_and_is_swept(raw: Any) -> None:
    backup = in_store(raw, size=2 * MB)
    told: list[int] = []
    path = fetching.fetch(backup, told.append)
    assert path.parent == places.spool()
    assert [place.stat().st_mode & 0o777 for place in (path.parent, path)] == [0o700, 0o600]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == backup.sha256
    assert told[-1] == backup.bytes
    raw.delete_object(Bucket=BUCKET, Key=f"arc/web/{backup.file}")
    os.utime(path, (1, 1))
    assert fetching.fetch(backup) == path  # not asked for again, and in use
    assert fetching.sweep_spool() == 0
    os.utime(path, (1, 1))
    assert fetching.sweep_spool() == 1
    assert list(places.spool().iterdir()) == []


def test_a_copy_that_is_here_is_not_fetched(raw: Any) -> None:
    backup = make_copy(remote=True)
    assert fetching.fetch(backup) == places.folder().path / backup.file
    (places.folder().path / backup.file).write_bytes(b"cut")
    with pytest.raises(PlaceError, match="no object"):
        fetching.fetch(backup)


@pytest.mark.parametrize("change", ["other", "cut", "longer"])
def test_what_the_store_changed_is_not_taken_for_the_copy(raw: Any, change: str) -> None:
    backup = in_store(raw)
    key = f"arc/web/{backup.file}"
    data = raw.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    other = {"other": b"x" * len(data), "cut": data[:-5], "longer": data + b"x"}[change]
    raw.put_object(Bucket=BUCKET, Key=key, Body=other)
    with pytest.raises(CorruptCopy, match="longer" if change == "longer" else "changed or cut"):
        fetching.fetch(backup)
    assert list(places.spool().iterdir()) == []


def test_there_must_be_room_for_what_is_fetched(raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = in_store(raw)
    monkeypatch.setattr(fetching, "free_bytes", lambda folder: 1000)
    with pytest.raises(SpaceError, match="0 MB free"):
        fetching.fetch(backup)


def test_the_manifest_of_a_copy_that_is_only_there_is_the_same(raw: Any) -> None:
    backup = make_copy()
    beside = fetching.manifest_of(backup)
    (places.folder().path / manifests.manifest_name(backup.file)).unlink()
    assert fetching.manifest_of(backup) == beside
    assert hashlib.sha256(beside).hexdigest() == backup.manifest_sha256


def test_every_copy_that_is_taken_is_queued_for_the_store(settings: Any) -> None:
    backup = make_copy()
    for call in taking._afterwards:
        call(backup, taking.Options())
    assert Job.objects.get(kind="backup-upload").params == {"backup": str(backup.pk)}
    settings.ARC_BACKUP_S3_BUCKET = ""
    for call in taking._afterwards:
        call(make_copy(), taking.Options())
    assert Job.objects.filter(kind="backup-upload").count() == 1


def test_a_copy_that_was_not_sent_is_sent_again_by_a_button_on_its_page(raw: Any, wire: Wire) -> None:
    backup, operator = make_copy(), client_of("operator")
    page, button = f"/backups/{backup.pk}/", f"/backups/{backup.pk}/send/"
    wire.left = 0
    with pytest.raises(Unreachable):
        uploading.upload(backup.pk)
    wire.left = None
    assert "Send to S3 again" in operator.get(page).content.decode()
    assert "Send to S3" not in client_of("viewer").get(page).content.decode()
    assert client_of("viewer").post(button).status_code == 403
    assert operator.get(button).status_code == 405
    for _ in range(2):
        answer = operator.post(button)
        job = Job.objects.get(kind="backup-upload")
        assert answer.headers["Location"] == f"/jobs/job/{job.pk}/change/"
    asked = Event.objects.filter(kind="backup.send_asked")
    assert {one.object_id for one in asked} == {str(backup.pk)}
    shown = operator.get(page).content.decode()
    assert "Send to S3" not in shown  # while the job is under way
    assert job.title in shown
    run_upload(context_of(job))
    assert sorted(keys(raw)) == at(backup)
    assert "Send to S3" not in operator.get(page).content.decode()


def test_a_job_that_waits_for_its_next_try_is_sent_on_by_the_button(
    settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    backup, operator = make_copy(remote_trouble="It was away."), client_of("operator")
    job = uploading.enqueue(backup)
    waiting = Job.objects.filter(pk=job.pk)
    waiting.update(next_retry_at=timezone.now() + timedelta(hours=1))
    assert "Send to S3 again" in operator.get(f"/backups/{backup.pk}/").content.decode()
    with django_capture_on_commit_callbacks() as sent:
        operator.post(f"/backups/{backup.pk}/send/")
    assert len(sent) == 1
    assert waiting.get() in Job.objects.unsent()
    assert "Send to S3" not in operator.get(f"/backups/{backup.pk}/").content.decode()
    with django_capture_on_commit_callbacks() as sent:
        operator.post(f"/backups/{backup.pk}/send/")
    assert sent == []  # its message is on the way


@pytest.mark.parametrize("change", [{"remote": True}, {"local": False}, {"state": "bad"}, {}])
def test_what_need_not_or_cannot_be_sent_is_not(settings: Any, change: dict[str, Any]) -> None:
    backup = make_copy(**change)
    if not change:
        settings.ARC_BACKUP_S3_BUCKET = ""
    answer = client_of("operator").post(f"/backups/{backup.pk}/send/", follow=True)
    assert "is not sent: it is in the store, not whole here, or no store is set up" in answer.content.decode()
    assert not Job.objects.exists()
    assert not Event.objects.filter(kind="backup.send_asked").exists()
