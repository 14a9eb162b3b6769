"""manage.py backup restore-time and restore-time-run"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import OutputWrapper

from arcweb.backups.commands.base import EXIT_CODES, Subcommand
from arcweb.backups.commands.restore import ended_in_order, teller
from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical import by_hand, doing, timeline
from arcweb.backups.physical.journal import Journal
from arcweb.backups.restore.telling import said_of
from arcweb.events import current_actor

EPILOG = (
    f"{EXIT_CODES} After 1 the live cluster is as it was, unless the reason says otherwise. "
    "Times are ISO 8601, such as 2026-11-23T07:00:00Z; without a zone they are UTC."
)


class RestoreTime(Subcommand):
    name = "restore-time"
    help = (
        "Puts the whole embedded PostgreSQL back to a time (--confirm), undoes that within a day (--undo), "
        "or prints what can be reached, and the commands that do it by hand."
    )
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("time", metavar="TIME", type=_moment, nargs="?", help="the time to go back to")
        how = parser.add_mutually_exclusive_group()
        how.add_argument(
            "--confirm", metavar="DATABASE", help="the name of the live database, which goes back"
        )
        how.add_argument("--undo", metavar="DATABASE", help="the cluster before the last one is live again")
        how.add_argument(
            "--commands", action="store_true", help="print what to do by hand, on any PostgreSQL"
        )

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        moment: datetime | None = options.get("time")
        with ended_in_order():
            if name := options.get("undo"):
                doing.refuse_mistyped(name)
                return _as_json(doing.undo_last(current_actor()))
            if name := options.get("confirm"):
                if moment is None:
                    raise BackupError(
                        "Which time? For example: restore-time 2026-11-23T07:00:00Z --confirm arc"
                    )
                doing.refuse_mistyped(name)
                who = said_of(current_actor())
                return _as_json(doing.restore(moment, who, teller(options)))
            picture = timeline.look(*timeline.now_live())
            found = {
                "spans": [[begin.isoformat(), end.isoformat()] for begin, end in picture.spans()],
                "timeline": picture.timeline,
                "missing": sorted({one.missing for one in picture.stretches if one.missing}),
                "unusable": picture.unusable,
                "archive": picture.trouble or "seen",
            }
            if moment is not None or options.get("commands"):
                found["commands"] = by_hand.commands(picture, moment or picture.last)
            return found

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        if "sentence" in found:
            out.write(found["sentence"])
            return
        for begin, end in found["spans"]:
            out.write(f"{begin} to {end}")
        if not found["spans"]:
            out.write("There is no time to go back to: take a base backup (backup create --format base).")
        for sentence in (*(f"{name} is missing." for name in found["missing"]), *found["unusable"]):
            out.write(sentence)
        if found["archive"] != "seen":
            out.write(found["archive"])
        for line in found.get("commands", []):
            out.write(line)


class Run(Subcommand):
    name = "restore-time-run"
    help = "Does what was asked for on the page: prepares a cluster, or exchanges what was confirmed."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("restore", metavar="ID", help="of the restore, as its page has it")

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        with ended_in_order():
            return _as_json(doing.take_up(options["restore"], teller(options)))

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        out.write(found["sentence"])


def _as_json(journal: Journal) -> dict[str, Any]:
    return {
        "id": journal.id,
        "state": journal.state,
        "target": journal.target,
        "reached": journal.reached,
        "database": settings.POSTGRES_DB,
        "kept": journal.before,
        "steps": [asdict(step) for step in journal.steps],
        "sentence": doing.sentence(journal),
    }


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no time such as 2026-11-23T07:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
