"""manage.py health: do the servers answer? Exit code 0 when they do, 1 when one does not."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from arcweb.health import CHECKS, check_all


class Command(BaseCommand):
    help = "Says of PostgreSQL, both Redis roles and Celery whether they answer, and what to do when not."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("server", nargs="?", choices=[*CHECKS, "all"], default="all")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")

    def handle(self, *args: Any, server: str, json: bool, **options: Any) -> None:
        results = check_all(tuple(CHECKS) if server == "all" else (server,))
        well = all(result.ok for result in results)
        if json:
            self.stdout.write(_as_json(well, [asdict(result) for result in results]))
        else:
            for result in results:
                style = self.style.SUCCESS if result.ok else self.style.ERROR
                self.stdout.write(f"{style('ok  ' if result.ok else 'FAIL')}  {result.sentence}")
        if not well:
            sys.exit(1)


def _as_json(well: bool, checks: list[dict[str, Any]]) -> str:
    return json.dumps({"ok": well, "checks": checks}, indent=2)
