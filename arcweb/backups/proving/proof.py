"""One copy proven: its file found, its manifest known, its bytes hashed, its content restored and compared.

The row's state changes by conditional updates: to hashed and verified when that much holds, to bad only for
what the copy itself is guilty of. A server away, no room, a missing right or a killed worker leave it as it
was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils.module_loading import import_string

from arcweb.backups import encryption, seals, server
from arcweb.backups.exceptions import BackupError, CorruptCopy, LockedOut
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.proving import finding, unpacking
from arcweb.backups.proving.ladder import MB, Console, Context, Copy, Ladder, NotTried, Step
from arcweb.backups.proving.registry import Prover, prover_of
from arcweb.charts import size
from arcweb.events import record

logger = logging.getLogger(__name__)
ELSEWHERE = (
    " The store may hold it whole: move the file and its manifest out of the folder, scan, and verify again."
)
LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"


@dataclass(frozen=True)
class Outcome:
    """verdict: "proven", "bad" or "not tried". result: as Backup.check_result."""

    verdict: str
    trouble: str
    result: dict[str, Any]


def prove(backup_id: UUID | str, context: Context | None = None, *, trusted: bool | None = None) -> Outcome:
    """Prove a copy of the catalogue, and write what came of it. For jobs and commands, not for requests.

    trusted: a person knows where the file comes from; None: it is ours by its seal, or it is not. Raises
    LockedOut while the same copy is proven elsewhere, Backup.DoesNotExist, and what the context raises to
    stop: then nothing is written. Errors of the database itself pass through.
    """
    backup = Backup.objects.get(pk=backup_id)
    ladder = Ladder(context or Console())
    with _alone(backup):
        outcome = _climb(ladder, lambda: _check(backup, ladder, trusted))
        _write(backup, outcome)
    return outcome


def prove_file(path: Path, context: Context | None = None, *, trusted: bool = False) -> Outcome:
    """Prove a file with its manifest beside it, known to the catalogue or not; nothing is written.

    Needs no tables of ours: the server, a template and the right to make a database are enough.
    """
    ladder = Ladder(context or Console())

    def check() -> None:
        with ladder.step("manifest") as step:
            manifest = finding.manifest_beside(path)
            step.sentence = finding.said(manifest)
        _check_file(path, manifest, ladder, trusted or seals.is_ours(manifest))

    return _climb(ladder, check)


def _climb(ladder: Ladder, check: Any) -> Outcome:
    """Runs the check; its end in one of three verdicts."""
    verdict, trouble = "proven", ""
    try:
        check()
    except CorruptCopy as error:
        verdict, trouble = "bad", str(error)
    except BackupError as error:
        verdict, trouble = "not tried", str(error)
    except OSError as error:
        verdict, trouble = "not tried", f"The file could not be read here: {error.strerror or error}."
    return Outcome(verdict, trouble, ladder.result(verdict, trouble))


def _check(backup: Backup, ladder: Ladder, trusted: bool | None) -> None:
    if backup.state not in (
        Backup.State.WRITTEN,
        Backup.State.HASHED,
        Backup.State.VERIFIED,
        Backup.State.BAD,
    ):
        raise NotTried(f"This backup is {backup.get_state_display()}: there is no file of it to verify.")
    with ladder.step("file", "looking for the file") as step:
        path, step.sentence = finding.file(backup, ladder)
    with ladder.step("manifest") as step:
        manifest = finding.manifest(backup)
        step.sentence = finding.said(manifest)
    ours = seals.is_ours(manifest) or backup.trigger != Backup.Trigger.FOUND
    _check_file(path, manifest, ladder, ours if trusted is None else trusted, backup)


def _check_file(
    path: Path, manifest: Manifest, ladder: Ladder, trusted: bool, backup: Backup | None = None
) -> None:
    prover = prover_of(manifest.format)
    packed, raw = manifest.file.bytes // MB, manifest.file.raw_bytes // MB
    ladder.total = max(1, packed + 4 * raw)
    with ladder.step("hash", "hashing", packed) as step:
        step.sentence = finding.hashed(path, manifest, ladder)
    copy = Copy(path, manifest, encryption.identities() if manifest.file.encryption else [], trusted=trusted)
    with _unpacked(copy, ladder, prover) as unpacked:
        if backup is not None:
            server.reconnect()
            Backup.objects.filter(pk=backup.pk, state=Backup.State.WRITTEN, sha256=backup.sha256).update(
                state=Backup.State.HASHED, hashed_at=Now()
            )
        if prover is None:
            raise NotTried(f"Copies of the format {manifest.format} cannot be restored for a trial here.")
        import_string(prover.path)(unpacked, ladder)


@contextmanager
def _unpacked(copy: Copy, ladder: Ladder, prover: Prover | None) -> Iterator[Copy]:
    """The copy with its raw bytes in a file where its prover wants that; else they were read to the end."""
    file, raw = copy.manifest.file, copy.manifest.file.raw_bytes
    packed = None if copy.trusted else file.bytes

    def said(done: int) -> None:
        ladder.say(f"unpacking: {size(done)} of {size(raw)}", done // MB)

    def checked(step: Step, found: unpacking.Unpacked) -> None:
        if (found.bytes, found.sha256) != (raw, file.raw_sha256):
            raise CorruptCopy(
                f"What comes out of {file.name} is not what was copied: {found.bytes:,} bytes instead of "
                f"{raw:,}, or other ones."
            )
        step.sentence = f"It unpacks whole: {size(raw)} with the hash of the manifest."

    if prover is not None and prover.unpack:
        folder = Path(settings.ARC_BACKUP_DIR)
        with unpacking.temporary(folder) as target:
            with ladder.step("unpacked", "unpacking", raw) as step:
                unpacking.keep_reserve(folder, raw)
                with copy.open() as source:
                    checked(step, unpacking.unpack(source, target, packed=packed, claimed=raw, progress=said))
            yield Copy(copy.path, copy.manifest, copy.identities, target, copy.trusted)
        return
    with ladder.step("unpacked", "unpacking", raw) as step, copy.open() as source:
        checked(step, unpacking.count(source, packed=packed, claimed=raw, progress=said))
    yield copy


def _write(backup: Backup, outcome: Outcome) -> None:
    """What came of it, on the row and as an event. A copy that was deleted meanwhile stays deleted."""
    server.reconnect()
    rows = Backup.objects.present().filter(pk=backup.pk)
    tried: dict[str, Any] = {"check_result": outcome.result, "checked_at": Now()}
    seconds = outcome.result["seconds"]
    with transaction.atomic():
        if outcome.verdict == "proven":
            values = {
                "state": Backup.State.VERIFIED,
                "verified_at": Now(),
                "trouble": "",
                "verify_seconds": seconds,
            }
            if rows.update(hashed_at=Now(), **values, **tried):
                record("backup.verified", obj=backup, data={"source": backup.source, "seconds": seconds})
        elif outcome.verdict == "bad":
            trouble = outcome.trouble + (ELSEWHERE if backup.local and backup.remote else "")
            if rows.update(state=Backup.State.BAD, trouble=trouble, **tried):
                record("backup.bad", obj=backup, note=trouble, data={"source": backup.source})
                below = f"It builds on {backup.file}, which is bad: it cannot be restored."
                Backup.objects.unprove_children(backup.pk, below)
        else:
            rows.update(**tried)
            logger.warning("The copy %s was not verified: %s", backup, outcome.trouble)


@contextmanager
def _alone(backup: Backup) -> Iterator[None]:
    """Nobody else proves the same copy meanwhile; the lock goes with its session. Raises LockedOut."""
    with server.connect(application="arcweb: verify") as connection:
        connection.execute("SELECT set_config('idle_session_timeout', '0', false)")
        name = f"arcweb.backups verify {backup.pk}"
        if not (connection.execute(LOCK, [name]).fetchone() or (False,))[0]:
            raise LockedOut(f"{backup} is being verified already: wait for its end.")
        try:
            yield
        finally:
            with suppress(psycopg.Error):
                connection.execute(UNLOCK, [name])  # its session ends some moments after it is closed
            connection.close()


__all__ = ["Outcome", "prove", "prove_file"]
