"""A cluster out of base backups: room for it, each copy unpacked and checked, a chain put together."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from django.conf import settings

from arcweb.backups.exceptions import SpaceError, ToolError
from arcweb.backups.physical import tar
from arcweb.backups.physical.judging import judged
from arcweb.backups.physical.programs import Programs
from arcweb.backups.streams import RESERVE, free_bytes
from arcweb.embedded.binaries import SHARED_DIR
from arcweb.embedded.files import opened_folder
from arcweb.embedded.server_user import ServerUser

Check = Callable[[], None]
#: How scratch folders are called; one that was left by a killed process is a day old at most.
SCRATCH = "base-"
#: Seconds after which one that nobody holds goes with the next.
LEFT = 24 * 3600.0
#: The first pg_combinebackup that shares files instead of copying them.
LINKS_SINCE = 180000


@contextmanager
def scratch(room: int, *, beside: Path | None = None) -> Iterator[Path]:
    """A new empty folder of this user's alone, which the servers' account can be let into; gone afterwards.

    room: bytes that must fit. beside: a folder on whose disk it has to be. Raises SpaceError, OSError.
    """
    parent = beside or _scratch_parent()
    _sweep(parent)
    if free_bytes(parent) < room + RESERVE:
        raise SpaceError(
            f"{parent} has {free_bytes(parent) // 1024**2:,} MB free, and unpacking the copy takes about "
            f"{room // 1024**2:,} MB and leaves {RESERVE // 1024**2:,} MB. Make room, then start again."
        )
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=parent))
    try:
        folder.chmod(0o711)  # passable: inside, each cluster is closed to all but its own account
        held = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(held)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{SCRATCH}*"):
        with suppress(OSError):
            held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if time.time() - os.fstat(held).st_ctime > LEFT:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(held)


def _scratch_parent() -> Path:
    if os.getuid() == 0:
        SHARED_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
        return SHARED_DIR
    place = Path(settings.ARC_BACKUP_DIR) / "spool"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place


def unpack(
    copy: AbstractContextManager[IO[bytes]], room: int, target: Path, user: ServerUser, check: Check
) -> None:
    """The tar of a copy as the cluster `target`, which must not exist yet. room: bytes that it may have.

    Raises CorruptCopy, KeyMissing, BackupError, OSError.
    """
    target.mkdir(mode=0o700)
    me = ServerUser("this user", os.getuid(), os.getgid())
    with opened_folder(target.resolve(), me) as inside, copy as source:
        tar.unpack(source, inside, room=room, check=check)
        if user.switches:
            tar.give(inside, user.uid, user.gid)


def verify(programs: Programs, target: Path) -> str:
    """pg_verifybackup: every file's size and checksum, and the log. Raises CorruptCopy, NotTried."""
    try:
        # "." since it hands the path of the log to a shell, where a dollar or a quote in it would count.
        return programs.run("pg_verifybackup", "--exit-on-error", ".", cwd=target).decode().strip()
    except ToolError as error:
        raise judged(error, f"pg_verifybackup found the base backup damaged: {error}") from error


def combine(programs: Programs, parts: Sequence[Path], target: Path) -> None:
    """One cluster out of a chain, the whole copy first. The parts' files are shared: they are spent.

    Raises CorruptCopy with the words of pg_combinebackup, NotTried.
    """
    target.mkdir(mode=0o700)
    programs.user.take(target)
    options = ["--no-sync", "--manifest-checksums=SHA256"]
    if programs.version >= LINKS_SINCE:
        options.append("--link")
    try:
        programs.run("pg_combinebackup", *options, *parts, "-o", target, cwd=parts[0])
    except ToolError as error:
        raise judged(error, f"The copies of the chain do not fit together: {error}") from error
