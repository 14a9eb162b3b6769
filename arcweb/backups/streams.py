"""A copy on its way to the disk and back: hash, compression, age, disk. Memory does not grow with its size.

write_copy: source → raw hash → zstd or gzip → age → hash → `.part` → fsync → rename. open_copy: the way back.
No Django.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

import pyrage
import zstandard

from arcweb.backups.exceptions import CorruptCopy, KeyMissing, SpaceError
from arcweb.backups.manifest import sync_folder

BLOCK = 1024 * 1024
#: Measured on the text of vectors, which is nearly all of a copy: 4 to 9 % smaller than gzip's for a tenth of
#: its work. Level 3 is 2 to 6 % larger than gzip's: its short matches cost more than the digits themselves.
#: The larger table is for prose, which is 7 % larger than gzip's, and 13 % without it.
ZSTD_LEVEL, ZSTD_HASH_LOG = 1, 16
#: As `gzip` itself without options.
GZIP_LEVEL = 6
#: Bytes that stay free on the disk throughout: PostgreSQL may live on it, and stops when it is full.
RESERVE = 256 * 1024**2
#: A window that any `zstd -d` takes without --long; a file that asks for more memory is refused.
ZSTD_WINDOW = 128 * 1024**2

#: Bytes of the source so far. May raise to stop the work.
Progress = Callable[[int], None]


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class Written:
    """bytes, sha256: of the file; raw_*: of what went in."""

    bytes: int
    sha256: str
    raw_bytes: int
    raw_sha256: str


def nothing(done: int) -> None:
    """Progress that nobody looks at."""


def write_copy(
    source: Readable,
    target: Path,
    *,
    compression: str,
    recipients: Sequence[str] = (),
    progress: Progress = nothing,
    rate: float = 0,
    reserve: int = RESERVE,
    finish: Callable[[], None] = lambda: None,
) -> Written:
    """Everything that `source` gives, whole under the name `target` or not at all.

    compression: "zstd" or "gzip". recipients: of age; none: not encrypted. rate: bytes a second that are read
    at most, 0: no limit. reserve: bytes that must stay free. finish: called when the source is at its end and
    before the file gets its name; it raises when the source did not end well. Raises SpaceError, OSError, and
    what `source`, `progress` and `finish` raise; then the `.part` is gone.
    """
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as disk:
            raw = _Source(source, progress, rate)
            out = _Sink(disk, reserve)
            packed = _compressed(raw, compression)
            if recipients:
                _encrypt(packed, out, recipients)
            else:
                while block := packed.read(BLOCK):
                    out.write(block)
            finish()
            disk.flush()
            os.fsync(disk.fileno())
        part.rename(target)
        sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)
    return Written(out.bytes, out.hash.hexdigest(), raw.bytes, raw.hash.hexdigest())


@contextmanager
def open_copy(
    path: Path, *, compression: str, encrypted: bool = False, identities: Sequence[str] = ()
) -> Iterator[IO[bytes]]:
    """The raw bytes of a copy, one after the other; not seekable.

    Reading raises CorruptCopy for what cannot be decrypted or decompressed, or ends too early, and KeyMissing
    when none of the identities (AGE-SECRET-KEY-1…) opens it. Raises OSError.
    """
    with path.open("rb") as disk:
        os.posix_fadvise(disk.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        if not encrypted:
            yield cast("IO[bytes]", io.BufferedReader(_Raw(_decompressed(disk, compression)), BLOCK))
            return
        with _decrypted(disk, identities) as plain:
            yield cast("IO[bytes]", io.BufferedReader(_Raw(_decompressed(plain, compression)), BLOCK))


def free_bytes(folder: Path) -> int:
    """What an ordinary account may still write there. Raises OSError."""
    return shutil.disk_usage(folder).free


class _Source:
    """What is read, hashed and counted on its way, not faster than allowed."""

    def __init__(self, source: Readable, progress: Progress, rate: float) -> None:
        self._source, self._progress, self._rate = source, progress, rate
        self._started = time.monotonic()
        self.hash, self.bytes = hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size if size > 0 else BLOCK)
        self.hash.update(block)
        self.bytes += len(block)
        if self._rate and block:
            early = self.bytes / self._rate - (time.monotonic() - self._started)
            while early > 0:  # in short sleeps, so that a cancellation is heard
                time.sleep(min(early, 0.5))
                early -= 0.5
                self._progress(self.bytes)
        self._progress(self.bytes)
        return block


class _Sink:
    """What is written, hashed and counted on its way; stops before the disk is full."""

    #: Bytes between two looks at the free space.
    LOOK = 16 * 1024**2

    def __init__(self, disk: IO[bytes], reserve: int) -> None:
        self._disk, self._reserve, self._looked = disk, reserve, -self.LOOK
        self.hash, self.bytes = hashlib.sha256(), 0

    def write(self, block: bytes) -> int:
        if self.bytes - self._looked >= self.LOOK:
            self._looked = self.bytes
            status = os.fstatvfs(self._disk.fileno())
            free = status.f_bavail * status.f_frsize
            if free < self._reserve:
                raise SpaceError(
                    f"Only {free // 1024**2:,} MB are free on the disk of the backups, and "
                    f"{self._reserve // 1024**2:,} MB stay free for the servers. Make room, then retry."
                )
        self._disk.write(block)
        self.hash.update(block)
        self.bytes += len(block)
        return len(block)

    def flush(self) -> None:
        self._disk.flush()


class _Kept:
    """Reads and writes for age, which gives errors other words, and tries again for ever on an interrupt."""

    def __init__(self, source: Readable, sink: _Sink) -> None:
        self._source, self._sink = source, sink
        self.trouble: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        with self._keeping():
            return self._source.read(size)

    def write(self, block: bytes) -> int:
        with self._keeping():
            return self._sink.write(block)

    def flush(self) -> None:
        self._sink.flush()

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.trouble = error
            raise RuntimeError("stopped") from error


def _encrypt(source: Readable, sink: _Sink, recipients: Sequence[str]) -> None:
    kept = _Kept(source, sink)
    try:
        pyrage.encrypt_io(kept, kept, [_recipient(text) for text in recipients])
    except pyrage.EncryptError as error:
        raise kept.trouble or OSError(f"age could not encrypt: {error}.") from error


class _Gzip:
    """gzip's format, as the program writes it, read as it is made."""

    def __init__(self, source: Readable) -> None:
        self._source: Readable | None = source
        self._packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self._ready = bytearray()

    def read(self, size: int = -1) -> bytes:
        wanted = size if size > 0 else BLOCK
        while len(self._ready) < wanted and self._source is not None:
            block = self._source.read(BLOCK)
            if block:
                self._ready += self._packer.compress(block)
            else:
                self._ready += self._packer.flush()
                self._source = None
        found = bytes(self._ready[:wanted])
        del self._ready[:wanted]
        return found


def _compressed(source: Readable, compression: str) -> Readable:
    if compression == "gzip":
        return _Gzip(source)
    if compression != "zstd":
        raise ValueError(f"No such compression: {compression!r}.")
    chosen = zstandard.ZstdCompressionParameters.from_level(
        ZSTD_LEVEL, hash_log=ZSTD_HASH_LOG, write_checksum=True
    )
    packer = zstandard.ZstdCompressor(compression_params=chosen)
    return cast("Readable", packer.stream_reader(cast("Any", source), read_size=BLOCK))


class _Gunzip:
    def __init__(self, source: Readable) -> None:
        self._source, self._unpacker = source, zlib.decompressobj(16 + zlib.MAX_WBITS)

    def read(self, size: int = -1) -> bytes:
        wanted = size if size > 0 else BLOCK
        while True:
            if self._unpacker.eof:
                if self._unpacker.unused_data or self._source.read(1):
                    raise CorruptCopy("Behind the end of the compressed data stands something else.")
                return b""
            block = self._unpacker.unconsumed_tail or self._source.read(BLOCK)
            if not block:
                raise CorruptCopy("The compressed data end too early: the file was cut.")
            try:
                found = self._unpacker.decompress(block, wanted)
            except zlib.error as error:
                raise CorruptCopy(f"The data cannot be decompressed: {error}.") from None
            if found:
                return found


class _Unzstd:
    """One frame, no more and no less; zstandard's own reader ends a cut one without a word."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._unpacker = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
        self._blocks: Iterator[bytes] = iter(())

    def read(self, size: int = -1) -> bytes:
        while True:
            if self._unpacker.eof:
                if self._unpacker.unused_data or self._source.read(1):
                    raise CorruptCopy("Behind the end of the compressed data stands something else.")
                return b""
            # Small steps, since what one gives comes out whole: 64 MB at most, 32,768 times as long (a block
            # of one repeated byte takes 4 bytes for 128 kB).
            block = self._source.read(2 * 1024)
            if not block:
                raise CorruptCopy("The compressed data end too early: the file was cut.")
            try:
                found = self._unpacker.decompress(block)
            except zstandard.ZstdError as error:
                raise CorruptCopy(f"The data cannot be decompressed: {error}.") from None
            if found:
                return found


def _decompressed(source: Readable, compression: str) -> Readable:
    if compression not in ("gzip", "zstd"):
        raise CorruptCopy(f"The copy says it is compressed by {compression!r}, which is unknown.")
    return _Gunzip(source) if compression == "gzip" else _Unzstd(source)


class _Raw(io.RawIOBase):
    """What has `read` alone as a raw file, for io.BufferedReader."""

    def __init__(self, source: Readable) -> None:
        self._source, self._rest = source, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._source.read(BLOCK))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


@contextmanager
def _decrypted(disk: IO[bytes], identities: Sequence[str]) -> Iterator[IO[bytes]]:
    """What age finds, through a pipe: pyrage pushes, and readers pull."""
    if not identities:
        raise KeyMissing("The copy is encrypted, and ARC_BACKUP_IDENTITY_FILE names no identity here.")
    keys = [_identity(text) for text in identities]
    reading, writing = os.pipe()
    trouble: list[Exception] = []

    def push() -> None:
        try:
            with os.fdopen(writing, "wb") as pipe:
                pyrage.decrypt_io(disk, pipe, keys)
        except Exception as error:  # noqa: BLE001 - told by the one who reads
            trouble.append(error)

    worker = threading.Thread(target=push, name="age", daemon=True)
    worker.start()
    try:
        with os.fdopen(reading, "rb") as pipe:  # closed early, it ends the other side
            yield cast("IO[bytes]", _Told(pipe, worker, trouble))
    finally:
        worker.join()


class _Told:
    """The pipe's end, with what went wrong on the other side."""

    def __init__(self, pipe: IO[bytes], worker: threading.Thread, trouble: list[Exception]) -> None:
        self._pipe, self._worker, self._trouble = pipe, worker, trouble

    def read(self, size: int = -1) -> bytes:
        block = self._pipe.read(size)
        if not block:
            self._worker.join()
            if self._trouble:
                raise _in_words(self._trouble[0])
        return block


def _in_words(error: Exception) -> Exception:
    if "No matching keys" in str(error):
        return KeyMissing(
            "The copy is encrypted to other recipients than the identities in ARC_BACKUP_IDENTITY_FILE."
        )
    if isinstance(error, OSError) and error.errno:
        return error
    return CorruptCopy(f"The copy cannot be decrypted: {error}.")


def _recipient(text: str) -> Any:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise KeyMissing(f"{text[:12]}… in ARC_BACKUP_RECIPIENTS is no recipient of age (age1…).") from error


def _identity(text: str) -> Any:
    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise KeyMissing("ARC_BACKUP_IDENTITY_FILE holds a line that is no identity of age.") from None
