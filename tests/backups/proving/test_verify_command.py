"""manage.py backup verify"""

from __future__ import annotations

import json
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection

from arcweb.backups import manifest as manifests
from arcweb.backups.commands import create
from arcweb.backups.commands import verify as command
from arcweb.backups.models import Backup
from arcweb.backups.proving import proof
from tests.backups.copies import copy
from tests.backups.proving import sample
from tests.backups.proving.conftest import Sample

pytestmark = pytest.mark.django_db


def verify(*arguments: str) -> int:
    try:
        call_command("backup", "verify", *arguments)
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def test_it_says_each_step_and_ends_with_what_came_of_it(
    source: Sample, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As SQL text, which is run of ours alone.
    backup = sample.row(sample.write(folder, source.plain, source.facts, "plain"))
    assert verify(str(backup.pk)[:8].upper()) == 0
    said = capsys.readouterr()
    assert f"{backup.file} is proven, after" in said.out
    assert "yes  rows       68 rows in 4 tables" in said.out
    assert "restoring" in said.err
    assert Backup.objects.get().state == Backup.State.VERIFIED
    path = folder / backup.file
    path.write_bytes(path.read_bytes()[:-1])
    assert verify(str(backup.pk)) == 1
    said = capsys.readouterr()
    assert f"{backup.file} is BAD, after" in said.out
    assert "NO  hash" in said.out
    assert verify(backup.file, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert (found["verdict"], found["id"]) == ("bad", str(backup.pk))
    assert "was cut: 1 of" in found["trouble"]
    assert [(step["name"], step["ok"]) for step in found["steps"]] == [
        ("file", True),
        ("manifest", True),
        ("hash", False),
    ]
    with proof._alone(backup):
        assert verify(str(backup.pk)) == 3
    assert "is being verified already" in capsys.readouterr().err


def test_a_beginning_that_two_ids_have_names_neither(capsys: pytest.CaptureFixture[str]) -> None:
    for last in "12":
        copy("hashed", pk=uuid.UUID(f"0123abcd-0000-4000-8000-00000000000{last}"))
    assert verify("0123abcd") == 3
    assert "More than one id begins with 0123abcd" in capsys.readouterr().out


def test_without_our_tables_a_file_alone_is_looked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE backups_backup RENAME TO backups_away")
    assert verify("0123abcd") == 3
    assert "There is no" in capsys.readouterr().out


def test_a_server_that_is_away_is_no_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr(command, "prove", away)
    monkeypatch.setattr(command, "_find", away)
    assert verify("0123abcd", "--json") == 3
    found = json.loads(capsys.readouterr().out)
    assert found["trouble"] == "PostgreSQL does not answer: connection refused"


def test_a_command_that_is_told_to_end_ends_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    tidied = []

    def told(*_: Any) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            tidied.append("scratch database, password file")

    monkeypatch.setattr(create, "take", told)
    monkeypatch.setattr(command, "_find", told)

    def unheard(*_: Any) -> None:
        raise AssertionError("the command does not hear the signal")

    before = signal.signal(signal.SIGTERM, unheard)  # whose default would end all tests without a word
    try:
        with pytest.raises(SystemExit) as ended:
            call_command("backup", "create")
        assert (ended.value.code, verify("0123abcd")) == (130, 130)
        assert len(tidied) == 2
        assert signal.getsignal(signal.SIGTERM) is unheard
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_file_is_verified_wherever_it_stands(
    source: Sample, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: Any
) -> None:
    manifest = sample.write(tmp_path, source.plain, source.facts, "plain")
    path = tmp_path / manifest.file.name
    assert verify(str(path), "--json") == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "proven"
    assert not Backup.objects.exists()
    settings.SECRET_KEY = "of another installation"
    assert verify(str(path)) == 3
    assert "was NOT verified" in capsys.readouterr().out
    assert verify(str(path), "--trust") == 0
    beside, renamed = tmp_path / manifests.manifest_name(path.name), path.with_stem(f"other-{path.stem}")
    path.rename(renamed)
    beside.rename(tmp_path / manifests.manifest_name(renamed.name))
    capsys.readouterr()
    assert verify(str(renamed), "--trust") == 1
    assert f"is the manifest of another copy, {path.name}" in capsys.readouterr().out
    renamed.rename(path)
    capsys.readouterr()
    assert verify(str(path)) == 3
    assert "has no manifest beside it" in capsys.readouterr().out
    for wanted in ("0123abcd", str(tmp_path / "nowhere"), "nothing"):
        assert verify(wanted) == 3
        assert "There is no" in capsys.readouterr().out
