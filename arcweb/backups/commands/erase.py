"""manage.py backup erase"""

from __future__ import annotations

import json
import uuid
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import OutputWrapper

from arcweb.backups import erasures
from arcweb.backups.commands.base import Subcommand
from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import erasing
from arcweb.events import current_actor


class Erase(Subcommand):
    name = "erase"
    help = (
        "Erases from the live database, and again from every copy that is restored from now on; without an "
        "option it lists what was ordered. The files of older copies hold it until retention deletes them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--agent", metavar="ID", help="the agent with its memories")
        which.add_argument(
            "--metadata", metavar="JSON", help="documents and memories whose metadata contain it"
        )

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        said: list[str] = []
        if options.get("agent"):
            try:
                agent = str(uuid.UUID(options["agent"]))
            except ValueError:
                raise BackupError(f"{options['agent']!r} is no agent's id, which is a UUID.") from None
            said = erasing.erase("agent", {"id": agent}, by=current_actor().id)
        elif options.get("metadata"):
            said = erasing.erase(
                "metadata", {"metadata": _filter(options["metadata"])}, by=current_actor().id
            )
        return {
            "erased": said,
            "ordered": [asdict(one) for one in erasures.read(settings.ARC_BACKUP_DIR)],
        }

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        for sentence in found["erased"]:
            out.write(sentence)
        if not found["erased"]:
            for one in found["ordered"]:
                out.write(f"{one['at'][:19]}  {one['kind']}  {json.dumps(one['what'])}")
        out.write(f"{len(found['ordered'])} ordered in all.")


def _filter(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not found:
        raise BackupError(
            f'{text!r} is no JSON object that holds anything, as in: --metadata \'{{"person": "4711"}}\''
        )
    return found
