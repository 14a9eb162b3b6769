"""What a restore does, as a file outside of the database that it replaces. No Django.

ARC_BACKUP_DIR/journal/<id>.json, written whole and synced at each step: the page reads it while the
database is away, and whoever finds it after a crash knows the names and numbers of both databases.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from arcweb.backups.exceptions import LockedOut
from arcweb.backups.manifest import sync_folder

#: Of a step.
WAITS, RUNS, DONE, FAILED, SKIPPED = "waits", "runs", "done", "failed", "skipped"
#: Of a restore: until a process takes it up, while it works, until somebody confirms, and its ends.
ASKED, PREPARING, WAITING, CONFIRMED, EXCHANGING = "asked", "preparing", "waiting", "confirmed", "exchanging"
FINISHED, BROKEN, DROPPED = "finished", "failed", "discarded"
ACTIVE = (PREPARING, EXCHANGING)
#: How long what was asked for may wait for a process.
PATIENCE = timedelta(minutes=15)
#: What each kind does, in this order: name → title.
STEPS = {
    "restore": {
        "check": "Check the file",
        "load": "Restore into a new database",
        "compare": "Compare with the manifest",
        "migrate": "Bring its schema forward",
        "differ": "Compare with the live database",
        "safety": "Back up the live database",
        "pause": "Pause web, workers and beat",
        "carry": "Carry over what is newer than the copy",
        "exchange": "Exchange the databases",
        "health": "Look whether it works",
    },
    "undo": {
        "check": "Look for the database of before",
        "safety": "Back up the live database",
        "pause": "Pause web, workers and beat",
        "carry": "Carry over what is newer",
        "exchange": "Exchange the databases",
        "health": "Look whether it works",
    },
}
#: What stands before the confirmation.
BEFORE_CONFIRMATION = ("check", "load", "compare", "migrate", "differ")
#: A journal longer than this is none of ours.
LONGEST = 4 * 1024 * 1024


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Step:
    """state: waits, runs, done, failed or skipped. done, total: of its own unit, 0 while unknown."""

    name: str
    title: str
    state: str = WAITS
    sentence: str = ""
    started_at: str = ""
    finished_at: str = ""
    done: int = 0
    total: int = 0


@dataclass
class Journal:
    """live, new, before: names of databases; their oids tell after a crash which of them is live."""

    id: str
    kind: str
    state: str
    created_at: str
    live: str
    new: str
    before: str
    live_oid: int = 0
    new_oid: int = 0
    backup: str = ""  #: the id of the copy
    file: str = ""
    taken_at: str = ""  #: the moment that the copy holds
    of: str = ""  #: of an undo: the restore
    actor: dict[str, str] = field(default_factory=dict)  #: kind, id, name
    confirmed_by: dict[str, str] = field(default_factory=dict)
    confirmed_at: str = ""
    finished_at: str = ""
    undone_at: str = ""
    dropped_at: str = ""  #: when the database of before, or the prepared one, was dropped
    keep_until: str = ""
    trouble: str = ""
    safety: str = ""  #: the id of the copy of live, taken before the exchange
    swap: bool = True  #: False: into a database of its own, live stays
    facts: dict[str, Any] = field(default_factory=dict)
    differences: list[dict[str, Any]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def begin(cls, kind: str, *, live: str, actor: dict[str, str], **values: Any) -> Journal:
        """A new one, not written yet, with names that no database has. kind: "restore" or "undo"."""
        id_ = str(uuid.uuid4())
        names: dict[str, Any] = {
            key: values.pop(key, "") or f"arc_{made}_{id_[:8]}"
            for key, made in (("new", "restore"), ("before", "before"))
        }
        steps = [Step(name, title) for name, title in STEPS[kind].items()]
        return cls(id_, kind, ASKED, now(), live=live, actor=actor, steps=steps, **names, **values)

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    @property
    def running_step(self) -> Step | None:
        return next((step for step in self.steps if step.state == RUNS), None)

    @property
    def made_new(self) -> bool:
        """Whether `new` is this restore's to drop: by its number, or by a name that nobody else would choose.
        A name that a person chose may have become somebody else's meanwhile."""
        return self.new_oid != 0 or self.new == f"arc_restore_{self.id[:8]}"

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def is_forgotten(self) -> bool:
        """No process took up what was asked for: its job failed, or no worker runs."""
        since = {ASKED: self.created_at, CONFIRMED: self.confirmed_at}.get(self.state)
        return bool(since) and datetime.fromisoformat(str(since)) < datetime.now(UTC) - PATIENCE

    @property
    def is_busy(self) -> bool:
        """A process works on it, or will soon."""
        return self.is_active or (self.state in (ASKED, CONFIRMED) and not self.is_forgotten)

    @property
    def can_undo(self) -> bool:
        """Whether the database of before should still be there."""
        return (
            self.kind == "restore"
            and self.state == FINISHED
            and self.swap
            and not self.undone_at
            and not self.dropped_at
            and self.keep_until > now()
        )


class Folder:
    """The journals below ARC_BACKUP_DIR."""

    def __init__(self, backups: Path) -> None:
        self.path = backups / "journal"

    def make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, journal: Journal) -> None:
        """Whole and on the disk, or as it was before. Raises OSError."""
        self.make()
        data = json.dumps(asdict(journal), indent=1, ensure_ascii=False, default=str).encode()
        put(self.path / f"{journal.id}.json", data)

    def read(self, id_: str) -> Journal | None:
        """None for one that is not there, or cannot be read."""
        try:
            name = str(uuid.UUID(id_))
        except ValueError:
            return None
        return _read(self.path / f"{name}.json")

    def all(self) -> list[Journal]:
        """Newest first."""
        found = [_read(path) for path in self.path.glob("*.json")] if self.path.is_dir() else []
        return sorted((one for one in found if one), key=lambda one: one.created_at, reverse=True)

    def unfinished(self) -> list[Journal]:
        """Those that some process should be working on."""
        return [one for one in self.all() if one.is_active]

    @contextmanager
    def locked(self, holder: str) -> Iterator[None]:
        """One restore or undo at a time; the kernel lets go when the process dies. Raises LockedOut."""
        self.make()
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _lock(handle):
                raise LockedOut(
                    "Another restore or undo is under way here. Wait for its end: two at once would replace "
                    "each other's work."
                )
            # The kernel holds the lock; its text is for people, and a full disk takes none.
            with suppress(OSError):
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()} {holder}\n".encode(), 0)
            yield
        finally:
            os.close(handle)

    def is_locked(self) -> bool:
        """Whether some process works on a restore now."""
        try:
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False


def _lock(handle: int) -> bool:
    """Tries for a second: who only looks (`is_locked`) holds it for an instant."""
    for _ in range(20):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def put(target: Path, data: bytes) -> None:
    """`data` under that name, synced, mode 600; or the file as it was before. Raises OSError."""
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(target)
        sync_folder(target.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _read(path: Path) -> Journal | None:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(LONGEST))
        known = {one.name for one in fields(Journal)}
        values = {key: value for key, value in found.items() if key in known}
        steps = {one.name for one in fields(Step)}
        values["steps"] = [
            Step(**{key: value for key, value in step.items() if key in steps}) for step in values["steps"]
        ]
        return Journal(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
