"""A folder of this machine. No Django."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from arcweb.backups.exceptions import CorruptCopy, SpaceError
from arcweb.backups.manifest import sync_folder
from arcweb.backups.places.base import PlaceError, Progress, Writable, nothing
from arcweb.backups.streams import BLOCK, RESERVE, free_bytes


class Folder:
    """Copies as files side by side; what begins with a dot is unfinished and nobody's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.label = f"the folder {path}"

    def names(self) -> Iterator[tuple[str, int]]:
        with self._told("be listed"):
            if not self.path.exists():
                return
            with os.scandir(self.path) as entries:
                found = [
                    (one.name, one.stat(follow_symlinks=False).st_size)
                    for one in entries
                    if one.is_file(follow_symlinks=False) and not one.name.startswith(".")
                ]
        yield from sorted(found)

    def size(self, name: str) -> int | None:
        with self._told(f"tell of {name}"):
            try:
                found: int | None = self._file(name).stat().st_size
            except FileNotFoundError:
                found = None
        return found

    def read(self, name: str, most: int) -> bytes:
        with self._told(f"give {name}"), self._file(name).open("rb") as file:
            found = file.read(most)
        return found[:most]

    def put(self, file: Path, name: str, *, sha256: str, progress: Progress = nothing) -> str:
        """Raises SpaceError too, and CorruptCopy when the file has not that sha256."""
        target = self._file(name)
        with self._told(f"keep {name}"):
            free, wanted = free_bytes(self.path), file.stat().st_size + RESERVE
            if free < wanted:
                raise SpaceError(
                    f"{self.path} has {free // 1024**2:,} MB free, and {wanted // 1024**2:,} MB are needed "
                    f"to keep {name}. Make room, then retry."
                )
            part = target.with_name(f".{name}.{uuid.uuid4().hex[:8]}.part")
            try:
                with (
                    file.open("rb") as source,
                    os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out,
                ):
                    digest = copy_hashed(source, out, progress)
                    if digest != sha256:
                        raise CorruptCopy(f"{file.name} has other bytes than its manifest says.")
                    out.flush()
                    os.fsync(out.fileno())
                part.rename(target)
                sync_folder(self.path)
            finally:
                part.unlink(missing_ok=True)
        return "its sha256 while it was written"

    def get(self, name: str, out: Writable, progress: Progress = nothing) -> None:
        with self._told(f"give {name}"), self._file(name).open("rb") as source:
            copy_hashed(source, out, progress)

    def delete(self, name: str) -> None:
        with self._told(f"lose {name}"):
            self._file(name).unlink(missing_ok=True)
            if self.path.exists():
                sync_folder(self.path)

    def _file(self, name: str) -> Path:
        if not name or name != Path(name).name or name.startswith("."):
            raise PlaceError(f"{name!r} is no name of a copy.")
        return self.path / name

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PlaceError(
                f"The folder {self.path} cannot {doing}: {error.strerror or error}. Mend the folder or who "
                "owns it, then retry."
            ) from error


def copy_hashed(source: BinaryIO, out: Writable, progress: Progress = nothing) -> str:
    """Copies to the end; returns the sha256 of it."""
    digest, done = hashlib.sha256(), 0
    while block := source.read(BLOCK):
        out.write(block)
        digest.update(block)
        done += len(block)
        progress(done)
    return digest.hexdigest()
