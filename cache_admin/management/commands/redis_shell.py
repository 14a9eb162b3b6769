"""manage.py redis_shell: redis-cli on a terminal where there is one, else the project's own small console."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from redis.exceptions import RedisError

from cache_admin import redis_cli
from cache_admin.connections import ROLES, Role, address, explain, url
from cache_admin.console import QuotingError, describe, is_plain_text, render, split_line
from cache_admin.session import STREAMS, Session

#: Seconds that a script's command may take; on a terminal it is interrupted with Ctrl-C.
SCRIPT_TIMEOUT = 60.0


class Command(BaseCommand):
    help = "Opens a Redis console, or runs commands: one a line, lines with # are comments."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--role", choices=ROLES, default="state", help="which Redis (default: state)")
        source = parser.add_mutually_exclusive_group()
        source.add_argument(
            "-c", "--command", metavar="LINE", action="append", help="run this and exit; repeatable"
        )
        source.add_argument("--file", metavar="FILE", type=Path, help="run the lines of this file and exit")

    def handle(
        self, *args: Any, role: Role, command: list[str] | None, file: Path | None, **options: Any
    ) -> None:
        try:
            self._dispatch(role, command, file)
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:
            # The reader, such as `head`, has enough; what Python would still flush has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)

    def _dispatch(self, role: Role, command: list[str] | None, file: Path | None) -> None:
        if command is not None:
            self._script(role, command, "-c")
        elif file is not None:
            try:
                lines = file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise CommandError(f"{file} cannot be read as UTF-8 text: {error}") from error
            self._script(role, lines, str(file))
        elif not sys.stdin.isatty():
            self._script(role, (line.rstrip("\n") for line in sys.stdin), "standard input")
        elif program := redis_cli.find():
            arguments, environment = redis_cli.arguments(url(role))
            os.execve(program, [program, *arguments], {**os.environ, **environment})  # noqa: S606 - no shell wanted
        else:
            self._converse(role)

    def _script(self, role: Role, lines: Iterable[str], source: str) -> None:
        """Stops at the first line that fails, with its number and what the server said."""
        with Session(role, timeout=SCRIPT_TIMEOUT) as session:
            for number, line in enumerate(lines, start=1):
                try:
                    words = _words(line)
                    if words:
                        self._run(session, words)
                except QuotingError as error:
                    raise CommandError(f"{source}, line {number}: {error}") from error
                except _RefusedError as error:
                    raise CommandError(f"{source}, line {number}, {describe(words)}: {error}") from error
                except RedisError as error:
                    raise CommandError(f"{source}, line {number}: {explain(role, error)}") from error

    def _converse(self, role: Role) -> None:
        import readline  # noqa: F401 - gives input() its line editing and history

        self.stdout.write(f"{address(role)}, role {role}. Type a Redis command, or exit.")
        with Session(role, timeout=None) as session:
            while True:
                try:
                    words = _words(input(f"{role}> "))
                    if words and words[0].lower() in (b"exit", b"quit"):
                        return
                    if words:
                        self._run(session, words)
                except EOFError:
                    self.stdout.write("")
                    return
                except KeyboardInterrupt:
                    session.interrupt()
                    self.stdout.write("")
                except (QuotingError, _RefusedError) as error:
                    self.stdout.write(str(error))
                except RedisError as error:
                    self.stdout.write(explain(role, error))

    def _run(self, session: Session, words: list[bytes]) -> None:
        """Runs one command and prints its reply. Raises _RefusedError with the text of an error reply."""
        if words[0].upper() in STREAMS:
            for event in session.stream(words):
                self.stdout.write(render(event))
                self.stdout.flush()
            return
        reply = session.run(words)
        text = render(reply, plain_text=is_plain_text(words))
        if isinstance(reply, RedisError):
            raise _RefusedError(text)
        self.stdout.write(text)


class _RefusedError(Exception):
    """The server answered with an error."""


def _words(line: str) -> list[bytes]:
    return [] if line.lstrip().startswith("#") else split_line(line)
