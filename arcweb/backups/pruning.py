"""Retention carried out: what would go, and deleting it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from arcweb.backups.keeping import deletion, looks
from arcweb.backups.keeping.deletion import Refused
from arcweb.backups.models import Backup, Retention
from arcweb.backups.retention import Policy
from arcweb.jobs import ledger
from arcweb.jobs.models import Job

logger = logging.getLogger(__name__)
KIND = "backup-prune"


@dataclass(frozen=True)
class Line:
    """A copy, and why it stays or goes."""

    backup: Backup
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """What a run would do now. unfinished: deletions that were begun before and are tried again."""

    policy: Policy
    going: tuple[Line, ...]
    staying: tuple[Line, ...]
    unfinished: tuple[Backup, ...]

    @property
    def bytes(self) -> int:
        """That would be freed in each place that holds them."""
        return sum(line.backup.bytes or 0 for line in self.going)


@dataclass
class Pruned:
    """What a run did. Ids are those of copies."""

    deleted: list[str] = field(default_factory=list)
    bytes: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)  #: id → why its files are not all gone
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "dry_run": self.dry_run,
            "deleted": self.deleted,
            "bytes": self.bytes,
            "kept": self.kept,
            "failed": self.failed,
        }


def policy() -> Policy:
    """The policy in force."""
    row = Retention.objects.first() or Retention()
    return Policy(row.last, row.daily, row.weekly, row.monthly, row.yearly)


def preview(chosen: Policy | None = None, *, ask_store: bool = False) -> Preview:
    """What the policy in force, or that one, would delete and keep. Two queries.

    ask_store: look into the store whether copies that are only there still are; else the catalogue is
    believed. Raises PlaceError.
    """
    rows = looks.rows()
    chosen = chosen or policy()
    decision = looks.decide(rows, chosen, seen=looks.standing(rows, ask_store=ask_store))
    named = {str(row.pk): row for row in rows}
    return Preview(
        chosen,
        tuple(Line(named[id_], (decision.why[id_],)) for id_ in decision.delete),
        tuple(Line(named[id_], reasons) for id_, reasons in decision.keep.items()),
        tuple(unfinished()),
    )


def unfinished() -> list[Backup]:
    """Copies that are deleted but for files that could not be."""
    return list(Backup.objects.filter(state="deleted").exclude(delete_trouble="").defer("manifest"))


def prune(*, dry_run: bool = False, check: Callable[[int, int, str], None] | None = None) -> Pruned:
    """Delete what the policy no longer keeps, and finish deletions that failed before. For jobs and commands.

    check(done, total, words) may raise to stop between two copies. One that cannot be deleted stops no other.
    Raises BackupError when it cannot be said what there is.
    """
    found = preview(ask_store=True)
    done = Pruned(kept=len(found.staying), dry_run=dry_run)
    if dry_run:
        done.deleted, done.bytes = [str(line.backup.pk) for line in found.going], found.bytes
        return done
    work = [*found.unfinished, *(line.backup for line in found.going)]
    chosen = found.policy
    for number, backup in enumerate(work):
        if check is not None:
            check(number, len(work), backup.file)
        if backup.state != Backup.State.DELETED:
            try:
                claimed = deletion.claim(backup.pk, lambda backup=backup: _still_goes(backup, chosen))  # type: ignore[misc]
            except Refused as error:
                logger.info("%s is not deleted: %s", backup, error)
                done.kept += 1
                continue
            if claimed is None:
                continue
        if trouble := deletion.finish(backup.pk):
            done.failed[str(backup.pk)] = trouble
        else:
            done.deleted.append(str(backup.pk))
            done.bytes += backup.bytes or 0
    return done


def enqueue() -> Job:
    """The job that runs retention, in the caller's transaction; the one under way if there is one."""
    return ledger.enqueue(
        KIND, target="backups", params={}, title="Run retention of backups", unique_key=KIND
    )


def _still_goes(backup: Backup, chosen: Policy) -> str:
    """Why the policy deletes it, asked again under the lock. Raises Refused when it no longer does."""
    rows = looks.rows()
    decision = looks.decide(rows, chosen, seen=looks.standing(rows, ask_store=False))
    if (reason := decision.why.get(str(backup.pk))) is None:
        raise Refused("the catalogue changed meanwhile, and it stays")
    if trouble := deletion.in_use(backup):
        raise Refused(trouble)
    return reason
