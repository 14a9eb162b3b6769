"""What a restore to a chosen time does, as a file outside of the cluster that it replaces. No Django.

ARC_BACKUP_DIR/journal/<id>.time, beside the journals of `arcweb.backups.restore` and under their lock.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from arcweb.backups.restore.journal import RUNS, WAITS, Folder, Step, now, put

ENDING = ".time"
#: preparing → waiting (for the confirmation) → exchanging → finished → undone; failed, discarded.
ASKED, PREPARING, WAITING, CONFIRMED = "asked", "preparing", "waiting", "confirmed"
EXCHANGING, FINISHED, BROKEN, DROPPED = "exchanging", "finished", "failed", "discarded"
#: Some process should be at work on it.
BUSY = (ASKED, PREPARING, CONFIRMED, EXCHANGING)
STEPS = {
    "log": "Bring the newest log to the archive",
    "choose": "Choose the base backup",
    "unpack": "Unpack it into a new cluster",
    "recover": "Follow the log to the chosen time",
    "check": "Read every table",
    "pause": "Pause web, workers and beat",
    "carry": "Carry over what is newer",
    "exchange": "Exchange the clusters",
    "settle": "Look whether it works",
}
BEFORE_CONFIRMATION = ("log", "choose", "unpack", "recover", "check")


@dataclass
class Journal:
    """target: the chosen time, ISO. new, before: names of folders beside the live cluster."""

    id: str
    state: str
    created_at: str
    target: str
    new: str
    before: str
    actor: dict[str, str] = field(default_factory=dict)
    confirmed_by: dict[str, str] = field(default_factory=dict)
    timeline: int = 0
    copies: list[str] = field(default_factory=list)  #: files of the chain that was unpacked
    reached: str = ""  #: the time of the last transaction that the new cluster holds
    facts: dict[str, Any] = field(default_factory=dict)
    #: {"table", "live", "new"}: rows in the live database and in the new one; None: it is not there.
    tables: list[dict[str, Any]] = field(default_factory=list)
    trouble: str = ""
    finished_at: str = ""
    keep_until: str = ""
    dropped_at: str = ""
    undone_at: str = ""
    undo_asked: bool = False
    undoing: str = ""  #: since when a process is at it
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def begin(cls, target: str, actor: dict[str, str]) -> Journal:
        id_ = str(uuid.uuid4())
        return cls(
            id_,
            ASKED,
            now(),
            target,
            f"postgres.restored-{id_[:8]}",
            f"postgres.before-{id_[:8]}",
            actor,
            steps=[Step(name, title) for name, title in STEPS.items()],
        )

    def step(self, name: str) -> Step:
        return next(one for one in self.steps if one.name == name)

    @property
    def running_step(self) -> Step | None:
        return next((one for one in self.steps if one.state == RUNS), None)

    @property
    def is_busy(self) -> bool:
        return self.state in BUSY or self.undo_asked or bool(self.undoing)

    @property
    def is_active(self) -> bool:
        """A process has begun with it: where none works on it any more, it was killed."""
        return self.state in (PREPARING, EXCHANGING) or bool(self.undoing)

    @property
    def is_settled(self) -> bool:
        """Nobody waits for it, and no cluster of it is left."""
        return self.state in (BROKEN, DROPPED) or (self.state == FINISHED and bool(self.dropped_at))

    @property
    def title(self) -> str:
        return f"the {'undo of the ' if self.undoing else ''}restore {self.id[:8]} to {self.target[:19]} UTC"

    @property
    def undone(self) -> str:
        """What the restored cluster is called after an undo."""
        return f"postgres.undone-{self.id[:8]}"

    @property
    def kind(self) -> str:
        return "restore"

    @property
    def can_undo(self) -> bool:
        """Also where the restored cluster is live and could not be settled: its trouble says why."""
        if self.undone_at or self.dropped_at:
            return False
        if self.state == EXCHANGING:
            return bool(self.trouble)
        return self.state == FINISHED and self.keep_until > now()

    def again(self) -> None:
        """The steps from the confirmation on wait once more."""
        for one in self.steps:
            if one.name not in BEFORE_CONFIRMATION:
                one.state, one.sentence, one.started_at, one.finished_at = WAITS, "", "", ""


@dataclass(frozen=True)
class Journals:
    """Of that ARC_BACKUP_DIR."""

    backups: Path

    @property
    def folder(self) -> Folder:
        return Folder(self.backups)

    def write(self, journal: Journal) -> None:
        """Whole and on the disk, or as it was before. Raises OSError."""
        self.folder.make()
        put(self.path_of(journal), json.dumps(asdict(journal), indent=1).encode())

    def path_of(self, journal: Journal) -> Path:
        return self.folder.path / f"{journal.id}{ENDING}"

    def unfinished(self) -> list[Journal]:
        """Those that some process should be working on."""
        return [one for one in self.all() if one.is_active]

    def read(self, id_: str) -> Journal | None:
        try:
            return _read(self.folder.path / f"{uuid.UUID(id_)}{ENDING}")
        except ValueError:
            return None

    def all(self) -> list[Journal]:
        """Newest first."""
        found = [_read(path) for path in self.folder.path.glob(f"*{ENDING}")]
        return sorted((one for one in found if one), key=lambda one: one.created_at, reverse=True)


def _read(path: Path) -> Journal | None:
    try:
        found = json.loads(path.read_text())
        known, steps = {one.name for one in fields(Journal)}, {one.name for one in fields(Step)}
        values = {key: value for key, value in found.items() if key in known}
        values["steps"] = [
            Step(**{key: value for key, value in one.items() if key in steps}) for one in found["steps"]
        ]
        return Journal(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
