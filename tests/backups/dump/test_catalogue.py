"""The catalogue made again from the manifests, and the commands that show it."""

from __future__ import annotations

import json
import uuid
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.db.models.functions import Now

from agents.models import Agent
from arcweb.backups import catalogue, seals, tasks
from arcweb.backups import manifest as manifests
from arcweb.backups.models import Backup
from arcweb.backups.querysets import installation
from arcweb.backups.taking import Options, take
from arcweb.events.models import Event
from tests.backups.copies import copy
from tests.backups.made import make_copy, make_files
from tests.database.elsewhere.conftest import a_new_connection


def run(*arguments: str) -> tuple[int, Any]:
    """The exit code and the JSON of a subcommand."""
    out = StringIO()
    try:
        call_command("backup", *arguments, "--json", stdout=out)
    except SystemExit as ended:
        return int(str(ended.code)), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("backup", *arguments, stdout=out)
    return out.getvalue()


def test_create_prints_id_and_path(agents: list[Agent], folder: Path) -> None:
    code, found = run("create", "--schema", "agents")
    backup = Backup.objects.get()
    assert (code, found["ok"], found["id"], found["path"]) == (
        0,
        True,
        str(backup.pk),
        str(folder / backup.file),
    )
    assert found["scope"] == {"schema": "agents"}
    assert Path(found["path"]).exists()
    assert f"{backup.pk}  2" in said("list")
    Backup.objects.update(state="verified", verified_at=Now())
    assert "UTC  proven  " in said("list")


def test_create_says_how_the_copy_is_proven(agents: list[Agent], folder: Path) -> None:
    words = said("create", "--schema", "agents")
    assert f"manage.py backup verify {str(Backup.objects.get().pk)[:8]}" in words


def test_wrong_usage_and_wrong_wishes(agents: list[Agent], folder: Path) -> None:
    for arguments in (["create", "--kind", "mongo"], ["creat"], []):
        with pytest.raises(CommandError):
            call_command("backup", *arguments)
    code, found = run("create", "--format", "cpio")
    assert (code, found["ok"]) == (1, False)
    assert "known: custom, plain" in found["error"]
    code, found = run("create", "--format", "base", "--schema", "agents")
    assert (code, "are for the formats custom and plain" in found["error"]) == (1, True)
    code, found = run("create", "--agent", "nobody")
    assert (code, found["error"]) == (1, "There is no agent with this name or id: nobody.")


def test_an_agent_is_named(agents: list[Agent], folder: Path) -> None:
    code, found = run("create", "--agent", agents[0].name)
    assert (code, found["scope"]) == (0, {"agent": str(agents[0].pk)})


def test_a_catalogue_that_is_gone_is_made_again(agents: list[Agent], folder: Path) -> None:
    before = [take(Options()), take(Options(format="plain", scope={"schema": "agents"}))]
    Backup.objects.all().delete()
    code, found = run("scan")
    assert (code, set(found["found"])) == (0, {backup.file for backup in before})
    for backup in before:
        again = Backup.objects.get(pk=backup.pk)
        assert (again.state, again.trigger, again.local) == ("written", "found", True)
        assert (again.owner, again.manifest["installation"]) == (installation(), installation())
        for name in ("source", "format", "scope", "file", "bytes", "sha256", "manifest", "taken_at"):
            assert getattr(again, name) == getattr(backup, name), name
    code, found = run("scan")
    assert (code, found["known"], found["found"]) == (0, 2, [])


@pytest.mark.django_db
def test_a_file_that_is_gone_counts_no_longer_within_the_hour(folder: Path) -> None:
    lost, kept = make_copy(days=1), make_copy()
    (folder / lost.file).unlink()
    tasks.scan_folder()
    assert list(Backup.objects.present()) == [kept]
    assert Event.objects.get(kind="backup.deleted").data["reason"] == "its file was gone"


@pytest.mark.django_db
def test_a_copy_that_is_deleted_while_the_folder_is_listed_does_not_come_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_copy(days=1)
    gone = make_copy()
    listed = catalogue.on_disk()
    Backup.objects.filter(pk=gone.pk).update(state="deleted", local=False)
    (folder / gone.file).unlink()
    (folder / manifests.manifest_name(gone.file)).unlink()
    monkeypatch.setattr(catalogue, "on_disk", lambda: listed)
    assert catalogue.scan().returned == []
    assert Backup.objects.get(pk=gone.pk).state == "deleted"


@pytest.mark.django_db
def test_a_folder_that_is_not_mounted_takes_no_copy_away(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_copy(days=1), make_copy()
    for path in folder.glob("*"):
        path.unlink() if path.is_file() else None
    tasks.scan_folder()
    assert Backup.objects.present().count() == 2
    assert "is its disk mounted?" in caplog.text


def test_a_file_that_is_gone_counts_no_longer_until_it_is_back(agents: list[Agent], folder: Path) -> None:
    backup = take(Options())
    Backup.objects.update(state="verified", verified_at="2026-01-01T00:00:00Z")
    away = folder.parent / "away"
    folder.rename(away)
    folder.mkdir()
    code, found = run("scan")
    assert (code, found["gone"]) == (1, [backup.file])
    backup.refresh_from_db()
    assert (backup.state, backup.local, backup.trouble) == ("deleted", False, catalogue.GONE)
    assert not Backup.objects.proven().exists()
    assert Event.objects.filter(kind="backup.deleted").count() == 1
    folder.rmdir()
    away.rename(folder)
    code, found = run("scan")
    assert (code, found["returned"]) == (0, [backup.file])
    backup.refresh_from_db()
    assert (backup.state, backup.local, backup.trouble) == ("written", True, "")
    assert backup.hashed_at is None


def test_a_file_that_is_elsewhere_too_goes_on_counting(agents: list[Agent], folder: Path) -> None:
    backup = take(Options())
    Backup.objects.update(remote=True)
    (folder / backup.file).unlink()
    (folder / manifests.manifest_name(backup.file)).unlink()
    catalogue.scan()
    backup.refresh_from_db()
    assert (backup.state, backup.local) == ("hashed", False)


@pytest.mark.django_db
def test_a_copy_that_lost_its_manifest_alone_is_told_and_not_given_up(folder: Path) -> None:
    backup = make_copy()
    (folder / manifests.manifest_name(backup.file)).unlink()
    found = catalogue.scan()
    assert (found.gone, found.troubles) == ([], [backup.file + catalogue.ALONE])
    backup.refresh_from_db()
    assert (backup.state, backup.local) == ("verified", True)


@pytest.mark.django_db
def test_a_manifest_with_an_id_of_its_own_makes_no_second_copy_of_a_file(folder: Path) -> None:
    backup = make_copy()
    path = folder / manifests.manifest_name(backup.file)
    path.write_text(path.read_text().replace(str(backup.pk), str(uuid.uuid4())))
    found = catalogue.scan()
    assert found.troubles == [f"{backup.file} is the file of another copy in the catalogue."]
    assert Backup.objects.get() == backup


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["running", "failed"])
def test_what_is_being_taken_is_left_to_whoever_takes_it(folder: Path, state: str) -> None:
    made, _ = make_files()
    copy(state, pk=uuid.UUID(made.id))
    assert catalogue.scan() == catalogue.Scan()
    assert Backup.objects.get().state == state


@pytest.mark.django_db
def test_without_the_database_the_seal_alone_tells_a_stranger(folder: Path) -> None:
    ours, _ = make_files()
    seals.sealed(ours).write(folder)
    stranger, _ = make_files()
    told = {one["id"]: one["elsewhere"] for one in run("list", "--files")[1]["backups"]}
    assert told == {ours.id: None, stranger.id: True}


def test_broken_manifests_are_said_in_sentences(agents: list[Agent], folder: Path) -> None:
    backup = take(Options())
    name = manifests.manifest_name(backup.file)
    (folder / "postgres-20260101T000000Z-00000001.manifest.json").write_bytes((folder / name).read_bytes())
    (folder / "postgres-20260101T000000Z-00000002.manifest.json").write_text("{")
    (folder / "postgres-20260101T000000Z-00000003.dump.zst").write_bytes(b"x")
    (folder / "notes.txt").write_text("mine")
    code, found = run("scan")
    assert (code, found["known"], found["found"], found["gone"]) == (1, 1, [], [])
    assert [trouble.partition(" ")[0].rstrip(":") for trouble in found["troubles"]] == [
        "postgres-20260101T000000Z-00000001.manifest.json",
        "postgres-20260101T000000Z-00000002.manifest.json",
        "postgres-20260101T000000Z-00000003.dump.zst",
    ]
    assert "describes another copy" in found["troubles"][0]
    assert "no JSON" in found["troubles"][1]
    assert "no manifest beside it" in found["troubles"][2]
    (folder / backup.file).unlink()
    _, found = run("scan")
    assert any("has lost its copy" in trouble for trouble in found["troubles"])
    assert found["gone"] == [backup.file]


def test_a_manifest_that_takes_the_id_of_another_changes_nothing(agents: list[Agent], folder: Path) -> None:
    backup = take(Options())
    path = folder / manifests.manifest_name(backup.file)
    swapped = json.loads(path.read_text())
    stem = "postgres-20260101T000000Z-00000009"
    swapped["file"]["name"] = f"{stem}.dump.zst"
    (folder / f"{stem}.manifest.json").write_text(json.dumps(swapped))
    (folder / f"{stem}.dump.zst").write_bytes(b"x")
    _, found = run("scan")
    assert len(found["troubles"]) == 1
    assert "the id of another copy" in found["troubles"][0]
    assert Backup.objects.get().file == backup.file


def test_list_without_the_database(
    agents: list[Agent], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = take(Options())
    assert run("list")[1]["from"] == "database"
    own = connections.settings["default"]
    with monkeypatch.context() as patched:
        patched.setitem(own, "PORT", "1")
        with a_new_connection():
            code, found = run("list")
            assert (code, found["from"]) == (0, "manifests")
            assert found["backups"][0]["id"] == str(backup.pk)
            assert "PostgreSQL does not answer" in found["troubles"][0]
            code, found = run("scan")
            assert (code, found["ok"]) == (1, False)
            assert "PostgreSQL does not answer" in found["error"]
            code, found = run("create")
    assert (code, found["ok"]) == (1, False)
    assert "PostgreSQL cannot be reached" in found["error"]


def test_failed_runs_are_listed_on_demand(transactional_db: None, folder: Path) -> None:
    assert "no copy yet" in said("list")
    Backup.objects.create(source="postgres", format="custom", state="failed", trouble="Of old age.")
    assert "no copy yet" in said("list")
    assert "Of old age." in said("list", "--all")
