"""What every subcommand of `manage.py backup` shares: output for people or as JSON, and exit codes.

They are for bad days: nothing here needs the web process, workers or the broker.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from abc import ABC, abstractmethod
from argparse import ArgumentParser
from typing import Any, ClassVar

import psycopg
from django.core.management.base import OutputWrapper
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError

from arcweb.backups.exceptions import BackupError, LockedOut

DONE, FAILED, USAGE, BUSY = 0, 1, 2, 3
#: A process that is interrupted by Ctrl-C, as shells have it.
INTERRUPTED = 130
EXIT_CODES = (
    f"exit codes: {DONE} done; {FAILED} failed, the reason is on stderr; {USAGE} wrong usage; "
    f"{BUSY} another backup or restore is under way."
)


class Subcommand(ABC):
    """Declare a subclass in a module of this package, and it is there.

    `run` does the work and returns what --json prints, an object; `show` says it to people. Anything that
    went wrong is a BackupError.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    #: What else `--help` says: exit codes of its own.
    epilog: ClassVar[str] = EXIT_CODES
    known: ClassVar[dict[str, type[Subcommand]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if name := getattr(cls, "name", ""):
            Subcommand.known[name] = cls

    def add_arguments(self, parser: ArgumentParser) -> None:  # noqa: B027 - most need none
        """Beside --json, which every one has."""

    @abstractmethod
    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        """Do it. Raises BackupError."""

    @abstractmethod
    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        """Say what `run` returned."""

    def code(self, found: dict[str, Any]) -> int:
        """The exit code of work that was done: a look that found something bad is not 0."""
        return DONE


def subcommands() -> list[Subcommand]:
    """One of each, by name."""
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return [Subcommand.known[name]() for name in sorted(Subcommand.known)]


def execute(command: Subcommand, options: dict[str, Any], out: OutputWrapper, err: OutputWrapper) -> int:
    """Run it and say what came of it; returns the exit code."""
    as_json = bool(options.get("json"))
    try:
        found = command.run(options)
    except BackupError as error:
        return _failed(str(error), BUSY if isinstance(error, LockedOut) else FAILED, as_json, out, err)
    except (OperationalError, InterfaceError, psycopg.OperationalError) as error:
        words = str(error).strip().splitlines()
        return _failed(
            f"PostgreSQL does not answer: {words[0] if words else error!r}", FAILED, as_json, out, err
        )
    except KeyboardInterrupt:
        return _failed("Interrupted; nothing was kept.", INTERRUPTED, as_json, out, err)
    code = command.code(found)
    if as_json:
        out.write(json.dumps({"ok": code == DONE, **found}, indent=2, cls=DjangoJSONEncoder))
    else:
        command.show(found, out)
    return code


def _failed(sentence: str, code: int, as_json: bool, out: OutputWrapper, err: OutputWrapper) -> int:
    if as_json:
        out.write(json.dumps({"ok": False, "error": sentence}, indent=2))
    else:
        err.write(sentence)
    return code
