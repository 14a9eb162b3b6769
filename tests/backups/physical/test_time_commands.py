"""manage.py backup restore-time: which time is meant, and what is asked before anything goes back."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from arcweb.backups.commands import pitr
from arcweb.backups.physical import doing

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
