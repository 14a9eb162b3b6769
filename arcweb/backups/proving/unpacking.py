"""What a copy holds, decrypted and decompressed into a temporary file, within bounds. No Django.

A file may say that it holds little and give without end: what comes out is counted as it comes, and the work
ends when it is more than was said, more than any dump gives for its length, or more than the disk has.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from arcweb.backups import streams
from arcweb.backups.exceptions import BackupError, CorruptCopy, SpaceError
from arcweb.backups.proving import archive
from arcweb.charts import size

#: Where unpacked copies stand in ARC_BACKUP_DIR while they are looked at.
SPOOL = "spool"
PREFIX, SUFFIX = "unpacked-", ".raw"
LIST = ".list"
BLOCK = 1024 * 1024
#: Bytes between two looks at the free space.
LOOK = 16 * 1024**2
#: What may come out of a hostile file for one byte that goes in, beyond the first HARMLESS bytes. Measured:
#: rows that differ in a counter alone gave 17 with zstd and 14 with gzip; all equal ones 10,800 and 290.
MOST_RATIO = 500
HARMLESS = 256 * 1024**2
#: zstd's output for a piece this long is at most 64 MB.
STEP = 2 * 1024
BOMB = ": no dump is like that, but a file is that was made to fill a disk."

#: Bytes out so far. May raise to stop the work.
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Unpacked:
    bytes: int
    sha256: str


@contextmanager
def temporary(folder: Path) -> Iterator[Path]:
    """An empty file of mode 600 in the spool of that folder, gone afterwards.

    It is locked while the block lasts: what a killed process left is not, and goes here. Raises OSError.
    """
    spool = folder / SPOOL
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(spool)
    path, held = _locked(spool)
    with held:
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _locked(spool: Path) -> tuple[Path, IO[bytes]]:
    while True:
        path = spool / f"{PREFIX}{secrets.token_hex(6)}{SUFFIX}"
        held = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        fcntl.flock(held, fcntl.LOCK_EX)
        if os.fstat(held.fileno()).st_nlink:
            return path, held
        held.close()  # swept between its making and its lock


def list_beside(path: Path) -> Path:
    """Where the entries to restore of an unpacked dump stand: as long as the dump does."""
    return path.with_name(f"{path.name}{LIST}")


def sweep(spool: Path) -> None:
    """Removes what killed processes left. A list has no lock of its own: it goes with its dump."""
    for path in spool.glob(f"{PREFIX}*{SUFFIX}"):
        with suppress(OSError), path.open("rb") as left:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            list_beside(path).unlink(missing_ok=True)
            path.unlink()


def unpack(
    source: IO[bytes],
    target: Path,
    *,
    packed: int | None,
    claimed: int | None = None,
    progress: Progress = streams.nothing,
) -> Unpacked:
    """Everything that `source` gives, into `target`.

    packed: bytes that it is unpacked from, when it may be hostile; None: it is ours. claimed: bytes that it
    is said to give; more are not read. Raises CorruptCopy, SpaceError, OSError, and what `source` and
    `progress` raise.
    """
    looked = -LOOK
    with target.open("wb") as disk:

        def write(block: bytes, out: int) -> None:
            nonlocal looked
            if out - looked >= LOOK:
                looked = out
                keep_reserve(target.parent)
            disk.write(block)

        return _read(source, write, packed, claimed, progress)


def count(
    source: IO[bytes], *, packed: int | None, claimed: int | None = None, progress: Progress = streams.nothing
) -> Unpacked:
    """As `unpack`, but kept nowhere."""
    return _read(source, lambda block, out: None, packed, claimed, progress)


def _read(
    source: IO[bytes],
    write: Callable[[bytes, int], None],
    packed: int | None,
    claimed: int | None,
    progress: Progress,
) -> Unpacked:
    digest, out = hashlib.sha256(), 0
    while block := source.read(BLOCK):
        out += len(block)
        if claimed is not None and out > claimed:
            raise CorruptCopy(
                f"The file holds more than its manifest says ({size(claimed)}): what comes out of it is not "
                "what was copied."
            )
        if packed is not None and out > HARMLESS + MOST_RATIO * packed:
            raise CorruptCopy(f"The file has {size(packed)}, and {size(out)} came out so far{BOMB}")
        write(block, out)
        digest.update(block)
        progress(out)
    return Unpacked(out, digest.hexdigest())


def keep_reserve(folder: Path, wanted: int = 0) -> None:
    """Raises SpaceError when fewer bytes are free there than are wanted and stay free for the servers."""
    free = streams.free_bytes(folder)
    if free < wanted + streams.RESERVE:
        needs = f"{size(wanted)} are needed and " if wanted else ""
        raise SpaceError(
            f"{folder} has {size(free)} free; {needs}{size(streams.RESERVE)} stay free for the servers. Make "
            "room, then retry."
        )


def measure(file: IO[bytes], found: archive.Archive, packed: int, progress: Progress) -> int:
    """Bytes of the rows in an archive whose data may be compressed inside, each counted as it comes out.

    packed: bytes of the file. Raises CorruptCopy for data that are cut or of which more comes out than of any
    dump; BackupError for a compression that cannot be read here.
    """
    if found.compression == "lz4":
        raise BackupError(
            "The archive's data are compressed by LZ4, which cannot be read here. Take it with "
            "pg_dump --format=custom --compress=none, or with gzip or zstd."
        )
    out, most, unpacker = 0, HARMLESS + MOST_RATIO * packed, _unpacker(found.compression)
    for one in archive.data(file, found):
        if not one.piece:
            unpacker = _unpacker(found.compression)
            continue
        for length in _lengths(unpacker, one.piece, found.compression):
            out += length
            if out > most:
                raise CorruptCopy(f"The archive has {size(packed)}, and its rows {size(out)} so far{BOMB}")
        progress(out)
    return out


def _unpacker(compression: str) -> Any:
    if compression == "gzip":
        return zlib.decompressobj()
    if compression == "zstd":
        return zstandard.ZstdDecompressor(max_window_size=streams.ZSTD_WINDOW).decompressobj()
    return None


def _lengths(unpacker: Any, piece: bytes, compression: str) -> Iterator[int]:
    if compression == "none":
        yield len(piece)
        return
    try:
        for start in range(0, len(piece), STEP):
            rest = piece[start : start + STEP]
            if compression == "zstd":
                yield len(unpacker.decompress(rest))
                continue
            while rest:
                yield len(unpacker.decompress(rest, BLOCK))
                rest = unpacker.unconsumed_tail
    except (zlib.error, zstandard.ZstdError) as error:
        raise CorruptCopy(f"The archive's rows cannot be decompressed: {error}.") from None
