"""manage.py redis_bigkeys: which keys, types and prefixes take the memory of a Redis role."""

from __future__ import annotations

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from redis.exceptions import RedisError

from arcweb.charts import size
from cache_admin.connections import ROLES, Role, address, client, explain
from cache_admin.keys.bigkeys import Survey, survey

TIMEOUT = 5.0
#: Seconds between lines of progress on a terminal.
TELL_EVERY = 0.5
TOP = 15


class Command(BaseCommand):
    help = "Measures every key of a Redis role by SCAN and MEMORY USAGE, with pauses, and lists the largest."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--role", choices=[*ROLES, "both"], default="both", help="which Redis (default: both)"
        )

    def handle(self, *args: Any, role: str, **options: Any) -> None:
        for one in ROLES if role == "both" else [name for name in ROLES if name == role]:
            try:
                with client(one, timeout=TIMEOUT) as connection:
                    found = survey(connection, self._progress(), time.sleep)
            except RedisError as error:
                raise CommandError(explain(one, error)) from error
            except KeyboardInterrupt:
                sys.exit(130)
            self._print(one, found)

    def _progress(self) -> Any:
        """Shows how far it is, on a terminal alone."""
        if not sys.stderr.isatty():
            return lambda done, total, message: None
        told = 0.0

        def tell(done: int, total: int, message: str) -> None:
            nonlocal told
            if time.monotonic() - told > TELL_EVERY or done == total:
                told = time.monotonic()
                self.stderr.write(f"\r{done:,} of {total:,} keys", ending="" if done < total else "\n")

        return tell

    def _print(self, role: Role, found: Survey) -> None:
        say = self.stdout.write
        say(f"Redis, {role} role at {address(role)}: {found.keys:,} keys, {size(found.bytes)}")
        if not found.keys:
            return
        say("\nLargest keys")
        for key in found.top[:TOP]:
            length = "" if key.length is None else f"  {key.length:,} long"
            say(f"  {size(key.bytes):>9}  {key.kind:<7} {key.name}{length}")
        say("\nBy type")
        for name, one in found.types.items():
            mean = size(one.bytes / one.keys)
            say(f"  {size(one.bytes):>9}  {name:<7} {one.keys:,} keys, {mean} each on average")
        say("\nBy prefix")
        for name, one in list(found.prefixes.items())[:TOP]:
            say(f"  {size(one.bytes):>9}  {name}  {one.keys:,} keys")
        say("")
