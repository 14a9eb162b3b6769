"""The tar of a base backup: watched while it passes, unpacked without believing it. No Django.

pg_basebackup writes plain ustar: names of at most 100 bytes, sizes in octal or, above 8 GB, in base 256
(https://www.postgresql.org/docs/current/app-pgbasebackup.html). With `-D -` the backup's own manifest is
the last member.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import IO

from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.streams import Readable

BLOCK = 512
COPIED = 1024 * 1024
MANIFEST, LABEL = "backup_manifest", "backup_label"
#: What is kept in memory of the members wanted: a manifest has about 200 bytes for each of the files.
MOST_KEPT = 1024**3


class Watcher:
    """A tar on its way: `read` gives it on as it is. At the end, `members` holds what was wanted of it.

    Raises CorruptCopy when it is no tar of that kind, and `whole` tells whether its end was seen.
    """

    def __init__(self, source: Readable, wanted: tuple[str, ...] = (MANIFEST, LABEL)) -> None:
        self._source, self._wanted = source, wanted
        self._head = bytearray()
        self._left = self._padding = 0
        self._taking: bytearray | None = None
        self.members: dict[str, bytes] = {}
        self.files = 0
        self.whole = False

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        self._look(memoryview(block))
        return block

    def _look(self, block: memoryview) -> None:
        while block:
            if self._left:
                part = block[: self._left]
                if self._taking is not None:
                    self._taking += part
                self._left -= len(part)
                block = block[len(part) :]
            elif self._padding:
                skipped = min(self._padding, len(block))
                self._padding -= skipped
                block = block[skipped:]
            else:
                missing = BLOCK - len(self._head)
                self._head += block[:missing]
                block = block[missing:]
                if len(self._head) == BLOCK:
                    self._begin(bytes(self._head))
                    self._head.clear()

    def _begin(self, head: bytes) -> None:
        if not any(head):
            self.whole = True
            return
        try:
            one = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise CorruptCopy(f"The stream is no tar of pg_basebackup: {error}.") from error
        name = one.name.removeprefix("./")
        self.whole = False
        self.files += one.isreg()
        self._taking = None
        self._left = one.size if one.isreg() else 0
        self._padding = -self._left % BLOCK
        if name in self._wanted and one.isreg():
            if one.size > MOST_KEPT:
                raise CorruptCopy(f"{name} in the tar has {one.size:,} bytes, which no base backup has.")
            self._taking = bytearray()
            self.members[name] = self._taking  # type: ignore[assignment]


def unpack(source: IO[bytes], folder: int, *, room: int, check: Callable[[], None] = lambda: None) -> int:
    """Writes every member below `folder`, the descriptor of an empty one of this user's; returns their bytes.

    room: more bytes than that are refused, whatever the tar says. check: called now and then; may raise.
    Only folders and plain files with names inside are taken; links, and so tablespaces, are refused. Raises
    CorruptCopy, OSError.
    """
    written, made = 0, {PurePosixPath()}
    try:
        with tarfile.open(fileobj=source, mode="r|", bufsize=COPIED) as tar:
            for one in tar:
                path = _inside(one.name)
                if one.isdir():
                    _make(folder, path, made)
                elif one.isreg():
                    written += one.size
                    if written > room:
                        raise CorruptCopy(
                            f"The tar holds more than the {room:,} bytes that its manifest admits to."
                        )
                    _make(folder, path.parent, made)
                    _write(tar, one, folder, path, check)
                else:
                    raise CorruptCopy(
                        f"{one.name!r} in the tar is neither file nor folder: tablespaces and links are "
                        "refused."
                    )
    except tarfile.TarError as error:
        raise CorruptCopy(f"The tar of the base backup is damaged: {error}.") from error
    # tarfile leaves the rest of the last record unread, and a cut or a wrong hash shows at the very end.
    while source.read(COPIED):
        check()
    return written


def give(folder: int, uid: int, gid: int) -> None:
    """What is in the folder of that descriptor, then itself, to that account. Only root can."""
    for _, names, files, inside in os.fwalk(dir_fd=folder, topdown=False):
        for name in (*names, *files):
            os.chown(name, uid, gid, dir_fd=inside, follow_symlinks=False)
    os.fchown(folder, uid, gid)


def _inside(name: str) -> PurePosixPath:
    found = PurePosixPath(name)
    if found.is_absolute() or ".." in found.parts or "\0" in name:
        raise CorruptCopy(f"The tar holds a name that leads outside: {name!r}.")
    return found


def _make(folder: int, path: PurePosixPath, made: set[PurePosixPath]) -> None:
    if path not in made:
        _make(folder, path.parent, made)
        os.mkdir(path, 0o700, dir_fd=folder)
        made.add(path)


def _write(
    tar: tarfile.TarFile, one: tarfile.TarInfo, folder: int, path: PurePosixPath, check: Callable[[], None]
) -> None:
    content = tar.extractfile(one)
    assert content is not None  # noqa: S101 - a plain file has content
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags, 0o600, dir_fd=folder)
    except OSError as error:
        raise CorruptCopy(f"{one.name!r} in the tar cannot be unpacked: {error.strerror}.") from None
    with os.fdopen(handle, "wb") as file:
        while block := content.read(COPIED):
            file.write(block)
            check()
