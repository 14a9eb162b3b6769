"""The RDB file that a server on this machine has just written, read where it wrote it. No Django."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import ResponseError

from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.redis_rdb.rdb import FACTS_WITHIN, head
from arcweb.backups.redis_rdb.saving import Saved
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import opened_folder
from arcweb.embedded.server_user import ServerUser

LOOPBACK = frozenset({"", "localhost", "127.0.0.1", "::1"})
#: A link is not followed, and a named pipe not waited for.
PLAINLY = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class NotHereError(BackupError):
    """The server's file cannot be read on this machine; the data can still be fetched from the server."""


@dataclass(frozen=True)
class Place:
    """Where a server writes its RDB. owner: whose folder it must be; None: nobody in particular."""

    file: Path
    owner: ServerUser | None = None


def place(client: Redis, url: str) -> Place:
    """As the server itself says it. Raises NotHereError where it does not, or is on another machine."""
    parts = urlsplit(url)
    if parts.scheme != "unix" and (parts.hostname or "") not in LOOPBACK:
        raise NotHereError("The server is on another machine.")
    try:
        found = {**client.config_get("dir"), **client.config_get("dbfilename")}
        return Place(Path(_text(found["dir"])) / _text(found["dbfilename"]))
    except (ResponseError, KeyError) as error:
        raise NotHereError(f"The server does not say where its file is ({error}).") from error


@contextmanager
def saved_file(where: Place, saved: Saved) -> Iterator[SavedFile]:
    """The file that BGSAVE has just written, open: a later one replaces its name and not what is read.

    Raises NotHereError when there is none here, or one of another moment: the path may be that of a
    container.
    """
    try:
        descriptor = _opened(where)
    except (OSError, EmbeddedError) as error:
        raise NotHereError(f"The server's file cannot be read here: {error}.") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise NotHereError(f"{where.file} is no plain file.")
    with os.fdopen(descriptor, "rb") as file:
        _is_of(saved, file, found)
        yield SavedFile(file, found)


class SavedFile:
    """Reads as many bytes as the file had when it was opened."""

    def __init__(self, file: IO[bytes], found: os.stat_result) -> None:
        self._file = file
        self._found = found
        self.size = found.st_size

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def finish(self) -> None:
        """Raises BackupError when somebody wrote into the file while it was read."""
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._found.st_size, self._found.st_mtime_ns):
            raise BackupError(
                "The server's RDB file was changed while it was copied: something else writes into it."
            )


def _opened(where: Place) -> int:
    if where.owner is None:
        return os.open(where.file, PLAINLY)
    with opened_folder(where.file.parent, where.owner) as folder:
        return os.open(where.file.name, PLAINLY, dir_fd=folder)


def _is_of(saved: Saved, file: IO[bytes], found: os.stat_result) -> None:
    first = os.pread(file.fileno(), FACTS_WITHIN, 0)
    try:
        moment = head(first).taken_at
    except CorruptCopy as error:
        raise NotHereError(f"The file here is another one. {error}") from error
    begun = moment.timestamp() if moment is not None else found.st_mtime
    if int(begun) < saved.started:
        raise NotHereError("The file here is an older one: the server writes elsewhere.")


def _text(value: bytes | str | None) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value or ""
