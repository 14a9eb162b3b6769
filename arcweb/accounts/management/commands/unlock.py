"""manage.py unlock"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from arcweb.accounts import throttle


class Command(BaseCommand):
    help = "Let an account, an address or everybody try to log in again after too many failures."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", nargs="?", default="", metavar="NAME|ADDRESS", help="whom to unlock")
        parser.add_argument("--all", action="store_true", help="everybody")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        if bool(what) == options["all"]:
            raise CommandError(
                "Say whom: `manage.py unlock NAME`, `manage.py unlock ADDRESS` or `manage.py unlock --all`."
            )
        name = what or "all"
        if throttle.unlock(what):
            self.stdout.write(f"Unlocked {name}: failed logins are forgotten.")
        else:
            self.stdout.write(f"Nothing is held against {name}; nothing was changed.")
