"""Copies written whole or not at all, and read back as they went in."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyrage
import pytest
import zstandard

from arcweb.backups import streams
from arcweb.backups.exceptions import CorruptCopy, KeyMissing, SpaceError

#: The same in every run: not every bit of a compressed file counts.
NOISE = random.Random(6)
DATA = b"".join(b"row %d, %s\n" % (i, NOISE.randbytes(8).hex().encode()) for i in range(120_000))
FORMATS = pytest.mark.parametrize("compression", ["zstd", "gzip"])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def read(path: Path, compression: str, **options: Any) -> bytes:
    with streams.open_copy(path, compression=compression, **options) as raw:
        return raw.read()


@FORMATS
@pytest.mark.parametrize("encrypted", [False, True])
def test_what_goes_in_comes_out(tmp_path: Path, compression: str, encrypted: bool) -> None:
    key = pyrage.x25519.Identity.generate()
    target = tmp_path / "copy"
    written = streams.write_copy(
        io.BytesIO(DATA),
        target,
        compression=compression,
        recipients=[str(key.to_public())] if encrypted else [],
    )
    assert names(tmp_path) == {"copy"}
    assert target.stat().st_mode & 0o777 == 0o600
    on_disk = target.read_bytes()
    assert (written.bytes, written.sha256) == (len(on_disk), hashlib.sha256(on_disk).hexdigest())
    assert (written.raw_bytes, written.raw_sha256) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert read(target, compression, encrypted=encrypted, identities=[str(key)]) == DATA
    if encrypted:
        assert b"age-encryption.org" in on_disk
        with pytest.raises(KeyMissing, match="names no identity"):
            read(target, compression, encrypted=True)
        with pytest.raises(KeyMissing, match="other recipients"):
            read(target, compression, encrypted=True, identities=[str(pyrage.x25519.Identity.generate())])


def test_other_programs_read_what_is_written(tmp_path: Path) -> None:
    for compression, program in (("gzip", "gzip"), ("zstd", "zstd")):
        streams.write_copy(io.BytesIO(DATA), tmp_path / compression, compression=compression)
        if shutil.which(program):
            with (tmp_path / compression).open("rb") as file:
                assert (
                    subprocess.run([program, "-dc"], stdin=file, capture_output=True, check=True).stdout
                    == DATA
                )
    assert gzip.decompress((tmp_path / "gzip").read_bytes()) == DATA
    with (tmp_path / "zstd").open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file).read() == DATA


@FORMATS
@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("where", [0.3, 0.999])
def test_a_cut_flipped_or_longer_copy_is_found(
    tmp_path: Path, compression: str, encrypted: bool, where: float
) -> None:
    key, target = pyrage.x25519.Identity.generate(), tmp_path / "copy"
    options: dict[str, Any] = {"encrypted": encrypted, "identities": [str(key)]}
    streams.write_copy(
        io.BytesIO(DATA),
        target,
        compression=compression,
        recipients=[str(key.to_public())] if encrypted else [],
    )
    whole = target.read_bytes()
    place = int(len(whole) * where)
    for broken in (
        whole[:place],
        whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        whole + b"more",
        b"",
    ):
        target.write_bytes(broken)
        with pytest.raises(CorruptCopy):
            read(target, compression, **options)


class Breaks:
    """A source that fails in the middle, as a killed pg_dump does."""

    def __init__(self, error: Exception) -> None:
        self.left, self.error = 3, error

    def read(self, size: int = -1) -> bytes:
        self.left -= 1
        if not self.left:
            raise self.error
        return os.urandom(100_000)


@FORMATS
@pytest.mark.parametrize("encrypted", [False, True])
def test_what_fails_leaves_nothing_and_says_why(tmp_path: Path, compression: str, encrypted: bool) -> None:
    recipients = [str(pyrage.x25519.Identity.generate().to_public())] if encrypted else []

    def write(source: Any, **options: Any) -> None:
        streams.write_copy(
            source, tmp_path / "copy", compression=compression, recipients=recipients, **options
        )

    def ended_badly() -> None:
        raise ValueError("pg_dump ended with code 1")

    def stop(done: int) -> None:
        if done > 200_000:
            raise InterruptedError("cancelled")

    with pytest.raises(ConnectionError, match="server is gone"):
        write(Breaks(ConnectionError("the server is gone")))
    with pytest.raises(ValueError, match="code 1"):
        write(io.BytesIO(DATA), finish=ended_badly)
    with pytest.raises(InterruptedError, match="cancelled"):
        write(io.BytesIO(DATA), progress=stop)
    with pytest.raises(SpaceError, match="Make room"):
        write(io.BytesIO(DATA), reserve=2**62)
    assert names(tmp_path) == set()


def test_the_rate_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    # A clock that stands still: each block waits for all that came before it.
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: 0.0)
    monkeypatch.setattr(streams, "time", clock)
    streams.write_copy(io.BytesIO(DATA), tmp_path / "copy", compression="zstd", rate=1_000_000)
    assert sum(slept) > len(DATA) / 1_000_000
    assert max(slept) <= 0.5


def test_a_file_that_asks_for_more_memory_than_any_of_ours_is_refused(tmp_path: Path) -> None:
    greedy = tmp_path / "greedy"
    chosen = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    packer = zstandard.ZstdCompressor(compression_params=chosen).compressobj()
    greedy.write_bytes(packer.compress(b"x" * 1000) + packer.flush())
    assert zstandard.get_frame_parameters(greedy.read_bytes()).window_size > streams.ZSTD_WINDOW
    with pytest.raises(CorruptCopy, match="memory"):
        read(greedy, "zstd")


def test_a_bomb_comes_out_in_pieces(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb"
    bomb.write_bytes(zstandard.ZstdCompressor().compress(bytes(300 * 1024**2)))
    assert bomb.stat().st_size < 50_000
    with streams.open_copy(bomb, compression="zstd") as raw:
        first = raw.read(10)
    assert first == bytes(10)
    pieces = streams._Unzstd(io.BytesIO(bomb.read_bytes()))
    longest = 0
    while piece := pieces.read():
        longest = max(longest, len(piece))
    assert longest <= 64 * 1024**2
