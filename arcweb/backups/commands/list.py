"""manage.py backup list"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import OutputWrapper
from django.db import DatabaseError, InterfaceError

from arcweb.backups import catalogue
from arcweb.backups.commands.base import EXIT_CODES, Subcommand
from arcweb.backups.models import Backup
from arcweb.charts import size

#: The state in the words of the pages and the handbook.
WORDS = {"verified": "proven"}


class List(Subcommand):
    name = "list"
    help = (
        "Lists the copies, newest first; from the manifests in ARC_BACKUP_DIR alone when PostgreSQL is away."
    )
    epilog = EXIT_CODES

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--all", action="store_true", help="failed and deleted ones, too")
        parser.add_argument(
            "--files", action="store_true", help="from the manifests alone, without PostgreSQL"
        )

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        if not options.get("files"):
            try:
                chosen = Backup.objects.all() if options.get("all") else Backup.objects.present()
                rows = [catalogue.as_json(backup) for backup in chosen.marked().newest_first()]
            except (DatabaseError, InterfaceError) as error:
                words = str(error).strip().splitlines()
                return self._from_files(f"PostgreSQL does not answer: {words[0] if words else ''}")
            return {"from": "database", "backups": rows, "troubles": []}
        return self._from_files("")

    def _from_files(self, why: str) -> dict[str, Any]:
        copies = catalogue.on_disk()
        found = [catalogue.manifest_as_json(one.manifest) for one in copies if one.manifest]
        troubles = [one.trouble for one in copies if one.trouble]
        return {"from": "manifests", "backups": found, "troubles": [*([why] if why else []), *troubles]}

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        for line in found["troubles"]:
            out.write(line)
        if found["from"] == "manifests":
            out.write("As the manifests say; whether a copy was proven is known to PostgreSQL alone.")
        if not found["backups"]:
            out.write("There is no copy yet. Take one with: manage.py backup create")
        for one in found["backups"]:
            scope = "".join(f" {key} {value}" for key, value in one["scope"].items())
            taken = one["taken_at"][:19].replace("T", " ") + " UTC" if one["taken_at"] else "not taken"
            weight = size(one["bytes"]) if one["bytes"] else "-"
            out.write(
                f"{one['id']}  {taken}  {WORDS.get(one['state'], one['state']):<8}  {weight:>9}  "
                f"{one['source']} {one['format']}{scope}  {one['file'] or one['trouble']}"
                f"{'  (from elsewhere)' if one['elsewhere'] else ''}"
            )
