"""Base backups, whole and incremental: taken of a real server, proven by a real one, and found out."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from arcweb.backups import seals, streams, taking
from arcweb.backups.exceptions import BackupError, CorruptCopy, SpaceError
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.physical import chain, cluster, proof, segments, tar
from arcweb.backups.physical.segments import Step, lsn
from arcweb.backups.proving.ladder import Console, Copy, Ladder, NotTried
from arcweb.embedded.stack import Stack
from tests.backups.physical.conftest import Story, know, superuser, take

#: The line of descent of a cluster that never went back.
FIRST = [Step(1, None)]


def prove(manifest: Manifest, *, trusted: bool = True) -> Ladder:
    ladder = Ladder(Console())
    path = settings.ARC_BACKUP_DIR / manifest.file.name
    proof.prove(Copy(path, manifest, trusted=trusted), ladder)
    return ladder


def raw(manifest: Manifest) -> bytes:
    with streams.open_copy(settings.ARC_BACKUP_DIR / manifest.file.name, compression="zstd") as source:
        return source.read()


def put(manifest: Manifest, content: bytes) -> Manifest:
    """The copy with other content, and hashes that fit it: as someone who forges would."""
    path = settings.ARC_BACKUP_DIR / manifest.file.name
    path.unlink()
    written = streams.write_copy(io.BytesIO(content), path, compression="zstd", reserve=0)
    return replace(manifest, file=replace(manifest.file, raw_bytes=written.raw_bytes))


def test_a_taken_copy_says_what_a_recovery_must_know(story: Story) -> None:
    whole, incremental = story.whole, story.incremental
    assert whole.physical["system"] == incremental.physical["system"] != ""
    assert whole.physical["timeline"] == 1
    assert whole.physical["first_segment"] < incremental.physical["first_segment"]
    assert (whole.parent, incremental.parent) == ("", whole.id)
    assert incremental.physical["chain"] == [whole.id]
    assert incremental.file.raw_bytes < whole.file.raw_bytes / 2
    assert whole.client["tool"] == "pg_basebackup"
    assert any("pg_combinebackup" in line for line in incremental.restore)
    # Put aside for the next incremental one.
    assert {path.name for path in (story.folder / "chains").iterdir()} == {whole.id, incremental.id}
    for one in (whole, incremental):
        path = story.folder / one.file.name
        with (
            streams.open_copy(path, compression="zstd") as source,
            tarfile.open(fileobj=source, mode="r|") as members,
        ):
            inside = sorted(Path(each.name).name for each in members if segments.parse(Path(each.name).name))
        assert (inside[0], inside[-1]) == (one.physical["first_segment"], one.physical["last_segment"])


def test_a_chain_is_proven_by_a_server_that_reads_every_table(
    here: Stack, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []  # tests beside this one have folders there, too
    make = tempfile.mkdtemp

    def told(*words: Any, **options: Any) -> str:
        made.append(make(*words, **options))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", told)
    ladder = prove(story.incremental)
    names = [step.name for step in ladder.steps]
    assert names == [
        "unpack", "files", "unpack", "files", "combine", "start", "system", "tables", "structures", "stop",
        "checksums",
    ]  # fmt: skip
    assert all(step.ok for step in ladder.steps)
    # Nothing is left: no server, no folder.
    folders = [path for path in map(Path, made) if path.name.startswith(cluster.SCRATCH)]
    assert folders
    assert not [path for path in folders if path.exists()]


def test_a_file_that_was_tampered_with_is_found_by_the_backups_own_list(here: Stack, story: Story) -> None:
    content = bytearray(raw(story.whole))
    at = content.index(b"first first first")
    content[at : at + 5] = b"worst"
    with pytest.raises(
        CorruptCopy, match=r"pg_verifybackup found the base backup damaged.*checksum mismatch"
    ):
        prove(put(story.whole, bytes(content)))


def test_a_copy_of_another_cluster_is_found_out(here: Stack, story: Story) -> None:
    other = replace(story.whole, physical=story.whole.physical | {"system": "7000000000000000000"})
    with pytest.raises(CorruptCopy, match="and its manifest says 7000000000000000000"):
        prove(other)


def test_a_chain_without_its_beginning_says_so(here: Stack, story: Story) -> None:
    Backup.objects.filter(pk=story.whole.id).update(state="bad")
    with pytest.raises(CorruptCopy, match=r"builds on postgres-.* which is bad"):
        prove(story.incremental)
    Backup.objects.filter(pk=story.incremental.id).update(parent=None)
    Backup.objects.filter(pk=story.whole.id).delete()
    with pytest.raises(CorruptCopy, match="builds on a base backup that is gone"):
        prove(story.incremental)


def test_a_copy_from_outside_is_not_started(here: Stack, story: Story) -> None:
    with pytest.raises(NotTried, match="holds code that runs in the server"):
        prove(story.whole, trusted=False)
    system = story.whole.physical["system"]
    newest = chain.newest(chain.known(), system, FIRST)
    assert newest is not None
    assert newest.id == story.incremental.id
    stranger = replace(story.whole, seal="").to_json()
    Backup.objects.filter(pk=story.whole.id).update(manifest=stranger)
    with pytest.raises(NotTried, match="not made here"):
        prove(story.incremental)
    assert chain.newest(chain.known(), system, FIRST) is None


def test_a_cluster_that_a_killed_proof_left_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / f"{cluster.SCRATCH}left"
    (left / "part0").mkdir(parents=True)
    with cluster.scratch(0, beside=tmp_path) as held:
        assert left.exists(), "it is not old"
        monkeypatch.setattr(cluster, "LEFT", -1.0)
        with cluster.scratch(0, beside=tmp_path):
            assert (left.exists(), held.exists()) == (False, True)


def test_what_is_newest_stands_in_the_log_whatever_a_clock_said(here: Stack, story: Story) -> None:
    ahead = replace(story.whole, taken_at=story.whole.taken_at + timedelta(days=400))
    Backup.objects.filter(pk=story.whole.id).update(manifest=seals.sealed(ahead).to_json())
    newest = chain.newest(chain.known(), story.whole.physical["system"], FIRST)
    assert newest is not None
    assert newest.id == story.incremental.id


def test_a_copy_of_a_branch_that_was_left_is_no_beginning(here: Stack, story: Story) -> None:
    """After an undo the cluster is back on its old timeline, and copies of the other one stay."""
    physical = story.whole.physical
    left = lsn(str(physical["stop_lsn"]))
    id_ = str(uuid.uuid4())
    file = replace(story.whole.file, name=f"postgres-20261123T000000Z-{id_[:8]}.tar.zst")
    os.link(settings.ARC_BACKUP_DIR / story.whole.file.name, settings.ARC_BACKUP_DIR / file.name)
    of_two = replace(story.whole, id=id_, file=file, physical=physical | {"timeline": 2})
    know(seals.sealed(of_two))
    items = chain.known()

    def newest(*line: Step) -> str:
        found = chain.newest(items, str(physical["system"]), line)
        return found.id if found else ""

    assert newest(Step(1, None)) == story.incremental.id
    assert newest(Step(1, left), Step(2, None)) == of_two.id
    # A second restore began at the first timeline again, before the incremental one.
    assert newest(Step(1, left), Step(3, None)) == story.whole.id
    assert newest(Step(1, left - 1), Step(3, None)) == ""
    assert take("incremental", settings.ARC_BACKUP_DIR).parent == story.incremental.id


def test_what_builds_on_a_copy_that_is_elsewhere_is_no_beginning(here: Stack, story: Story) -> None:
    Backup.objects.filter(pk=story.whole.id).update(local=False, remote=True)
    assert story.whole.id in chain.known()
    assert chain.newest(chain.known(), story.whole.physical["system"], FIRST) is None


def test_nothing_is_unpacked_where_there_is_no_room_for_it(tmp_path: Path) -> None:
    with (
        pytest.raises(SpaceError, match="Make room, then start again"),
        cluster.scratch(2**60, beside=tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_failed_keeps_nothing_put_aside(here: Stack, story: Story) -> None:
    failed = Backup.objects.create(source="postgres", format="base", state="failed", trouble="killed")
    copies = Path(settings.ARC_BACKUP_DIR)
    for id_ in (str(failed.pk), story.whole.id):
        chain.keep(copies, id_, b"listed")
    (copies / chain.FOLDER / f".{failed.pk}.part").write_bytes(b"half")
    chain.forget_unneeded(copies)
    assert [path.name for path in (copies / chain.FOLDER).iterdir()] == [story.whole.id]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("../outside", tarfile.REGTYPE, "leads outside"),
        ("/etc/outside", tarfile.REGTYPE, "leads outside"),
        ("pg_tblspc/1", tarfile.SYMTYPE, "neither file nor folder"),
        ("hard", tarfile.LNKTYPE, "neither file nor folder"),
        ("device", tarfile.CHRTYPE, "neither file nor folder"),
    ],
)
def test_a_tar_gets_nowhere_but_into_its_folder(name: str, kind: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptCopy, match=words), folder(tmp_path / "new") as inside:
        tar.unpack(made([(name, kind)]), inside, room=100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def test_a_tar_holds_no_more_than_it_admits_and_no_name_twice(tmp_path: Path) -> None:
    two = [("base/1", tarfile.REGTYPE), ("base/2", tarfile.REGTYPE)]
    with pytest.raises(CorruptCopy, match="more than the 5 bytes"), folder(tmp_path / "new") as inside:
        tar.unpack(made(two), inside, room=5)
    with (
        pytest.raises(CorruptCopy, match="cannot be unpacked: File exists"),
        folder(tmp_path / "b") as inside,
    ):
        tar.unpack(made([two[0], two[0]]), inside, room=100)


def test_a_stream_is_whole_only_with_its_end() -> None:
    content = made([("backup_label", tarfile.REGTYPE), ("base/1", tarfile.REGTYPE)]).getvalue()
    for cut, whole in ((len(content), True), (1024, False)):
        watcher = tar.Watcher(io.BytesIO(content[:cut]))
        while watcher.read(7):
            pass
        assert watcher.whole is whole
        assert bytes(watcher.members["backup_label"]) == b"text"
    going_on = tar.Watcher(io.BytesIO(content + content[:512]))
    while going_on.read(4096):
        pass
    assert not going_on.whole
    with pytest.raises(CorruptCopy, match="no tar of pg_basebackup"):
        tar.Watcher(io.BytesIO(b"SELECT 1;" * 100)).read()


@contextmanager
def folder(path: Path) -> Iterator[int]:
    path.mkdir()
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)


def made(members: list[tuple[str, bytes]]) -> io.BytesIO:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as out:
        for name, kind in members:
            one = tarfile.TarInfo(name)
            one.type, one.linkname = kind, "/etc/passwd"
            one.size = 4 if kind == tarfile.REGTYPE else 0
            out.addfile(one, io.BytesIO(b"text"))
    found.seek(0)
    return found


def test_without_the_password_the_whole_area_says_what_to_set(here: Stack, monkeypatch: Any) -> None:
    monkeypatch.setattr(settings, "ARC_REPLICATION_PASSWORD", "")
    with pytest.raises(BackupError, match="put it into ARC_REPLICATION_PASSWORD"):
        take("base", settings.ARC_BACKUP_DIR)


def test_a_wrong_password_fails_with_the_servers_words(here: Stack, monkeypatch: Any) -> None:
    monkeypatch.setattr(settings, "ARC_REPLICATION_PASSWORD", "wrong")
    with pytest.raises(BackupError, match="password authentication failed"):
        take("base", settings.ARC_BACKUP_DIR)


def test_a_role_that_may_not_replicate_is_told_how_it_may(here: Stack) -> None:
    with superuser(here) as connection:
        connection.execute("ALTER ROLE arc_replication NOREPLICATION")
        try:
            with pytest.raises(BackupError, match="ALTER ROLE arc_replication REPLICATION"):
                take("base", settings.ARC_BACKUP_DIR)
        finally:
            connection.execute("ALTER ROLE arc_replication REPLICATION")


def test_tablespaces_are_refused_before_any_work(here: Stack) -> None:
    with superuser(here) as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute("CREATE TABLESPACE elsewhere LOCATION ''")
        try:
            with pytest.raises(BackupError, match=r"tablespaces \(elsewhere\)"):
                take("base", settings.ARC_BACKUP_DIR)
        finally:
            connection.execute("DROP TABLESPACE elsewhere")


def test_an_incremental_needs_a_whole_one_of_the_same_cluster(here: Stack, story: Story) -> None:
    Backup.objects.filter(pk=story.incremental.id).delete()
    other = replace(story.whole, physical=story.whole.physical | {"system": "1"})
    Backup.objects.filter(pk=story.whole.id).update(manifest=seals.sealed(other).to_json())
    with pytest.raises(BackupError, match="take a whole one"):
        take("incremental", settings.ARC_BACKUP_DIR)


def test_a_parents_list_is_read_out_of_the_copy_where_it_was_not_put_aside(here: Stack, story: Story) -> None:
    item = chain.known()[story.whole.id]
    with chain.listed(item, settings.ARC_BACKUP_DIR, lambda: None) as path:
        assert path.read_bytes() == (story.folder / "chains" / story.whole.id).read_bytes()


def test_a_parent_is_needed_as_long_as_its_child_is_kept(here: Stack, story: Story) -> None:
    assert chain.needed([story.incremental.id]) == {story.whole.id, story.incremental.id}
    assert chain.needed([story.whole.id]) == {story.whole.id}


def test_the_killed_program_leaves_nothing(here: Stack, monkeypatch: Any) -> None:
    class Killer(taking.Quiet):
        def progress(self, done: int, total: int | None = None, message: str = "") -> None:
            if done:
                subprocess.run(["pkill", "-9", "-P", str(os.getpid()), "pg_basebackup"], check=False)

    before = set(Path(settings.ARC_BACKUP_DIR).iterdir())
    with pytest.raises(BackupError, match="pg_basebackup was ended by SIGKILL"):
        take("base", settings.ARC_BACKUP_DIR, Killer())
    assert set(Path(settings.ARC_BACKUP_DIR).iterdir()) == before
