"""manage.py backup verify"""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import OutputWrapper
from django.db import ProgrammingError
from django.db.models import TextField
from django.db.models.functions import Cast

from arcweb.backups.commands.base import DONE, FAILED, TROUBLES, Subcommand, in_words
from arcweb.backups.commands.restore import ended_in_order
from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.models import Backup
from arcweb.backups.proving import Console
from arcweb.backups.proving.proof import Outcome, prove, prove_file
from arcweb.jobs.progress import duration

NOT_TRIED = 3
#: Of an id, as `manage.py backup list` prints it.
BEGINNING = re.compile(r"[0-9a-fA-F]{8}[0-9a-fA-F-]{0,28}")
MARKS = {True: "yes", False: "NO", None: "--"}


class Verify(Subcommand):
    name = "verify"
    help = "Restores a copy into a scratch database, compares every row, and drops it again."
    epilog = (
        f"exit codes: {DONE} the copy is proven; {FAILED} the copy is bad; 2 wrong usage; "
        f"{NOT_TRIED} it was not found or could not be tried, and nothing is known about it that was not "
        "known before."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "copy",
            metavar="ID|FILE",
            help="the id of a copy, or its first eight characters or more; or the path of a file with its "
            "manifest beside it",
        )
        parser.add_argument(
            "--trust",
            action="store_true",
            help="you know where the file comes from: functions and the like in it are restored, too",
        )

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        context = Console(None if options.get("json") else _tell)
        wanted, trusted = str(options["copy"]), bool(options["trust"])
        try:
            with ended_in_order():
                backup = _find(wanted)
                if backup is None:
                    return _found(prove_file(Path(wanted), context, trusted=trusted), wanted)
                return _found(prove(backup.pk, context, trusted=trusted or None), backup.file, str(backup.pk))
        except LockedOut:
            raise
        except BackupError as error:
            trouble = str(error)
        except TROUBLES as error:
            trouble = in_words(error)
        return _found(Outcome("not tried", trouble, {"steps": [], "seconds": 0.0}), wanted)

    def code(self, found: dict[str, Any]) -> int:
        return {"proven": DONE, "bad": FAILED}.get(found["verdict"], NOT_TRIED)

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        for step in found["steps"]:
            out.write(f"{MARKS[step['ok']]:>3}  {step['name']:<10} {step['sentence']}")
        words = {"proven": "is proven", "bad": "is BAD", "not tried": "was NOT verified"}[found["verdict"]]
        trouble = f" {found['trouble']}" if found["trouble"] else ""
        out.write(f"{found['file']} {words}, after {duration(found['seconds'])}.{trouble}")


def _tell(words: str) -> None:
    """What is being done, for whoever waits: not part of the answer."""
    sys.stderr.write(f"{words}\n")


def _found(outcome: Outcome, file: str, identity: str = "") -> dict[str, Any]:
    return {"id": identity, "file": file, "verdict": outcome.verdict, "trouble": outcome.trouble} | {
        key: outcome.result[key] for key in ("seconds", "steps")
    }


def _find(wanted: str) -> Backup | None:
    """The row of that id, of the one that begins so, or of that file in the folder; None: there is none."""
    if os.sep in wanted or not wanted:
        return None
    try:
        if BEGINNING.fullmatch(wanted):
            # As text: what is not yet a whole UUID has no other form.
            several = Backup.objects.alias(text=Cast("pk", TextField())).filter(
                text__startswith=wanted.lower()
            )
            found = list(several[:2])
            if len(found) > 1:
                raise BackupError(f"More than one id begins with {wanted}: give more of it.")
            return found[0] if found else None
        return Backup.objects.filter(file=wanted).first()
    except ProgrammingError:
        return None  # without our tables only a file can be verified
