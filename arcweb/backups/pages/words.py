"""A copy as pages show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from arcweb.backups.models import Backup
from arcweb.charts import size
from arcweb.jobs.progress import duration
from arcweb.panels import State

#: State → (shape, word, what it means).
STATES: dict[str, tuple[State, str, str]] = {
    "running": ("idle", "Being taken", "Nothing stands under its final name yet."),
    "written": ("warn", "Written", "Whole on the disk, and not read back since."),
    "hashed": ("warn", "Hashed", "Read back with the hash of its manifest; nobody has restored it."),
    "verified": ("good", "Proven", "Restored into a scratch database and compared."),
    "bad": ("bad", "Bad", "It is kept, and counts no longer."),
    "failed": ("bad", "Failed", "There is no copy."),
    "deleted": ("idle", "Deleted", "Its files are gone."),
}


ELSEWHERE = (
    "It is of another installation, or bears no seal of this one: it can be proven and restored, and is no "
    "restore point of what is live here. Retention leaves it alone; it is deleted by hand."
)


def ago(moment: datetime | None) -> str:
    """ "3 h 5 min ago"; "" for None."""
    return f"{duration((timezone.now() - moment).total_seconds())} ago" if moment else ""


@dataclass(frozen=True)
class Line:
    """A row of the list."""

    backup: Backup

    @property
    def shape(self) -> State:
        return STATES[self.backup.state][0]

    @property
    def word(self) -> str:
        return STATES[self.backup.state][1]

    @property
    def means(self) -> str:
        return STATES[self.backup.state][2]

    @property
    def origin(self) -> str:
        """What it means that it is from elsewhere; "" for our own."""
        return ELSEWHERE if self.backup.elsewhere else ""

    @property
    def what(self) -> str:
        """ "PostgreSQL, custom dump, agent Ada"."""
        scope = self.backup.scope or {}
        part = ""
        if "agent" in scope:
            part = f", agent {scope.get('name') or scope['agent']}"
        elif "schema" in scope:
            part = f", schema {scope['schema']}"
        return f"{self.backup.get_source_display()}, {self.backup.get_format_display()}{part}"

    @property
    def age(self) -> str:
        return ago(self.backup.taken_at or self.backup.created_at)

    @property
    def size(self) -> str:
        return size(self.backup.bytes) if self.backup.bytes else ""

    @property
    def raw_size(self) -> str:
        return size(self.backup.raw_bytes) if self.backup.raw_bytes else ""

    @property
    def lasted(self) -> str:
        """How long taking it took."""
        one = self.backup
        if not one.finished_at:
            return ""
        seconds = (one.finished_at - one.created_at).total_seconds()
        return duration(seconds) if seconds >= 1 else "under 1 s"

    @property
    def places(self) -> str:
        one = self.backup
        named = [name for here, name in ((one.local, "here"), (one.remote, "S3")) if here]
        return ", ".join(named)
