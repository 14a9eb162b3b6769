"""PostgreSQL's own programs of the server's major version. No Django: the caller says where to look.

A client of another major version writes dumps that the server's own tools may not read, and misses what it
does not know (https://www.postgresql.org/docs/current/app-pgdump.html): it is refused with both versions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from arcweb.backups.exceptions import ToolError

#: Where Debian, Red Hat, Alpine, Homebrew and the image of PostgreSQL keep a major version's programs.
PLACES = (
    "/usr/lib/postgresql/{major}/bin",
    "/usr/pgsql-{major}/bin",
    "/usr/libexec/postgresql{major}",
    "/opt/homebrew/opt/postgresql@{major}/bin",
    "/usr/local/opt/postgresql@{major}/bin",
)
VERSION = re.compile(r"\) (\d+)(?:\.(\d+))?\S*")


@dataclass(frozen=True)
class Program:
    """version: as the program says it, "18.6"."""

    path: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])


def find(name: str, server: int, folders: Sequence[Path] = ()) -> Program:
    """The program `name` of the major version of `server` (its server_version_num, 180006).

    Looks in `folders` first, then where systems keep them, then in PATH. Raises ToolError that names the
    versions found and wanted.
    """
    major, seen = server // 10_000, []
    for path in _candidates(name, major, folders):
        version = _version(path)
        if version is None:
            continue
        found = Program(path, version)
        if found.major == major:
            return found
        seen.append(f"{path} is of {version}")
    what = f"only {'; '.join(seen)}" if seen else "none was found"
    raise ToolError(
        f"The server is PostgreSQL {major}.{server % 10_000}, so {name} {major} is needed, but {what}. "
        f"Install the client programs of PostgreSQL {major} (Debian: postgresql-client-{major}) and set "
        "ARC_POSTGRES_TOOLS to their folder."
    )


def _candidates(name: str, major: int, folders: Sequence[Path]) -> Iterator[Path]:
    places = [*folders, *(Path(place.format(major=major)) for place in PLACES)]
    for folder in places:
        if os.access(path := folder / name, os.X_OK):
            yield path
    if found := shutil.which(name):
        yield Path(found)


def _version(path: Path) -> str | None:
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=True, timeout=10, env={"LC_ALL": "C"}
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = VERSION.search(answer.stdout)
    return f"{found[1]}.{found[2]}" if found and found[2] else found[1] if found else None
