"""Uploads as they come in: block by block to the spool, never in memory, within limits that are looked at."""

from __future__ import annotations

import logging
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload

from arcweb.backups import manifest as manifests
from arcweb.backups import places
from arcweb.backups.streams import RESERVE, free_bytes
from arcweb.charts import size

logger = logging.getLogger(__name__)
#: Bytes between two looks at the free space.
LOOK = 16 * 1024**2
#: The fields of the form, and the most that the smaller may hold.
DATA, MANIFEST = "data", "manifest"
PREFIX = "upload-"


def largest() -> int:
    """Bytes of a file at most (ARC_BACKUP_MAX_UPLOAD_GB)."""
    return int(settings.ARC_BACKUP_MAX_UPLOAD_GB * 1024**3)


def trouble(length: int) -> str:
    """Why a file of so many bytes cannot be taken: a sentence; "" when it can."""
    if length > largest():
        return (
            f"The file has {size(length)}, and {size(largest())} are the most (ARC_BACKUP_MAX_UPLOAD_GB). "
            "Put it into the folder of the backups with its manifest instead, and scan the folder."
        )
    try:
        free = free_bytes(places.spool())
    except OSError as error:
        return f"The spool of the backups cannot be written: {error.strerror or error}."
    if free < length + RESERVE:
        return (
            f"The disk of the backups has {size(free)} free; the file has {size(length)}, and "
            f"{size(RESERVE)} stay free for the servers. Make room, then retry."
        )
    return ""


class Spooled(UploadedFile):
    """A file in the spool, whole; `path` is where."""

    def __init__(self, path: Path, name: str, length: int) -> None:
        super().__init__(None, name, "application/octet-stream", length)
        self.path = path


class SpoolHandler(FileUploadHandler):
    """Writes the form's two files to the spool, and passes over any other.

    `why` says in words why an upload was ended; the parts of one that did not come whole are deleted.
    """

    chunk_size = 1024 * 1024

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self.why = ""
        self._made: list[Path] = []
        self._out: Any = None
        self._length = self._looked = 0
        self._most = 0

    def new_file(self, *given: Any, **named: Any) -> None:
        super().new_file(*given, **named)
        self._out = None
        if self.field_name not in (DATA, MANIFEST) or any(
            path.name.startswith(f"{PREFIX}{self.field_name}-") for path in self._made
        ):
            return
        path = places.spool() / f"{PREFIX}{self.field_name}-{uuid.uuid4().hex}"
        self._most = largest() if self.field_name == DATA else manifests.LONGEST
        self._out = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._made.append(path)
        self._length, self._looked = 0, -LOOK

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if self._out is None:
            return
        self._length += len(raw_data)
        if self._length > self._most:
            self._stop(f"The file is longer than {size(self._most)}, which is the most.")
        if self._length - self._looked >= LOOK:
            self._looked = self._length
            if free_bytes(places.spool()) < RESERVE:
                self._stop("The disk of the backups is nearly full: make room, then retry.")
        try:
            self._out.write(raw_data)
        except OSError as error:
            self._stop(f"The file could not be written: {error.strerror or error}.")

    def file_complete(self, file_size: int) -> Spooled | None:
        if self._out is None:
            return None
        try:
            self._out.flush()
            os.fsync(self._out.fileno())
            self._out.close()
        except OSError as error:
            self._stop(f"The file could not be written: {error.strerror or error}.")
        return Spooled(self._made[-1], self.file_name or "", file_size)

    def upload_interrupted(self) -> None:
        self.discard()

    def discard(self) -> None:
        """Delete what was written."""
        if self._out is not None:
            with suppress(OSError):  # a full disk: what is left of it is deleted
                self._out.close()
            self._out = None
        for path in self._made:
            path.unlink(missing_ok=True)
        self._made.clear()

    def _stop(self, why: str) -> None:
        self.why = why
        self.discard()
        raise StopUpload(connection_reset=True)
