"""manage.py backup undo"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import OutputWrapper

from arcweb.backups.commands.base import Subcommand
from arcweb.backups.commands.restore import EPILOG, as_json, ended_in_order, teller
from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import asking, doing, recovery, telling
from arcweb.backups.restore.running import folder
from arcweb.events import current_actor


class Undo(Subcommand):
    name = "undo"
    help = "Puts the database of before the newest restore back in its place; possible for a day."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "restore", metavar="ID", nargs="?", default="", help="default: the newest restore"
        )
        parser.add_argument(
            "--confirm", metavar="DATABASE", required=True, help="the name of the live database"
        )

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        recovery.recover()
        wanted = options["restore"]
        found = [one for one in folder().all() if one.can_undo and one.id.startswith(wanted)]
        if not found:
            raise BackupError(
                "There is no restore that can be undone: a database of before is kept for a day."
            )
        asking.refuse_mistyped(asking.live_name(), options["confirm"])
        with ended_in_order():
            journal = asking.undo(found[0], telling.said_of(current_actor()))
            doing.finish(journal, teller(options))
        return as_json(journal)

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        out.write(found["sentence"])
