"""manage.py backup create"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import OutputWrapper

from arcweb.backups import catalogue, takers
from arcweb.backups.commands.base import Subcommand
from arcweb.backups.commands.restore import ended_in_order
from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Source
from arcweb.backups.one_agent import identify
from arcweb.backups.taking import Options, take
from arcweb.charts import size

#: What --kind may say, and the source of each.
KINDS = {
    "postgres": Source.POSTGRES.value,
    "redis": Source.STATE.value,
    "redis-state": Source.STATE.value,
    "redis-cache": Source.CACHE.value,
}


class Create(Subcommand):
    name = "create"
    help = "Takes a backup and waits for it; prints its id and its file. `backup verify` proves it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--kind",
            choices=list(KINDS),
            default="postgres",
            help="what is backed up (default: postgres); redis is the role with the state",
        )
        parser.add_argument(
            "--format",
            metavar="FORMAT",
            help="custom: for pg_restore, zstd (the default); plain: SQL as pg_dump | gzip; "
            "base: the whole server; incremental: what changed on it since the last base",
        )
        part = parser.add_mutually_exclusive_group()
        part.add_argument("--schema", metavar="NAME", help="only that schema, such as agents")
        part.add_argument("--agent", metavar="NAME", help="only that agent, by name or id, with its memories")

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        source = KINDS[options["kind"]]
        scope = {key: options[key] for key in ("schema", "agent") if options.get(key)}
        formats = takers.formats(source)
        wanted = options.get("format") or (formats[0] if formats else "rdb")
        if scope and wanted not in ("custom", "plain"):
            raise BackupError("--schema and --agent are for the formats custom and plain of PostgreSQL.")
        if "agent" in scope:
            scope["agent"] = identify(scope["agent"])
        with ended_in_order():
            backup = take(Options(source=source, format=wanted, scope=scope))
        return catalogue.as_json(backup)

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        out.write(f"{found['id']}  {found['path']}")
        out.write(f"{size(found['bytes'])} in {found['seconds']:.1f} s; {found['state']}, not yet proven.")
        out.write(f"Prove it with: manage.py backup verify {found['id'][:8]}")
