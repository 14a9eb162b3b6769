"""From a page to the process that does it: a short job starts that process, so that no request does."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction
from django.urls import reverse

from arcweb.backups.models import Backup
from arcweb.backups.restore import asking, telling
from arcweb.backups.restore.journal import Journal
from arcweb.backups.restore.source import described
from arcweb.events import current_actor, record
from arcweb.jobs import ledger
from arcweb.jobs.models import Job

START, PART = "restore-start", "restore-part"


def begin_whole(backup: Backup, *, to_database: str = "") -> Journal:
    """A restore of that copy on its way. Raises BackupError."""
    journal = asking.restore(described(backup), telling.said_of(current_actor()), to_database=to_database)
    return go_on(journal)


def go_on(journal: Journal, first: Callable[[], None] = lambda: None) -> Journal:
    """Have a process do what the journal says. first: what writes it down. Raises BackupError."""
    first()
    with transaction.atomic():
        if journal.confirmed_at:
            telling.tell("restore.confirmed", journal)
        ledger.enqueue(
            START,
            target=journal.file,
            target_url=reverse("admin:backups_restore_page", args=[journal.id]),
            params={"restore": journal.id},
            title=f"Start the {journal.kind} of {journal.file}",
            unique_key=f"{START}:{journal.id}",
        )
    return journal


def begin_part(backup: Backup, *, agent: str = "", name: str = "", table: str = "") -> Job:
    """The job that restores one agent or one table out of that copy."""
    what = f"the table {table}" if table else f"the agent {agent}" + (f" as {name}" if name else "")
    with transaction.atomic():
        record("restore.started", obj=backup, data={"part": "table" if table else "agent"}, note=what)
        return ledger.enqueue(
            PART,
            target=backup.file,
            target_url=reverse("admin:backups_backup", args=[backup.pk]),
            params={"backup": str(backup.pk), "agent": agent, "name": name, "table": table},
            title=f"Restore {what}",
            unique_key=f"{PART}:{backup.pk}:{agent}:{name}:{table}",
        )
