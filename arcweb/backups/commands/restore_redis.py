"""manage.py backup restore-redis"""

from __future__ import annotations

import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import OutputWrapper

from arcweb.backups import catalogue
from arcweb.backups.commands.base import DONE, EXIT_CODES, Subcommand
from arcweb.backups.exceptions import BackupError
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.redis_rdb import restoring
from arcweb.backups.redis_rdb.live import role_of
from arcweb.events import current_actor
from cache_admin.connections import ROLES

BY_HAND = 4


class RestoreRedis(Subcommand):
    name = "restore-redis"
    help = (
        "Puts a copy of Redis in the place of what a role of the embedded stack holds; for other servers it "
        "says the exact commands, and does nothing."
    )
    epilog = f"{EXIT_CODES[:-1]}; {BY_HAND} nothing was done, the steps by hand are printed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("copy", metavar="ID", help="the id of a copy, or its beginning")
        parser.add_argument("--role", choices=ROLES, help="whose place it takes (default: whose copy it is)")
        parser.add_argument(
            "--confirm", metavar="ROLE", default="", help="the role again: what it holds now is replaced"
        )

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        backup = _found(options["copy"])
        role = options.get("role") or role_of(backup.source)
        if why := restoring.why_not(role):
            ways = restoring.steps(Manifest.from_json(backup.manifest), role)
            return {
                "restored": False,
                "sentence": why,
                "steps": {
                    way: [{"sentence": one.sentence, "commands": list(one.commands)} for one in steps]
                    for way, steps in ways.items()
                },
            }
        if options["confirm"] != role:
            raise BackupError(
                f"What the {role} role holds now is replaced. To confirm that, add --confirm {role}; a "
                "safety copy is taken first."
            )
        done = restoring.restore(
            backup, role, id_=uuid.uuid4(), by=current_actor().name or "a command", tell=_quiet
        )
        safety = str(done.safety.pk) if done.safety else ""
        return {"restored": True, "sentence": done.sentence, "keys": done.keys, "safety": safety}

    def code(self, found: dict[str, Any]) -> int:
        return DONE if found["restored"] else BY_HAND

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        out.write(found["sentence"])
        if found.get("safety"):
            out.write(f"What was there before is the copy {found['safety']}.")
        for way, steps in found.get("steps", {}).items():
            title = "With docker-compose.yml" if way == "compose" else "Any other server"
            out.write(f"\n{title}:")
            for step in steps:
                out.write(f"# {step['sentence']}")
                for command in step["commands"]:
                    out.write(command)


def _found(said: str) -> Backup:
    """Raises BackupError unless exactly one copy of Redis begins so; one that the database has never heard of
    is taken into the catalogue first."""
    for again in (False, True):
        if again:
            catalogue.scan()
        rows = list(Backup.objects.present().filter(format="rdb", pk__startswith=said.lower())[:2])
        if len(rows) == 1:
            return rows[0]
        if rows:
            raise BackupError(f"Several copies of Redis begin with {said!r}: give more of the id.")
    raise BackupError(f"There is no copy of Redis {said!r}; `manage.py backup list` shows what there is.")


def _quiet(_words: str) -> None:
    """A command says what came of it at its end."""
