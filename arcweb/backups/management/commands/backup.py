"""manage.py backup create|list|scan|…: backups from the command line, also on bad days."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from arcweb.backups.commands.base import DONE, EXIT_CODES, execute, subcommands


class Command(BaseCommand):
    help = "Takes, lists, checks and restores backups. It needs neither the web process nor workers."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = EXIT_CODES
        commands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
        for one in subcommands():
            added = commands.add_parser(one.name, help=one.help, description=one.help, epilog=one.epilog)
            added.add_argument(
                "--json", action="store_true", help="print one JSON object instead of sentences"
            )
            one.add_arguments(added)

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        chosen = next(one for one in subcommands() if one.name == subcommand)
        code = execute(chosen, options, self.stdout, self.stderr)
        if code != DONE:
            sys.exit(code)
