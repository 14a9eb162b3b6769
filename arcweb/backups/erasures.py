"""What must stay erased whatever copy is restored.

ARC_BACKUP_DIR/erasures.jsonl: one line each, only ever appended, synced before anything is erased. It holds
ids and filters, no content. An ordinary deletion is none: restoring is how it is taken back. An erasure is
ordered ("also from restored backups"); a restore carries out again those that are newer than its copy.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from django.utils.module_loading import autodiscover_modules

from arcweb.backups.exceptions import BackupError
from arcweb.backups.manifest import sync_folder

NAME = "erasures.jsonl"
#: An erasure bears the time at which it was ordered: a copy that was begun while it was carried out still
#: holds what it erased, and the clocks of this machine and of PostgreSQL differ. Twice does no harm.
MARGIN = timedelta(hours=1)


@dataclass(frozen=True)
class Erasure:
    """kind: one that an eraser is registered for, such as "agent". what: {"id": …} or {"metadata": {…}}."""

    id: str
    kind: str
    what: dict[str, Any]
    at: str  #: ISO time, UTC
    by: str = ""  #: the actor's id


#: Erases that in the database of the connection, in its transaction; how many rows went.
Eraser = Callable[[psycopg.Connection[Any], dict[str, Any]], int]
_erasers: dict[str, tuple[str, Eraser]] = {}


@cache
def _discover() -> None:
    """Each app declares what it can erase in a module erasers.py."""
    autodiscover_modules("erasers")


def register_eraser(kind: str, label: str, erase: Eraser) -> None:
    """Teach restores to erase that kind again. label: "the agent and its memories"."""
    _erasers[kind] = (label, erase)


def kinds() -> dict[str, str]:
    """kind → label of those that can be erased."""
    _discover()
    return {kind: label for kind, (label, _) in sorted(_erasers.items())}


def order(folder: Path, kind: str, what: dict[str, Any], *, by: str = "") -> Erasure:
    """Write it down, on the disk when this returns. Raises BackupError for an unknown kind, and for what
    PostgreSQL could never look for: every restore would fail over it. Raises OSError."""
    if kind not in kinds():
        raise BackupError(
            f"Nothing here can erase {kind!r}; known are {', '.join(sorted(_erasers)) or 'none'}."
        )
    erasure = Erasure(str(uuid.uuid4()), kind, what, datetime.now(UTC).isoformat(), by)
    try:
        line = json.dumps(asdict(erasure), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except (ValueError, RecursionError):
        line = b""
    if not line or _holds_zero(what):
        raise BackupError(
            "Nothing was erased: PostgreSQL can hold neither zero characters, nor half of a surrogate pair, "
            "nor numbers like NaN in JSON, so that nothing has such metadata."
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line  # what a power failure cut stays a line of its own
        while line:
            line = line[os.write(handle, line) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(folder)
    return erasure


def read(folder: Path) -> list[Erasure]:
    """In the order in which they were ordered. Raises BackupError for a line that cannot be read: a restore
    must not pass over it."""
    try:
        lines = (folder / NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            erasure = Erasure(**json.loads(line))
            datetime.fromisoformat(erasure.at)
        except (ValueError, TypeError) as error:
            raise BackupError(
                f"Line {number} of {folder / NAME} cannot be read, and it may be an erasure that a restore "
                "would bring back. Look at it: take it away if it was cut while it was written."
            ) from error
        found.append(erasure)
    return found


def newer_than(folder: Path, moment: datetime) -> list[Erasure]:
    """Those that a copy of that moment may still hold. Raises BackupError as `read` does."""
    return [one for one in read(folder) if datetime.fromisoformat(one.at) >= moment - MARGIN]


def _holds_zero(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_zero, [*value.keys(), *value.values()]))
    if isinstance(value, list):
        return any(map(_holds_zero, value))
    return isinstance(value, str) and "\0" in value


def apply(connection: psycopg.Connection[Any], wanted: list[Erasure]) -> list[str]:
    """Erase these in that database, within the caller's transaction; what went, in sentences.

    Raises BackupError for a kind that nothing here can erase, psycopg.Error.
    """
    said = []
    for one in wanted:
        if one.kind not in kinds():
            raise BackupError(
                f"The erasure {one.id} of {one.at} is of kind {one.kind!r}, which nothing here can erase. "
                "Restore with the version of ARC Web that ordered it."
            )
        label, erase = _erasers[one.kind]
        rows = erase(connection, one.what)
        said.append(f"Erased {label}: {rows} row{'' if rows == 1 else 's'}.")
    return said
