"""manage.py embedded start|stop|status|psql|exec: the embedded PostgreSQL and Valkey alone."""

from __future__ import annotations

import json
import os
from argparse import REMAINDER
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from arcweb.embedded.binaries import installed
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.options import stack_from_settings
from arcweb.embedded.run_lock import holder

IN_WORDS = {
    "ready": "runs",
    "starting": "is recovering or loading its data",
    "silent": "runs but does not answer",
    "stopped": "is stopped",
}


class Command(BaseCommand):
    help = "Starts, stops or shows the embedded servers, and runs PostgreSQL's own programs on them."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("start", help="start both servers; those that run are left alone")
        actions.add_parser("stop", help="stop Valkey, then PostgreSQL")
        status = actions.add_parser("status", help="exit code 0 when all of them answer, else 1")
        status.add_argument("--json", action="store_true", help="one JSON list of servers")
        psql = actions.add_parser("psql", help="psql of the embedded stack, as the application's role")
        psql.add_argument("arguments", nargs=REMAINDER, help="-- and arguments of psql")
        program = actions.add_parser("exec", help="pg_dump, pg_restore, createdb… as the application's role")
        program.add_argument("program", help="its name, such as pg_dump")
        program.add_argument("arguments", nargs=REMAINDER, help="its arguments")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.ARC_EMBEDDED:
            raise CommandError(
                "POSTGRES_HOST is set, so the servers are external and nothing embedded runs. Unset it to "
                "use the embedded stack; `manage.py dbshell` opens psql on the external server."
            )
        try:
            getattr(self, f"_{options['action']}")(options)
        except EmbeddedError as error:
            raise CommandError(str(error)) from error

    def _start(self, _options: dict[str, Any]) -> None:
        stack = stack_from_settings()
        stack.start(tell=self.stdout.write)
        for server in stack.status():
            self.stdout.write(f"{server.name} runs (process {server.pid}, socket {server.socket}).")

    def _stop(self, _options: dict[str, Any]) -> None:
        running = holder(settings.ARC_LAYOUT)
        if running is not None:
            raise CommandError(
                f"`make run` (process {running.pid}, {running.url}) uses these servers and would start them "
                "again. Stop it with Ctrl-C: it stops the servers too."
            )
        stack_from_settings().stop(tell=self.stdout.write)
        self.stdout.write("Valkey and PostgreSQL are stopped.")

    def _status(self, options: dict[str, Any]) -> None:
        status = stack_from_settings().status()
        if options["json"]:
            self.stdout.write(json.dumps([asdict(server) for server in status], indent=2))
        else:
            for server in status:
                pid = f" (process {server.pid})" if server.pid else ""
                self.stdout.write(f"{server.name} {IN_WORDS[server.state]}{pid}. Log: {server.log}")
        if not all(server.ready for server in status):
            raise SystemExit(1)

    def _exec(self, options: dict[str, Any]) -> None:
        program = installed().postgres / options["program"]
        if program.name != options["program"] or not os.access(program, os.X_OK):
            raise CommandError(f"There is no program {options['program']!r} here; try pg_dump or pg_restore.")
        connection = settings.DATABASES["default"]
        # libpq reads these; a password among the arguments would be seen by everybody on the machine.
        env = {
            "PGHOST": connection["HOST"],
            "PGPORT": connection["PORT"],
            "PGUSER": connection["USER"],
            "PGPASSWORD": connection["PASSWORD"],
            "PGDATABASE": connection["NAME"],
        }
        arguments = [argument for argument in options["arguments"][:1] if argument != "--"]
        arguments += options["arguments"][1:]
        os.execve(program, [str(program), *arguments], {**os.environ, **env})  # noqa: S606

    def _psql(self, options: dict[str, Any]) -> None:
        arguments = [argument for argument in options["arguments"][:1] if argument != "--"]
        call_command("dbshell", "--", *arguments, *options["arguments"][1:])
