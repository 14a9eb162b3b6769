"""Whether ARC Web is paused because a restore puts another database in its place. Pure, and cheap to ask.

A file in ARC_BACKUP_DIR/journal says so: it must reach web, workers and beat while the database cannot.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "paused"


@dataclass(frozen=True)
class Pause:
    """restore: the journal's id. since: ISO time. why: a sentence for anybody, without addresses."""

    restore: str
    since: str
    why: str


def flag(backups: Path) -> Path:
    return backups / "journal" / NAME


def is_on(backups: Path) -> bool:
    """One look at the disk: a few microseconds."""
    return os.path.exists(flag(backups))  # noqa: PTH110 - half the time of Path's


def read(backups: Path) -> Pause | None:
    """None when there is no pause."""
    try:
        return Pause(**json.loads(flag(backups).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        return Pause("", "", "A backup is being put in place.")


def begin(backups: Path, pause: Pause) -> None:
    """From now on pages answer 503 and nothing new is begun. Raises OSError."""
    from arcweb.backups.restore.journal import put

    put(flag(backups), json.dumps(asdict(pause)).encode())


def end(backups: Path) -> None:
    """Back to work. Raises OSError when the file cannot be removed."""
    with suppress(FileNotFoundError):
        flag(backups).unlink()
