"""A part of a file on its way out, block by block, with the link that it is sent over kept alive."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

from django.db import DatabaseError, connection

from arcweb.backups.models import DownloadLink
from arcweb.backups.transfer import links, slots

logger = logging.getLogger(__name__)
BLOCK = 256 * 1024
#: Seconds between two looks at whether the link still holds.
LOOK = 60.0


class Sending:
    """The bytes from `start` to before `stop` of the file, as the body of a response.

    Takes over one of the slots and gives it back when the response is closed, read to its end or not. The
    last byte of the file ends the link. Raises OSError when the file cannot be opened: then the slot is the
    caller's.
    """

    def __init__(self, path: Path, start: int, stop: int, size: int, link: DownloadLink) -> None:
        self._file = path.open("rb")
        self._file.seek(start)
        self._left, self._to_the_end, self._link = stop - start, stop == size, link
        self._looked = time.monotonic()
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        while self._left > 0:
            block = self._file.read(min(BLOCK, self._left))
            if not block:
                logger.error("%s ended early while it was sent", self._file.name)
                return
            self._left -= len(block)
            yield block
            if not self._holds():
                logger.warning("The download of %s ended: its link did", self._link.backup_id)
                return
        if self._to_the_end:
            self._note(finished=True)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._file.close()
            slots.give_back()

    def _holds(self) -> bool:
        if time.monotonic() - self._looked < LOOK:
            return True
        self._looked = time.monotonic()
        return self._note()

    def _note(self, *, finished: bool = False) -> bool:
        """False when the link ended. A database that is away ends no download."""
        try:
            if not connection.in_atomic_block:  # idle for a minute, it may have died
                connection.close_if_unusable_or_obsolete()
            if not finished:
                return links.prolong(self._link)
            links.finish(self._link)
        except DatabaseError as error:
            logger.warning("The link of a download could not be noted: %s", error)
        return True
