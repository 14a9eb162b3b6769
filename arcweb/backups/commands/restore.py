"""manage.py backup restore, restore-run and recover"""

from __future__ import annotations

import signal
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from django.core.management.base import OutputWrapper

from arcweb.backups.commands.base import EXIT_CODES, Subcommand
from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import asking, doing, parts, recovery, telling
from arcweb.backups.restore.journal import DONE, FAILED, FINISHED, RUNS, Journal, Step
from arcweb.backups.restore.source import find
from arcweb.events import current_actor

EPILOG = (
    f"{EXIT_CODES} After 1 the live database is as it was and takes connections. Through PgBouncer no "
    "database can be renamed: POSTGRES_DIRECT_HOST names PostgreSQL itself."
)


class Restore(Subcommand):
    name = "restore"
    help = (
        "Restores a copy into a new database, compares it, and puts it in the place of the live one "
        "(--confirm); or into a database of its own (--to-database), or a part of it (--agent, --table)."
    )
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("copy", metavar="ID|FILE", help="the id of a copy, or a file")
        how = parser.add_mutually_exclusive_group(required=True)
        how.add_argument(
            "--confirm", metavar="DATABASE", help="the name of the live database, whose place the copy takes"
        )
        how.add_argument("--to-database", metavar="NAME", help="a new database; the live one stays")
        how.add_argument(
            "--agent", metavar="ID", help="only that agent with its memories, into the live database"
        )
        how.add_argument("--table", metavar="SCHEMA.TABLE", help="only that table, into a new schema of live")
        parser.add_argument(
            "--as", dest="as_name", metavar="NAME", help="with --agent: as a copy of that name"
        )
        parser.add_argument(
            "--trust",
            action="store_true",
            help="you vouch that this installation made the file: SQL text is taken, too",
        )
        parser.add_argument(
            "--live-is-broken",
            action="store_true",
            help="live cannot be read: no safety copy, nothing carried over; it is kept for a day",
        )

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        recovery.recover()
        source = find(options["copy"], trust=options.get("trust", False))
        with ended_in_order():
            if options.get("agent"):
                return parts.restore_agent(source, options["agent"], name=options.get("as_name") or "")
            if options.get("table"):
                return parts.restore_table(source, options["table"])
            who = telling.said_of(current_actor())
            if options.get("confirm"):
                asking.refuse_mistyped(asking.live_name(), options["confirm"])
            journal = asking.restore(source, who, to_database=options.get("to_database") or "")
            told = teller(options)
            broken = options.get("live_is_broken", False)
            doing.prepare(journal, source, told, live_is_broken=broken)
            if options.get("confirm"):
                asking.confirmed(journal, options["confirm"], who)
                doing.finish(journal, told, live_is_broken=broken)
        return as_json(journal)

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        out.write(found["sentence"])
        list_by_hand(found, out)


class Run(Subcommand):
    name = "restore-run"
    help = "Does what was asked for on the page: prepares a restore, or exchanges what was confirmed."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("restore", metavar="ID", help="of the restore or undo, as its page has it")

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        with ended_in_order():
            return as_json(doing.take_up(options["restore"], teller(options)))

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        out.write(found["sentence"])
        list_by_hand(found, out)


class Recover(Subcommand):
    name = "recover"
    help = "Finishes or undoes a restore whose process was killed. Every start does this by itself."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--at-start",
            action="store_true",
            help="what cannot be settled is no failure while the live database is known to be whole",
        )

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        if not options.get("at_start"):
            return {"settled": recovery.recover()}
        settled, left = recovery.settle()
        if unsafe := [one.sentence for one in left if not one.whole]:
            raise BackupError(" ".join(unsafe))
        return {"settled": settled, "left": recovery.as_json(left)}

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        left = [
            f"{one['trouble']} The live database is whole ({one['name']})." for one in found.get("left", [])
        ]
        for sentence in [*found["settled"], *left] or ["Nothing was left half done."]:
            out.write(sentence)


def list_by_hand(found: dict[str, Any], out: OutputWrapper) -> None:
    """Statements for psql, each below its words as a comment; nothing where none is left to a superuser."""
    if not found.get("by_hand"):
        return
    when = "" if found["state"] == FINISHED else ", once the copy is in its place"
    out.write(f"To be run by hand by a superuser, connected to {found['database']}{when}:")
    for one in found["by_hand"]:
        out.write(f"-- {' '.join(one['what'].split())}\n{one['statement']}")


def teller(options: dict[str, Any]) -> Callable[[Step], None]:
    """Says each step as it begins and ends, on stdout, unless JSON was asked for."""

    def tell(step: Step) -> None:
        if step.state == RUNS:
            print(f"{step.title} …", flush=True)
        elif step.state in (DONE, FAILED):
            print(f"  {step.sentence}", flush=True)

    return (lambda step: None) if options.get("json") else tell


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP end the work as Ctrl-C does, so that live is opened again."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def as_json(journal: Journal) -> dict[str, Any]:
    """A restore for people and programs outside."""
    return {
        "id": journal.id,
        "kind": journal.kind,
        "state": journal.state,
        "database": journal.live if journal.swap else journal.new,
        "before": journal.before if journal.swap and journal.live_oid else "",
        "keep_until": journal.keep_until,
        "safety": journal.safety,
        "steps": [asdict(step) for step in journal.steps],
        "differences": journal.differences,
        "by_hand": journal.facts.get("by_hand", []),
        "sentence": doing.sentence(journal),
    }
