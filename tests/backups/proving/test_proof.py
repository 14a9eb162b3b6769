"""Copies proven: what is whole is, what is damaged is said to be, and what could not be tried is neither."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage
import pytest
from django.utils import timezone

from arcweb.backups import manifest as manifests
from arcweb.backups import seals
from arcweb.backups.models import Backup
from arcweb.backups.places import fetching
from arcweb.backups.proving import proof, unpacking
from arcweb.backups.taking import Options, take
from tests.backups.proving import sample
from tests.backups.proving.conftest import Sample
from tests.backups.proving.rows import copy, events, proven, steps

pytestmark = pytest.mark.django_db
FORMATS = pytest.mark.parametrize("format_", ["custom", "plain"])


@FORMATS
def test_a_whole_copy_is_proven_step_by_step(
    source: Sample, folder: Path, format_: str, made: list[str]
) -> None:
    backup = copy(source, folder, format_, state=Backup.State.WRITTEN)
    outcome = proven(backup)
    assert (outcome.verdict, outcome.trouble) == ("proven", "")
    assert backup.state == Backup.State.VERIFIED
    assert backup.verified_at is not None
    assert backup.hashed_at is not None
    assert backup.checked_at is not None
    assert backup.verify_seconds == backup.check_result["seconds"] > 0
    contents = ["contents"] if format_ == "custom" else []
    assert list(steps(backup)) == [
        *("file", "manifest", "hash", "unpacked", *contents, "scratch", "restored"),
        *("rows", "sequences", "structure", "vectors"),
    ]
    assert set(steps(backup).values()) == {True}
    said = {step["name"]: step["sentence"] for step in backup.check_result["steps"]}
    assert "68 rows in 4 tables, 2 of them attached as partitions" in said["rows"]
    assert "2 sequences stand where they should" in said["sequences"]
    assert "nearest (hnsw) gave 10 neighbours" in said["vectors"]
    assert "generated columns, computed again and hashed: 1" in said["structure"]
    assert events(backup) == ["backup.verified"]
    assert len(made) == 1
    assert sample.scratches().isdisjoint(made)
    assert list((folder / "spool").iterdir()) == []
    assert proven(backup).verdict == "proven"  # twice is harmless


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def other(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


DAMAGE = {
    "a bit flipped": (flip, "is damaged: it has its", "hash"),
    "cut": (cut, r"was cut: 100 of [\d,]+ bytes are missing", "hash"),
    "longer": (grow, "has 4 bytes more", "hash"),
    "another file": (other, "is another file", "hash"),
    "empty": (lambda path: path.write_bytes(b""), "is empty", "hash"),
    "gone": (lambda path: path.unlink(), "The file is gone", "file"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_said(source: Sample, folder: Path, damage: str) -> None:
    backup, beside = copy(source, folder), copy(source, folder)
    change, said, step = DAMAGE[damage]
    change(folder / backup.file)
    outcome = proven(backup)
    assert outcome.verdict == "bad"
    assert backup.state == Backup.State.BAD
    assert re.search(said, backup.trouble), backup.trouble
    assert steps(backup)[step] is False
    assert list(steps(backup))[-1] == step
    assert events(backup) == ["backup.bad"]
    assert not Backup.objects.proven().exists()
    assert (folder / backup.file).exists() == (damage != "gone")
    # The copy beside it is none the worse, and a bad one that is whole again is proven again.
    assert Backup.objects.get(pk=beside.pk).state == Backup.State.HASHED


def test_what_builds_on_a_bad_copy_is_proven_no_longer(source: Sample, folder: Path) -> None:
    backup = copy(source, folder)
    above = backup
    for _ in range(2):
        above = copy(source, folder, state="verified", verified_at=timezone.now(), parent=above)
    Backup.objects.filter(pk=backup.pk).update(parent=above)  # a circle is walked once
    Backup.objects.update(format="incremental")
    flip(folder / backup.file)
    assert proven(backup).verdict == "bad"
    below = Backup.objects.exclude(pk=backup.pk)
    assert [one.state for one in below] == ["hashed", "hashed"]
    assert all(backup.file in one.trouble for one in below)


def test_a_folder_that_is_away_says_nothing_about_a_copy_in_the_store(
    source: Sample, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = copy(source, folder, remote=True)
    away = folder / "away"
    away.mkdir()
    for path in folder.glob("postgres-*"):
        path.rename(away / path.name)
    monkeypatch.setattr(fetching, "fetch", lambda row, progress: away / row.file)
    assert proven(backup).verdict == "proven"


def test_a_disk_that_cannot_read_a_copy_makes_it_bad_and_no_other_fault_of_the_system_does(
    source: Sample, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = copy(source, folder, remote=True)

    def failing(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fadvise", failing)
    number = errno.ESTALE
    assert (proven(backup).verdict, backup.state) == ("not tried", Backup.State.HASHED)
    number = errno.EIO
    assert (proven(backup).verdict, backup.state) == ("bad", Backup.State.BAD)
    assert "The disk cannot read" in backup.trouble
    assert "The store may hold it whole" in backup.trouble


def test_manifests_that_are_not_the_copys_own_are_found(source: Sample, folder: Path) -> None:
    one, two = copy(source, folder), copy(source, folder)
    paths = [folder / manifests.manifest_name(backup.file) for backup in (one, two)]
    kept = [path.read_bytes() for path in paths]
    for path, data in zip(paths, reversed(kept), strict=True):
        path.write_bytes(data)
    assert "manifest of another copy" in proven(one).trouble
    outcome = proof.prove_file(folder / one.file)  # what it holds is the same
    assert (outcome.verdict, "manifest of another copy" in outcome.trouble) == ("bad", True)
    for path, data in zip(paths, kept, strict=True):
        path.write_bytes(data)
    manifest = manifests.read(paths[0])[0]
    sample.rewritten(folder, manifest, notes=["all is well"])
    assert "was changed since it was written" in proven(one).trouble
    assert one.state == Backup.State.BAD
    paths[0].write_bytes(b"{")
    assert "it is no JSON" in proven(one).trouble
    paths[0].unlink()
    outcome = proven(one)
    assert (outcome.verdict, "The manifest is gone" in outcome.trouble) == ("bad", True)
    paths[0].write_bytes(kept[0])
    assert proven(one).verdict == "proven"
    assert (one.state, one.trouble) == (Backup.State.VERIFIED, "")


def test_the_manifest_of_a_copy_in_the_store_gives_the_hash_of_the_catalogue(
    source: Sample, folder: Path
) -> None:
    backup = copy(source, folder, local=False, remote=True)
    file = manifests.Manifest.from_json(backup.manifest).file
    beside = manifests.read(folder / manifests.manifest_name(backup.file))[0]
    sample.rewritten(folder, beside, file=replace(file, sha256="0" * 64))
    assert "another size or hash than the catalogue" in proven(backup).trouble


def test_a_manifest_that_was_made_to_fit_a_changed_file_is_found_by_the_catalogue(
    source: Sample, folder: Path
) -> None:
    backup = copy(source, folder)
    changed = source.custom.replace(b"memory 7", b"memory 8", 1)
    other = sample.write(folder, changed, source.facts)
    (folder / other.file.name).rename(folder / backup.file)
    (folder / manifests.manifest_name(other.file.name)).unlink()
    file = replace(other.file, name=backup.file)
    sample.rewritten(folder, manifests.Manifest.from_json(backup.manifest), file=file)
    assert "was changed since it was written" in proven(backup).trouble
    # Where the catalogue knows nothing of it the content tells, for the hash of the rows is another.
    Backup.objects.all().delete()
    outcome = proof.prove_file(folder / backup.file)
    assert outcome.verdict == "bad"
    assert "agents.memories has 62 rows as it should, but not the same content" in outcome.trouble
    assert not seals.is_ours(manifests.read(folder / manifests.manifest_name(backup.file))[0])


def test_less_comes_out_than_the_manifest_says_or_more(source: Sample, folder: Path) -> None:
    manifest = sample.write(folder, source.custom, source.facts)
    for lie, said in (
        ({"raw_bytes": 10_000}, "holds more than its manifest says"),
        ({"raw_bytes": 10**9}, "is not what was copied"),
        ({"raw_sha256": "0" * 64}, "or other ones"),
    ):
        lying = sample.rewritten(folder, manifest, file=replace(manifest.file, **lie))
        outcome = proof.prove_file(folder / lying.file.name)
        assert outcome.verdict == "bad"
        assert said in outcome.trouble


def test_a_file_from_outside_gives_no_more_than_a_dump_of_its_length(
    source: Sample, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "HARMLESS", 0)
    monkeypatch.setattr(unpacking, "MOST_RATIO", 1)
    for ours, verdict, said in ((False, "bad", "made to fill a disk"), (True, "proven", "")):
        manifest = sample.write(folder, source.custom, source.facts, ours=ours)
        outcome = proof.prove_file(folder / manifest.file.name)
        assert outcome.verdict == verdict
        assert said in outcome.trouble


def test_there_is_room_for_what_comes_out_or_nothing_is_begun(
    source: Sample, folder: Path, made: list[str]
) -> None:
    huge = 10**15
    manifest = sample.write(folder, source.custom, source.facts | {"database": {"bytes": huge}})
    for step in ("scratch", "unpacked"):
        outcome = proof.prove_file(folder / manifest.file.name)
        assert outcome.verdict == "not tried"
        assert "are needed and" in outcome.trouble
        assert outcome.result["steps"][-1]["name"] == step
        assert outcome.result["steps"][-1]["ok"] is None
        sample.rewritten(folder, manifest, file=replace(manifest.file, raw_bytes=huge))
    assert made == []


@FORMATS
def test_encrypted_copies_are_proven_with_their_key_alone(
    source: Sample, folder: Path, format_: str, settings: Any, tmp_path: Path
) -> None:
    key = pyrage.x25519.Identity.generate()
    manifest = sample.write(
        folder, source.raw(format_), source.facts, format_, recipients=(str(key.to_public()),)
    )
    backup = sample.row(manifest)
    outcome = proven(backup)
    assert outcome.verdict == "not tried"
    assert "names no identity here" in outcome.trouble
    assert backup.state == Backup.State.HASHED
    identities = tmp_path / "identities"
    identities.write_text(f"# made for a test\n{key}\n")
    settings.ARC_BACKUP_IDENTITY_FILE = str(identities)
    assert proven(backup).verdict == "proven"


def test_found_files_are_ours_by_their_seal_alone(source: Sample, folder: Path, settings: Any) -> None:
    manifest = sample.write(folder, source.plain, source.facts, "plain")
    found = sample.row(manifest, trigger=Backup.Trigger.FOUND)
    assert proven(found).verdict == "proven"
    key, settings.SECRET_KEY = settings.SECRET_KEY, "of another installation"
    assert "only copies of this installation" in proven(found).trouble
    assert found.state == Backup.State.VERIFIED
    Backup.objects.update(trigger=Backup.Trigger.MANUAL)
    assert proven(found).verdict == "proven"  # what was taken here is ours, whatever became of the key
    Backup.objects.update(trigger=Backup.Trigger.FOUND)
    assert proven(found, trusted=True).verdict == "proven"
    settings.SECRET_KEY_FALLBACKS = [key]
    assert proven(found).verdict == "proven"


def test_copies_of_other_kinds_go_to_their_own_provers(folder: Path) -> None:
    backup = take(Options(source="redis-state", format="rdb"))
    outcome = proven(backup)
    assert outcome.trouble == ""
    assert backup.state == Backup.State.VERIFIED
    assert list(steps(backup))[:5] == ["file", "manifest", "hash", "unpacked", "whole"]
    flip(folder / backup.file)
    assert "is damaged" in proven(backup).trouble
    assert backup.state == Backup.State.BAD
