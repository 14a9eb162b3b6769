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
from django.db import Error, InterfaceError, OperationalError

from arcweb.backups.exceptions import BackupError, LockedOut
from arcweb.backups.server import first_line

DONE, FAILED, USAGE, BUSY = 0, 1, 2, 3
#: A process that is interrupted by Ctrl-C, as shells have it.
INTERRUPTED = 130
#: What PostgreSQL, its driver and the disk raise on a bad day. Anything else is a mistake of the program.
TROUBLES = (Error, psycopg.Error, OSError)
#: The tables are none, or of another version.
NOT_OURS = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName)
EXIT_CODES = (
    f"exit codes: {DONE} done; {FAILED} failed, the reason is on stderr; {USAGE} wrong usage; "
    f"{BUSY} another backup or restore is under way."
)


class Subcommand(ABC):
    """Declare a subclass in a module of this package, and it is there.

    `run` does the work and returns what --json prints, an object; `show` says it to people. Anything that
    went wrong is a BackupError, or one of TROUBLES.
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
        """Do it. Raises BackupError, and TROUBLES."""

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
    except TROUBLES as error:
        return _failed(in_words(error), FAILED, as_json, out, err)
    except KeyboardInterrupt:
        return _failed("Interrupted; nothing was kept.", INTERRUPTED, as_json, out, err)
    code = command.code(found)
    if as_json:
        out.write(json.dumps({"ok": code == DONE, **found}, indent=2, cls=DjangoJSONEncoder))
    else:
        command.show(found, out)
    return code


def in_words(error: BaseException) -> str:
    """One of TROUBLES as a sentence."""
    if isinstance(error, OSError):
        return f"The system refused: {error}."
    words = first_line(error)
    if isinstance(error, NOT_OURS) or isinstance(error.__cause__, NOT_OURS):
        return (
            f"The database has not the tables of this version ({words}): run manage.py migrate, or restore a "
            "copy (restore FILE needs none)."
        )
    if isinstance(error, OperationalError | InterfaceError | psycopg.OperationalError):
        return f"PostgreSQL does not answer: {words}"
    return f"PostgreSQL refused: {words}"


def _failed(sentence: str, code: int, as_json: bool, out: OutputWrapper, err: OutputWrapper) -> int:
    if as_json:
        out.write(json.dumps({"ok": False, "error": sentence}, indent=2))
    else:
        err.write(sentence)
    return code
