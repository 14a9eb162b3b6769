"""Plain commands that restore a copy with PostgreSQL's own programs and nothing of ours. Pure."""

from __future__ import annotations

import shlex

from arcweb.backups.manifest import File

NEW = "restored"


def commands(file: File, role: str, schema: str = "", template: str = "arc_template") -> list[str]:
    """Line by line, for a shell, as a role that is no superuser; the new database is called `restored`."""
    name, owner = shlex.quote(file.name), shlex.quote(role)
    unpack = "zstd -d" if file.compression == "zstd" else "gunzip -c"
    opened = f"{unpack} < {name}" if unpack == "zstd -d" else f"{unpack} {name}"
    if file.encryption:
        opened = f"age --decrypt -i IDENTITY_FILE {name} | {unpack}"
    lines = [
        f"# The template {template} has the extensions; without it, a superuser creates vector first.",
        f"createdb -U {owner} --template={shlex.quote(template)} {NEW}",
    ]
    if file.name.partition(".")[2].startswith("sql"):
        return [*lines, f"{opened} | psql -U {owner} -v ON_ERROR_STOP=1 {NEW}"]
    restore = f"pg_restore -U {owner} --dbname={NEW} --no-owner --no-privileges --exit-on-error"
    return [
        *lines,
        f"{opened} | {restore}",
        "# Or faster, with two jobs, which need a file:",
        f"# {opened} > copy.dump && {restore} --jobs=2 copy.dump",
    ]


def pattern(name: str) -> str:
    """A name as pg_dump's patterns have it: taken as it is."""
    return '"' + name.replace('"', '""') + '"'
