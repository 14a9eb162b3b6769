"""What to do by hand to put a PostgreSQL back to a time, where this program may not: exact commands."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

from arcweb.backups.physical import archive, chain, copies
from arcweb.backups.physical.timeline import Picture


def commands(picture: Picture, moment: datetime | None) -> list[str]:
    """Lines for a shell, comments among them. moment: None when there is nothing to go back to."""
    chosen = picture.best(moment) if moment else None
    if moment is None or chosen is None:
        return ["# No base backup and log that are known here reach that time."]
    items = chain.known()
    parts = chain.ancestors(items, items[chosen.point.id])
    folder = archive.folder()
    where = shlex.quote(str(folder) if folder else "/PATH/OF/THE/ARCHIVE").replace("%", "%%")
    fetch = f"gzip -dc {where}/%f.gz > %p || cp {where}/%f %p"
    major = int(parts[0].manifest.server.get("version_num", 0)) // 10_000
    at = moment.astimezone(UTC).isoformat(sep=" ")
    lines = [
        f"# With the programs of PostgreSQL {major}, as the account that runs the server, in an empty folder",
        "# on the disk of its data. The archive's path is as this machine sees it.",
        "set -eu",
    ]
    for number, one in enumerate(parts):
        name = f"part{number}" if len(parts) > 1 else "restored"
        path = shlex.quote(str(copies.folder() / one.file))
        opened = f"zstd -dc {path}"
        if one.manifest.file.encryption:
            opened = f"age --decrypt -i IDENTITY_FILE {path} | zstd -dc"
        lines += [
            f"mkdir -m 700 {name}",
            f"{opened} | tar -x -C {name}",
            f"pg_verifybackup {name}",
        ]
    if len(parts) > 1:
        names = " ".join(f"part{number}" for number in range(len(parts)))
        lines += [f"pg_combinebackup {names} -o restored"]
    settings = (
        f"restore_command = {_quoted(fetch)}",
        f"recovery_target_time = '{at}'",
        f"recovery_target_timeline = '{picture.timeline}'",
        "recovery_target_action = 'promote'",
    )
    lines += [
        "touch restored/recovery.signal",
        "cat >> restored/postgresql.auto.conf <<'EOF'",
        *settings,
        "EOF",
        "# Look at it before it takes the place of the live one: no archive, another port.",
        "pg_ctl -D restored -l restored.log -w -t 86400 -o \"-p 5499 -c archive_command=''\" start",
        "grep 'recovery stopping' restored.log   # where it stopped; psql -p 5499 looks into it",
        "pg_ctl -D restored -m fast stop",
        "# Then: stop the live server; rename its data folder and keep it; put `restored` in its place;",
        "# remove the lines above from its postgresql.auto.conf; start it; run `manage.py migrate`; take a",
        "# base backup.",
    ]
    return lines


def _quoted(text: str) -> str:
    """As postgresql.conf wants it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
