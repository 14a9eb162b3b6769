"""manage.py backup prune"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import OutputWrapper

from arcweb.backups import pruning
from arcweb.backups.commands.base import DONE, FAILED, Subcommand
from arcweb.backups.models import Backup
from arcweb.backups.turns import turn
from arcweb.charts import size


class Prune(Subcommand):
    name = "prune"
    help = "Deletes the copies that retention no longer keeps; --dry-run only says which."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="delete nothing; say what would go and why"
        )

    def run(self, options: dict[str, Any]) -> dict[str, Any]:
        if options["dry_run"]:
            return _told(pruning.preview(ask_store=True)) | {"dry_run": True}
        with turn("retention"):
            before = _told(pruning.preview(ask_store=True))
            done = pruning.prune()
        files = dict(Backup.objects.filter(pk__in=done.deleted).values_list("pk", "file"))
        return {
            "dry_run": False,
            "policy": before["policy"],
            "kept": before["kept"],
            "deleted": [
                {"id": str(pk), "file": file, "why": _why(before, str(pk))} for pk, file in files.items()
            ],
            "bytes": done.bytes,
            "failed": [{"id": id_, "why": why} for id_, why in done.failed.items()],
        }

    def show(self, found: dict[str, Any], out: OutputWrapper) -> None:
        out.write("Kept: " + ", ".join(f"{name} {number}" for name, number in found["policy"].items()) + ".")
        for one in found["kept"]:
            out.write(f"  stays    {one['file'] or one['id']}: {'; '.join(one['why'])}")
        verb = "would go" if found["dry_run"] else "deleted "
        for one in found["deleted"]:
            out.write(f"  {verb} {one['file'] or one['id']}: {one['why']}")
        for one in found["failed"]:
            out.write(f"  is left  {one['id']}: {one['why']}")
        for one in found.get("unfinished", ()):
            out.write(f"  begun    {one['file']}: {one['why']} It would be tried again.")
        freed = "would be free" if found["dry_run"] else "are free"
        out.write(
            f"{len(found['deleted'])} copies, {size(found['bytes'])} {freed}; {len(found['kept'])} stay."
        )

    def code(self, found: dict[str, Any]) -> int:
        return FAILED if found["failed"] else DONE


def _told(found: pruning.Preview) -> dict[str, Any]:
    return {
        "policy": {
            name: getattr(found.policy, name) for name in ("last", "daily", "weekly", "monthly", "yearly")
        },
        "kept": [
            {"id": str(line.backup.pk), "file": line.backup.file, "why": list(line.reasons)}
            for line in found.staying
        ],
        "deleted": [
            {"id": str(line.backup.pk), "file": line.backup.file, "why": line.reasons[0]}
            for line in found.going
        ],
        "bytes": found.bytes,
        "failed": [],
        "unfinished": [
            {"id": str(backup.pk), "file": backup.file, "why": backup.delete_trouble}
            for backup in found.unfinished
        ],
    }


def _why(before: dict[str, Any], id_: str) -> str:
    return next((one["why"] for one in before["deleted"] if one["id"] == id_), "begun before")
