"""What a place is that keeps copies, and what goes wrong with one. No Django."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from arcweb.backups.exceptions import BackupError
from arcweb.backups.manifest import ENDING

#: Bytes done so far. May raise to stop the work.
Progress = Callable[[int], None]


def nothing(done: int) -> None:
    """Progress that nobody looks at."""


class PlaceError(BackupError):
    """The place refused, or is set up wrongly: trying again changes nothing."""


class Unreachable(PlaceError):  # noqa: N818 - reads as a sentence
    """The place did not answer, or not to the end: trying again later may help."""


class Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


class Place(Protocol):
    """Holds data files and their manifests by name. Everything raises PlaceError in words."""

    label: str  #: for people: "the folder /srv/backups"

    def names(self) -> Iterator[tuple[str, int]]:
        """Every file in it with its size in bytes, in the order of names."""

    def size(self, name: str) -> int | None:
        """Bytes of the file; None: there is none of that name."""

    def read(self, name: str, most: int) -> bytes:
        """The first `most` bytes at most; for manifests."""

    def put(self, file: Path, name: str, *, sha256: str, progress: Progress = nothing) -> str:
        """Keep the file under that name, whole or not at all; returns how it was checked, in words."""

    def get(self, name: str, out: Writable, progress: Progress = nothing) -> None:
        """Write everything that the file holds to `out`."""

    def delete(self, name: str) -> None:
        """The file is gone afterwards, as it may have been before."""


def manifests(place: Place) -> Iterator[tuple[str, bool]]:
    """Names of the manifests in a place, and whether a data file of the same stem stands beside each."""
    names = [name for name, _ in place.names()]
    stems = {name.partition(".")[0] for name in names if not name.endswith(ENDING)}
    for name in names:
        if name.endswith(ENDING):
            yield name, name.removesuffix(ENDING) in stems
