"""Retention carried out, and copies deleted by hand: what goes, what stays, what faults leave."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from arcweb.backups import manifest as manifests
from arcweb.backups import places, pruning, server
from arcweb.backups.exceptions import BackupError
from arcweb.backups.job_handlers.keeping import run_delete, run_prune
from arcweb.backups.keeping import deletion, pins
from arcweb.backups.keeping.deletion import Refused
from arcweb.backups.models import Backup, Retention
from arcweb.backups.places.base import PlaceError
from arcweb.backups.restore.journal import Folder
from arcweb.backups.turns import turn
from arcweb.events.models import Event
from arcweb.jobs import ledger
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed, RetryLater
from arcweb.jobs.models import Job
from tests.backups.made import make_copy, on_disk

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def only_the_last() -> None:
    Retention.objects.create(last=1, daily=0, weekly=0, monthly=0, yearly=0)


def files_of(*several: Backup) -> set[str]:
    return {name for one in several for name in (one.file, manifests.manifest_name(one.file))}


def state(backup: Backup) -> str:
    return str(Backup.objects.get(pk=backup.pk).state)


def test_what_the_policy_does_not_keep_goes_with_its_files_and_an_event(folder: Path) -> None:
    only_the_last()
    new, old, older = (make_copy(days=days) for days in (0, 1, 2))
    seen = pruning.preview()
    assert [line.backup.pk for line in seen.going] == [older.pk, old.pk]
    assert seen.bytes == (old.bytes or 0) + (older.bytes or 0)
    assert [line.reasons[0] for line in seen.staying] == ["the last proven copy"]
    assert pruning.prune(dry_run=True).bytes == seen.bytes
    assert on_disk() == files_of(new, old, older)

    done = pruning.prune()
    assert done.to_json() == {
        "dry_run": False,
        "deleted": [str(older.pk), str(old.pk)],
        "bytes": seen.bytes,
        "kept": 1,
        "failed": {},
    }
    assert on_disk() == files_of(new)
    row = Backup.objects.get(pk=old.pk)
    assert (row.state, row.local, row.delete_trouble) == ("deleted", False, "")
    assert row.deleted_at is not None
    event = Event.objects.filter(kind="backup.deleted").first()
    assert event is not None
    assert event.data["reason"] == "no rule keeps it"
    assert pruning.prune().deleted == []


def test_without_a_row_the_defaults_hold(folder: Path) -> None:
    assert pruning.policy() == pruning.Policy(7, 7, 4, 12, 3)


def test_copies_of_other_kinds_and_parts_stand_in_for_none(folder: Path) -> None:
    only_the_last()
    for days, options in (
        (5, {}),
        (1, {"scope": {"agent": "a", "name": "then"}}),
        (2, {"scope": {"schema": "agents"}}),
        (3, {"format_": "base"}),
        (4, {"source": "redis-state", "format_": "rdb"}),
        (4, {"source": "redis-cache", "format_": "rdb"}),
    ):
        make_copy(days=days, **options)  # type: ignore[arg-type]
    assert not pruning.preview().going
    same = make_copy(days=6, format_="plain")
    renamed = make_copy(days=7, scope={"agent": "a", "name": "now"})
    assert {line.backup.pk for line in pruning.preview().going} == {same.pk, renamed.pk}


def test_a_proven_copy_whose_file_is_gone_pushes_out_none(folder: Path) -> None:
    only_the_last()
    cut, lost, bare, whole = (make_copy(days=days) for days in (0, 1, 2, 3))
    (folder / lost.file).unlink()
    (folder / cut.file).write_bytes(b"cut")
    (folder / manifests.manifest_name(bare.file)).unlink()
    assert pruning.prune().deleted == []
    assert state(whole) == "verified"
    stays = {line.backup.pk: line.reasons for line in pruning.preview().staying}
    assert stays[lost.pk] == ("its files cannot be seen now: it counts for nothing",)


def test_a_folder_that_is_not_there_is_no_reason_to_delete(settings: Any, folder: Path) -> None:
    only_the_last()
    make_copy(), make_copy(days=3)
    settings.ARC_BACKUP_DIR = folder.parent / "not-mounted"
    assert pruning.prune().deleted == []


def test_a_file_that_cannot_be_deleted_leaves_the_row_with_the_reason_and_is_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_the_last()
    new, old, older = (make_copy(days=days) for days in (0, 1, 2))
    unlink = Path.unlink

    def refusing(path: Path, *given: Any, **named: Any) -> None:
        if path.name == older.file:
            raise PermissionError(13, "Operation not permitted")
        unlink(path, *given, **named)

    monkeypatch.setattr(Path, "unlink", refusing)
    done = pruning.prune()
    assert done.deleted == [str(old.pk)]  # one that fails stops no other
    assert "Operation not permitted" in done.failed[str(older.pk)]
    row = Backup.objects.get(pk=older.pk)
    assert (row.state, row.local) == ("deleted", True)
    assert "cannot lose" in row.delete_trouble
    assert list(Backup.objects.listed().filter(state="deleted")) == [row]
    with pytest.raises(JobFailed, match="tries again: The folder"):
        run_prune(JobContext(older.pk, {}))
    monkeypatch.undo()
    assert run_prune(JobContext(older.pk, {}))["deleted"] == [str(older.pk)]
    assert on_disk() == files_of(new)
    assert not Backup.objects.listed().filter(state="deleted").exists()
    assert Event.objects.filter(kind="backup.deleted", object_id=str(older.pk)).count() == 1


@pytest.mark.parametrize("dies_at", ["before", "between"])
def test_a_run_that_is_killed_leaves_a_copy_that_counts_for_nothing_and_the_next_ends_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    only_the_last()
    new, old = make_copy(), make_copy(days=1)
    unlink = Path.unlink

    class KilledError(BaseException): ...

    def dying(path: Path, *given: Any, **named: Any) -> None:
        if dies_at == "between" and path.name == old.file:
            unlink(path)
            return
        raise KilledError

    monkeypatch.setattr(Path, "unlink", dying)
    with pytest.raises(KilledError):
        pruning.prune()
    monkeypatch.undo()
    # The event and the row came first: nothing that is half deleted counts.
    assert state(old) == "deleted"
    assert Event.objects.filter(kind="backup.deleted").count() == 1
    assert manifests.manifest_name(old.file) in on_disk()  # a manifest alone, never data alone
    assert (old.file in on_disk()) == (dies_at == "before")
    from arcweb.backups import catalogue

    catalogue.scan()
    assert state(old) == "deleted"  # a scan brings none back that is being deleted
    assert pruning.prune().deleted == [str(old.pk)]
    assert on_disk() == files_of(new)


def test_a_copy_that_is_pinned_or_used_meanwhile_stays(folder: Path) -> None:
    only_the_last()
    make_copy()
    pinned, used, gone = (make_copy(days=days) for days in (3, 2, 1))

    def meanwhile(done: int, total: int, words: str) -> None:
        if words == pinned.file:
            pins.pin(pinned.pk, "before the audit")
            ledger.enqueue("backup-upload", target="x", params={"backup": str(used.pk)})

    assert pruning.prune(check=meanwhile).deleted == [str(gone.pk)]
    assert state(used) == state(pinned) == "verified"


def test_a_copy_that_became_the_last_proven_one_meanwhile_stays(folder: Path) -> None:
    only_the_last()
    newest, old, older = (make_copy(days=days) for days in (0, 1, 2))

    def meanwhile(done: int, total: int, words: str) -> None:
        if words == older.file:
            Backup.objects.filter(pk=newest.pk).update(state="bad")

    assert pruning.prune(check=meanwhile).deleted == [str(older.pk)]
    assert state(old) == "verified"
    assert files_of(old) <= on_disk()


def test_copies_in_a_store_that_does_not_answer_push_out_none(
    folder: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_the_last()
    old, newest = make_copy(days=1), make_copy(remote=True)
    for name in files_of(newest):
        (folder / name).unlink()
    Backup.objects.filter(pk=newest.pk).update(local=False)
    settings.ARC_BACKUP_S3_BUCKET, settings.ARC_BACKUP_S3_ENDPOINT = "copies", "http://127.0.0.1:1"
    settings.ARC_BACKUP_S3_KEY_ID = settings.ARC_BACKUP_S3_SECRET = "nobody's"
    monkeypatch.setattr("arcweb.backups.places.s3.TRIES", 1)
    assert run("--dry-run")[1]["deleted"] == []
    assert pruning.prune().deleted == []
    assert on_disk() == files_of(old)


def test_whoever_pins_a_copy_after_it_was_looked_at_keeps_it(folder: Path) -> None:
    make_copy()
    old = make_copy(days=1)
    assert deletion.claim(old.pk, lambda: str(pins.pin(old.pk, "in this moment"))) is None
    assert state(old) == "verified"
    assert not Event.objects.filter(kind="backup.deleted").exists()


def test_one_decides_at_a_time_what_goes(folder: Path) -> None:
    make_copy()
    old = make_copy(days=1)
    with server.connect() as another:
        another.execute("SELECT pg_advisory_lock(hashtextextended('arcweb.backups.keeping', 0))")
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '100ms'")
            with pytest.raises(OperationalError, match="lock timeout"), transaction.atomic():
                deletion.claim(old.pk, lambda: "by hand")
            cursor.execute("SET LOCAL lock_timeout = 0")
        # Its session ends some moments after it is closed.
        another.execute("SELECT pg_advisory_unlock(hashtextextended('arcweb.backups.keeping', 0))")
    assert state(old) == "verified"
    assert deletion.claim(old.pk, lambda: "by hand") is not None
    assert deletion.claim(old.pk, lambda: "once more") is None, "somebody was quicker"
    event = Event.objects.get(kind="backup.deleted", object_id=str(old.pk))
    assert event.data == {"bytes": old.bytes, "reason": "by hand"}


def test_the_last_proven_copy_is_refused_by_hand_in_words(folder: Path) -> None:
    last = make_copy()
    make_copy("written", days=0.5)
    make_copy("bad", days=1)
    with pytest.raises(Refused, match="the last proven copy of PostgreSQL"):
        deletion.delete(last.pk, reason="by hand")
    assert on_disk() >= files_of(last)
    assert not Event.objects.filter(kind="backup.deleted").exists()
    make_copy(days=2)
    deletion.delete(last.pk, reason="by hand")


def test_by_hand_a_copy_whose_file_is_gone_stands_in_for_none(folder: Path) -> None:
    old, newest = make_copy(days=1), make_copy()
    (folder / newest.file).unlink()
    assert "the last proven copy" in deletion.why_not(old)
    make_copy(days=2)
    assert deletion.why_not(old) == ""


def test_by_hand_the_row_counts_no_longer_at_once_and_a_job_removes_the_files(folder: Path) -> None:
    make_copy()
    backup = make_copy(days=1)
    job = deletion.delete(backup.pk, reason="by hand")
    assert state(backup) == "deleted"
    assert Backup.objects.get(pk=backup.pk).delete_trouble == deletion.BEGUN
    assert files_of(backup) <= on_disk()
    assert run_delete(JobContext(job.pk, job.params)) == {"deleted": True}
    assert not files_of(backup) & on_disk()
    assert run_delete(JobContext(job.pk, job.params)) == {"deleted": True}  # delivered again
    with pytest.raises(Refused, match="deleted already"):
        deletion.delete(backup.pk, reason="by hand")


def test_an_unpacked_or_fetched_file_of_a_deleted_copy_goes_too(folder: Path) -> None:
    make_copy()
    backup = make_copy(days=1)
    (folder / "spool").mkdir(exist_ok=True)
    (folder / "spool" / backup.file).write_bytes(b"fetched from the store")
    job = deletion.delete(backup.pk, reason="by hand")
    assert run_delete(JobContext(job.pk, job.params)) == {"deleted": True}
    assert not (folder / "spool" / backup.file).exists()


def test_copies_that_somebody_put_here_and_those_of_others_wait_for_a_person(folder: Path) -> None:
    only_the_last()
    make_copy()
    brought = make_copy("written", days=300, trigger="found")
    strangers = make_copy(days=301, owner="elsewhere")
    assert not {line.backup.pk for line in pruning.preview().going} & {brought.pk, strangers.pk}


def test_a_copy_found_bad_yesterday_is_evidence_whenever_it_was_taken(folder: Path) -> None:
    only_the_last()
    make_copy()
    now = timezone.now()
    fresh = make_copy("bad", days=300, checked_at=now - timedelta(days=1))
    rotten = make_copy("bad", days=300, checked_at=now - timedelta(days=200))
    assert {line.backup.pk for line in pruning.preview().going} == {rotten.pk}
    assert state(fresh) == "bad"


def test_pinned_used_and_needed_copies_are_refused_by_hand(folder: Path) -> None:
    make_copy(), make_copy(format_="base", days=4)
    base = make_copy(format_="base", days=3)
    child = make_copy(format_="incremental", days=2, parent=base)
    assert "1 incremental copy builds upon it" in deletion.why_not(base)
    assert deletion.why_not(child) == ""
    assert pins.pin(child.pk, "for the audit")
    assert not pins.pin(child.pk, "again")
    child.refresh_from_db()
    assert (child.pin_reason, child.pinned_by) == ("for the audit", "ARC Web")
    assert "pinned by ARC Web" in deletion.why_not(child)
    assert pins.unpin(child.pk)
    assert not pins.unpin(child.pk)
    child.refresh_from_db()
    ledger.enqueue("backup-upload", target="x", params={"backup": str(child.pk)})
    assert "Put backup into the store" in deletion.why_not(child)
    assert "being taken" in deletion.why_not(make_copy("running"))
    assert deletion.why_not(make_copy("failed", local=False)) == ""


def test_nothing_is_deleted_by_hand_while_a_restore_is_under_way(folder: Path) -> None:
    make_copy()
    old = make_copy(days=1)
    with Folder(folder).locked("a restore"):
        assert "A restore is under way" in deletion.why_not(old)
        with pytest.raises(RetryLater, match="restore is under way"):
            run_prune(JobContext(old.pk, {}))
    assert deletion.why_not(old) == ""


def test_a_restore_that_begins_while_retention_runs_keeps_what_is_left(folder: Path) -> None:
    only_the_last()
    make_copy()
    old = make_copy(days=1)
    with Folder(folder).locked("a restore"):
        assert pruning.prune().deleted == []
    assert state(old) == "verified"
    assert pruning.prune().deleted == [str(old.pk)]


def test_retention_waits_for_a_backup(folder: Path) -> None:
    make_copy()
    old = make_copy(days=1)
    with turn("backup"), pytest.raises(RetryLater, match="A backup is under way"):
        run_prune(JobContext(old.pk, {}))


def test_what_is_in_a_store_that_is_set_up_no_longer_is_left_and_told(folder: Path) -> None:
    only_the_last()
    make_copy()
    old = make_copy(days=1, remote=True)
    assert "ARC_BACKUP_S3_BUCKET" in pruning.prune().failed[str(old.pk)]
    assert files_of(old) <= on_disk()


def test_the_number_of_queries_does_not_grow_with_the_copies(folder: Path) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as found:
            pruning.preview()
        return len(found)

    make_copy()
    few = queries()
    for days in range(1, 30):
        make_copy(days=days, size=10)
    assert queries() == few == 3


def run(*words: str) -> tuple[int, Any]:
    out = StringIO()
    try:
        call_command("backup", "prune", *words, "--json", stdout=out, stderr=out)
    except SystemExit as error:
        return int(error.code or 0), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def test_the_command_says_what_would_go_and_what_went(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_the_last()
    new, old = make_copy(), make_copy(days=1)
    code, found = run("--dry-run")
    assert (code, found["dry_run"], found["bytes"]) == (0, True, old.bytes)
    assert found["deleted"] == [{"id": str(old.pk), "file": old.file, "why": "no rule keeps it"}]
    assert found["kept"][0]["why"][0] == "the last proven copy"
    assert found["policy"] == {"last": 1, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0}
    assert files_of(old) <= on_disk()
    with turn("backup"):
        code, told = run()
        assert (code, told["ok"]) == (3, False)
    remove = deletion.remove_files
    monkeypatch.setattr(
        deletion, "remove_files", lambda backup: (_ for _ in ()).throw(PlaceError("It is stuck."))
    )
    code, found = run()
    assert (code, found["failed"]) == (1, [{"id": str(old.pk), "why": "It is stuck."}])
    monkeypatch.setattr(deletion, "remove_files", remove)
    code, found = run()
    assert (code, found["deleted"][0]["file"]) == (0, old.file)
    assert on_disk() == files_of(new)
    out = StringIO()
    call_command("backup", "prune", stdout=out)
    assert f"stays    {new.file}: the last proven copy" in out.getvalue()
    assert "0 copies, 0 B are free; 1 stay." in out.getvalue()


def test_a_folder_that_cannot_be_read_ends_the_run_in_words(folder: Path, settings: Any) -> None:
    settings.ARC_BACKUP_DIR = folder / "a-file"
    settings.ARC_BACKUP_DIR.write_text("")
    with pytest.raises(BackupError, match="cannot be listed"):
        pruning.prune()
    with pytest.raises(JobFailed, match="cannot be listed"):
        run_prune(JobContext(Backup().pk, {}))
    assert places.folder().path == folder / "a-file"
    assert not Job.objects.exists()
