"""manage.py backup restore-time: which time is meant, and what is asked before anything goes back."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from arcweb.backups.commands import pitr
from arcweb.backups.physical import by_hand, doing
from arcweb.backups.physical.timeline import Picture, Point, Stretch
from tests.backups.made import make_copy

TIME = "2026-11-23T07:00:00Z"


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was begun; nothing goes back in these tests."""
    found: list[Any] = []

    def begin(*given: Any) -> None:
        found.append(given[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(doing, "restore", begin)
    monkeypatch.setattr(doing, "undo_last", begin)
    return found


def backup(*arguments: str) -> tuple[int, dict[str, Any]]:
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("backup", "restore-time", *arguments, "--json", stdout=out)
    return int(ended.value.code or 0), json.loads(out.getvalue())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((TIME, "--confirm", "another"), "not 'another': nothing was changed"),
        (("--undo", "another"), "not 'another': nothing was changed"),
        (("--confirm", settings.POSTGRES_DB), "Which time? For example"),
    ],
)
def test_nothing_goes_back_before_the_name_and_the_time_are_said(
    begun: list[Any], arguments: tuple[str, ...], said: str
) -> None:
    code, found = backup(*arguments)
    assert (code, found["ok"]) == (1, False)
    assert said in found["error"]
    assert begun == []


def test_a_time_without_a_zone_is_of_utc(begun: list[Any]) -> None:
    for text in (TIME, "2026-11-23T07:00", "2026-11-23T08:00+01:00"):
        assert backup(text, "--confirm", settings.POSTGRES_DB)[0] == 130
    assert begun == [datetime(2026, 11, 23, 7, tzinfo=UTC)] * 3


def test_what_is_no_time_is_wrong_usage() -> None:
    with pytest.raises(CommandError, match="'yesterday' is no time such as"):
        call_command("backup", "restore-time", "yesterday")
    with pytest.raises(ArgumentTypeError):
        pitr._moment("")


@pytest.mark.django_db
def test_by_hand_each_file_is_opened_and_checked_before_they_are_put_together(
    settings: Any, tmp_path: Path
) -> None:
    settings.ARC_BACKUP_DIR, settings.ARC_WAL_ARCHIVE_DIR = tmp_path, "/the archive\\"
    whole = make_copy("hashed", format_="base")
    part = make_copy("hashed", format_="incremental", parent=whole)
    assert part.manifest is not None
    part.manifest["file"]["encryption"] = "age"
    part.save()
    at = datetime(2026, 11, 1, tzinfo=UTC)
    point = Point(str(part.pk), part.file, "incremental", at, True, 1, 1, 1, 1, 2**24)
    picture = Picture(3, [Stretch(point, at, at + timedelta(hours=1), "0" * 24)])

    lines = by_hand.commands(picture, at)
    assert lines[2:17] == [
        "set -eu",
        "mkdir -m 700 part0",
        f"zstd -dc {tmp_path}/{whole.file} | tar -x -C part0",
        "pg_verifybackup part0",
        "mkdir -m 700 part1",
        f"age --decrypt -i IDENTITY_FILE {tmp_path}/{part.file} | zstd -dc | tar -x -C part1",
        "pg_verifybackup part1",
        "pg_combinebackup part0 part1 -o restored",
        "touch restored/recovery.signal",
        "cat >> restored/postgresql.auto.conf <<'EOF'",
        r"restore_command = 'gzip -dc ''/the archive\\''/%f.gz > %p || cp ''/the archive\\''/%f %p'",
        "recovery_target_time = '2026-11-01 00:00:00+00:00'",
        "recovery_target_timeline = '3'",
        "recovery_target_action = 'promote'",
        "EOF",
    ]
    (start,) = (line for line in lines if " start" in line and line.startswith("pg_ctl"))
    assert "-c archive_command=''" in start, "what is only looked at archives nothing"
    for moment in (None, at - timedelta(seconds=1)):
        assert by_hand.commands(picture, moment) == [
            "# No base backup and log that are known here reach that time."
        ]
