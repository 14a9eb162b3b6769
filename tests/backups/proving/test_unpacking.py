"""What comes out of a copy is bounded, and its temporary file outlasts nobody."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from arcweb.backups import streams
from arcweb.backups.exceptions import CorruptCopy, SpaceError
from arcweb.backups.proving import unpacking

ROWS = b"".join(b"%08x\trow of many, and no two of them alike\n" % number for number in range(20_000))


def unpack(tmp_path: Path, data: bytes, compression: str, **options: int | None) -> unpacking.Unpacked:
    path = tmp_path / "packed"
    path.write_bytes(data)
    target = tmp_path / "target"
    options = {"packed": len(data)} | options
    with streams.open_copy(path, compression=compression) as source:
        found = unpacking.unpack(source, target, **options)  # type: ignore[arg-type]
    assert target.read_bytes()[:50] == ROWS[:50]
    return found


def test_what_is_no_bomb_comes_out(tmp_path: Path) -> None:
    found = unpack(tmp_path, gzip.compress(ROWS), "gzip", claimed=len(ROWS))
    assert found.bytes == len(ROWS) == (tmp_path / "target").stat().st_size
    assert unpack(tmp_path, zstandard.compress(ROWS), "zstd") == found


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_a_bomb_is_left_off_before_it_fills_the_disk(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "HARMLESS", 2_000_000)
    data = ROWS + bytes(60_000_000)
    bomb = zstandard.compress(data) if compression == "zstd" else gzip.compress(data, 1)
    monkeypatch.setattr(unpacking, "MOST_RATIO", 100)
    with pytest.raises(CorruptCopy, match="made to fill a disk"):
        unpack(tmp_path, bomb, compression)
    assert (tmp_path / "target").stat().st_size <= 2_000_000 + 100 * len(bomb) + unpacking.BLOCK
    with pytest.raises(CorruptCopy, match="holds more than its manifest says"):
        unpack(tmp_path, bomb, compression, claimed=len(ROWS))
    assert (tmp_path / "target").stat().st_size <= len(ROWS)
    # What is ours may be as compressible as it likes.
    assert unpack(tmp_path, bomb, compression, packed=None).bytes == len(data)


def test_the_disk_keeps_its_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "RESERVE", 10**15)
    with pytest.raises(SpaceError, match="stay free for the servers"):
        unpack(tmp_path, gzip.compress(ROWS), "gzip")
    assert (tmp_path / "target").stat().st_size == 0


def test_a_temporary_file_goes_with_its_block_and_with_its_process(tmp_path: Path) -> None:
    spool = tmp_path / unpacking.SPOOL
    with unpacking.temporary(tmp_path) as one, unpacking.temporary(tmp_path) as two:
        assert one.stat().st_mode & 0o777 == 0o600
        assert set(spool.iterdir()) == {one, two}
        unpacking.list_beside(one).write_text("1; 2 3\n")
        unpacking.sweep(spool)
        assert unpacking.list_beside(one).exists()  # whoever comes next takes it from nobody
        unpacking.list_beside(one).unlink()
    with pytest.raises(ZeroDivisionError), unpacking.temporary(tmp_path):
        raise ZeroDivisionError
    assert list(spool.iterdir()) == []
    assert spool.stat().st_mode & 0o777 == 0o700
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom arcweb.backups.proving import unpacking\n"
        "with unpacking.temporary(Path(sys.argv[1])) as path:\n"
        "    print(path, flush=True)\n    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as child:
        assert child.stdout is not None
        left = Path(child.stdout.readline().strip())
        unpacking.sweep(spool)
        assert left.exists()  # in use
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert left.exists()
    unpacking.list_beside(left).write_text("1; 2 3\n")
    with unpacking.temporary(tmp_path) as now:
        assert set(spool.iterdir()) == {now}
