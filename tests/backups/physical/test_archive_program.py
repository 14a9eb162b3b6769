"""The archive of the embedded PostgreSQL: what its archive_command puts there, and when it refuses."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest

from arcweb.embedded import wal
from arcweb.embedded.stack import Stack
from tests.backups.physical.conftest import superuser, switch
from tests.waiting import until

HERE = Path(wal.__file__).parent
NAME = "000000010000000000000001"


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", HERE / program, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    folder = tmp_path / 'an archive\'s "place"'
    folder.mkdir()
    source = tmp_path / "pg wal"
    source.write_bytes(b"log" * 5000)
    return folder, source


def test_a_file_goes_in_whole_and_comes_back_the_same(places: tuple[Path, Path], tmp_path: Path) -> None:
    folder, source = places
    assert run("archive-wal.sh", folder, source, NAME).returncode == 0
    assert gzip.decompress((folder / f"{NAME}.gz").read_bytes()) == source.read_bytes()
    assert [path.name for path in folder.iterdir()] == [f"{NAME}.gz"]
    assert run("restore-wal.sh", folder, NAME, tmp_path / "back").returncode == 0
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_the_same_file_again_is_fine_and_another_of_its_name_is_refused(places: tuple[Path, Path]) -> None:
    folder, source = places
    assert run("archive-wal.sh", folder, source, NAME).returncode == 0
    before = (folder / f"{NAME}.gz").read_bytes()
    assert run("archive-wal.sh", folder, source, NAME).returncode == 0
    source.write_bytes(b"of another server")
    done = run("archive-wal.sh", folder, source, NAME)
    assert done.returncode == 1
    assert "Another server writes into this archive" in done.stderr
    assert (folder / f"{NAME}.gz").read_bytes() == before


def test_a_full_disk_is_told_and_leaves_nothing(places: tuple[Path, Path]) -> None:
    folder, source = places
    (folder / f".{NAME}.part").symlink_to("/dev/full")
    done = run("archive-wal.sh", folder, source, NAME)
    assert done.returncode == 1
    assert "is its disk full?" in done.stderr
    assert list(folder.iterdir()) == []


def test_what_a_killed_run_left_is_replaced(places: tuple[Path, Path]) -> None:
    folder, source = places
    (folder / f".{NAME}.part").write_bytes(b"half")
    assert run("archive-wal.sh", folder, source, NAME).returncode == 0
    assert gzip.decompress((folder / f"{NAME}.gz").read_bytes()) == source.read_bytes()


def test_an_absent_file_is_said_to_be_absent_and_pg_wal_is_asked_last(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, source = places
    assert run("restore-wal.sh", folder, NAME, tmp_path / "back").returncode == 1
    left = tmp_path / "pg_wal"
    left.mkdir()
    (left / NAME).write_bytes(source.read_bytes())
    assert run("restore-wal.sh", folder, NAME, tmp_path / "back", left).returncode == 0
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    (folder / NAME).write_bytes(b"in the archive, not compressed")
    assert run("restore-wal.sh", folder, NAME, tmp_path / "back", left).returncode == 0
    assert (tmp_path / "back").read_bytes() == b"in the archive, not compressed"


def test_the_embedded_server_archives_below_any_path(archiving: Stack) -> None:
    folder = archiving.layout.real_servers_dir / wal.ARCHIVE
    name = switch(archiving)
    assert len(gzip.decompress((folder / f"{name}.gz").read_bytes())) == 16 * 1024**2
    assert folder.stat().st_uid == archiving.user.uid
    assert folder.stat().st_mode & 0o777 == 0o700
    with superuser(archiving) as connection:
        row = connection.execute("SELECT failed_count FROM pg_stat_archiver").fetchone()
    assert row == (0,)


def test_a_foreign_file_in_the_archive_shows_in_pg_stat_archiver(archiving: Stack) -> None:
    with superuser(archiving) as connection:
        row = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone()
        assert row is not None
        stranger = archiving.layout.real_servers_dir / wal.ARCHIVE / f"{row[0]}.gz"
        stranger.write_bytes(gzip.compress(b"x"))
        stranger.chmod(0o644)
        connection.execute("SELECT pg_current_xact_id()")
        connection.execute("SELECT pg_switch_wal()")
        until(
            lambda: connection.execute(
                "SELECT true FROM pg_stat_archiver WHERE last_failed_wal = %s", [row[0]]
            ).fetchone()
        )
        stranger.unlink()
        until(
            lambda: connection.execute(
                "SELECT true FROM pg_stat_archiver WHERE last_archived_wal >= %s", [row[0]]
            ).fetchone(),
            180,  # after three failures the archiver waits for a minute
            "the next try of the archiver",
        )
        connection.execute("SELECT pg_stat_reset_shared('archiver')")
