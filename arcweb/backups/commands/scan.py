"""manage.py backup scan"""

from __future__ import annotations

from typing import Any

from django.core.management.base import OutputWrapper

from arcweb.backups import catalogue
from arcweb.backups.commands.base import DONE, EXIT_CODES, FAILED, Subcommand


class Scan(Subcommand):
    name = "scan"
    help = "Reads the manifests in ARC_BACKUP_DIR and brings the catalogue in PostgreSQL in line with them."
    epilog = EXIT_CODES.replace("done;", "done, and every file is in order;")

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        return catalogue.scan().as_json()

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        for word, names in (
            ("new", found["found"]),
            ("back again", found["returned"]),
            ("gone", found["gone"]),
        ):
            for name in names:
                out.write(f"{word}: {name}")
        for trouble in found["troubles"]:
            out.write(f"trouble: {trouble}")
        out.write(f"{found['known']} copies were known and are there.")

    def code(self, found: dict[str, Any]) -> int:
        return FAILED if found["troubles"] or found["gone"] else DONE
