"""The schema of a restored database: brought forward when it is older, refused when it is newer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import psycopg
from django.conf import settings
from django.db.migrations.loader import MigrationLoader

from arcweb.backups.exceptions import BackupError
from arcweb.backups.restore import databases

#: Seconds; a migration that rewrites a table of millions takes minutes.
LIMIT = 6 * 3600
#: Characters of what manage.py said at the end.
WORDS = 600
APPLIED = "SELECT app, name FROM django_migrations"


def refuse_newer(last: Mapping[str, str]) -> None:
    """Raises BackupError when a copy's last migrations (app → name) are unknown to this version."""
    known = set(MigrationLoader(None).disk_migrations or {})
    apps = {app for app, _ in known}
    if newer := [
        f"{app}.{name}" for app, name in sorted(last.items()) if app in apps and (app, name) not in known
    ]:
        raise BackupError(
            f"The copy is of a newer version of ARC Web: this one does not know {', '.join(newer[:5])}. "
            "Update ARC Web first, then restore."
        )


def bring_forward(database: str) -> str:
    """Apply what is missing; a sentence. Raises BackupError with the words of a migration that failed."""
    known = set(MigrationLoader(None).disk_migrations or {})
    with databases.connected(database) as connection:
        applied = _applied(connection)
    if newer := sorted((app, name) for app, name in applied - known if app in {one for one, _ in known}):
        refuse_newer(dict(newer))
    missing = known - applied - _replaced(known)
    if not missing:
        return "Its schema is this version's."
    _migrate(database)
    several = "" if len(missing) == 1 else "s"
    return f"{len(missing)} migration{several} applied: the copy was of an older version."


def _applied(connection: psycopg.Connection[Any]) -> set[tuple[str, str]]:
    there = connection.execute("SELECT to_regclass('django_migrations') IS NOT NULL").fetchone()
    return set(connection.execute(APPLIED).fetchall()) if there and there[0] else set()


def _replaced(known: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Squashed migrations need not be applied by their own names."""
    loader = MigrationLoader(None)
    return {key for key in known if key not in loader.graph.nodes}


def _migrate(database: str) -> None:
    """In a process of its own, whose whole Django looks at that database and no other."""
    env = os.environ | {
        "POSTGRES_DB": database,
        "POSTGRES_POOLER": "",
        "DJANGO_SETTINGS_MODULE": "arcweb.settings",
    }
    if settings.POSTGRES_DIRECT_HOST:
        env |= {
            "POSTGRES_HOST": settings.POSTGRES_DIRECT_HOST,
            "POSTGRES_PORT": str(settings.POSTGRES_DIRECT_PORT),
        }
    try:
        done = subprocess.run(
            [
                sys.executable,
                str(settings.BASE_DIR / "manage.py"),
                "migrate",
                "--noinput",
                "--verbosity",
                "0",
            ],
            env=env,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BackupError(f"The migrations did not end within {LIMIT // 3600} hours.") from error
    if done.returncode != 0:
        raise BackupError(f"The schema could not be brought forward: {done.stderr.strip()[-WORDS:]}")
