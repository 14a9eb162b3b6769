"""Another cluster in the place of the embedded one, by two renames while PostgreSQL is stopped. No Django.

run/postgres-swap.json says what is to happen before anything does, and each start looks there first: whatever
is killed in between, the next start finds either nothing done, or finishes it. No cluster is deleted here.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import opened_folder, write_private
from arcweb.embedded.layout import Layout
from arcweb.embedded.server_user import ServerUser

ASKED, DONE = "postgres-swap.json", "postgres-swapped.json"
LIVE = "postgres"
#: Of folders beside the live one, which this program has made.
NAME = re.compile(r"postgres\.(?:restored|before|undone|failed)-[0-9a-f]{8}")
#: Says that init.sql has run with these passwords; the other cluster may have others.
INITIALISED = "initialised"


@dataclass(frozen=True)
class Swap:
    """id: of the restore. new: the folder that becomes the live cluster; old: what that is called then."""

    id: str
    new: str
    old: str

    def back(self) -> Swap:
        """The same the other way round, with what was put in place called failed."""
        return Swap(self.id, self.old, f"postgres.failed-{self.old[-8:]}")


@dataclass(frozen=True)
class Done:
    """A swap that has happened; at: seconds since the epoch."""

    swap: Swap
    at: float


def ask(layout: Layout, swap: Swap) -> None:
    """At the next start of PostgreSQL `swap.new` is the live cluster. Raises EmbeddedError, OSError."""
    for name in (swap.new, swap.old):
        if not NAME.fullmatch(name):
            raise EmbeddedError(f"{name!r} is no folder of a restore.")
    if not (layout.real_servers_dir / swap.new / "PG_VERSION").is_file():
        raise EmbeddedError(f"{layout.real_servers_dir / swap.new} is no cluster. Nothing was changed.")
    write_private(layout.run_dir / ASKED, json.dumps(asdict(swap)))


def withdraw(layout: Layout) -> None:
    """Nothing is to be exchanged any more. What has begun is not undone."""
    (layout.run_dir / ASKED).unlink(missing_ok=True)


def asked(layout: Layout) -> Swap | None:
    """What waits for the next start. EmbeddedError when the file cannot be understood."""
    path = layout.run_dir / ASKED
    try:
        found = Swap(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise EmbeddedError(f"{path} cannot be read. Look at it, and remove it to start.") from error
    if not NAME.fullmatch(found.new) or not NAME.fullmatch(found.old):
        raise EmbeddedError(f"{path} names other folders than a restore makes. Remove it to start.")
    return found


def done(layout: Layout) -> Done | None:
    """The last swap that has happened."""
    try:
        found = json.loads((layout.run_dir / DONE).read_text())
        return Done(Swap(**found["swap"]), float(found["at"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def finish(layout: Layout, user: ServerUser) -> Swap | None:
    """Does what was asked for, or the rest of it; PostgreSQL must not run. Returns what was done, or None.

    Where the new cluster's folder is gone and nothing was renamed, nothing is: the request goes, and the
    live cluster starts. Raises EmbeddedError, OSError: then it is done at the next start.
    """
    swap = asked(layout)
    if swap is None:
        return None
    with opened_folder(layout.real_servers_dir, user) as folder:
        names = set(os.listdir(folder))  # noqa: PTH208 - of a descriptor
        if swap.new in names:
            if LIVE in names and swap.old in names:
                raise EmbeddedError(
                    f"{layout.real_servers_dir} has both {LIVE} and {swap.old}. Rename or remove one by "
                    f"hand: {LIVE} is the cluster that ran last."
                )
            if LIVE in names:
                os.rename(LIVE, swap.old, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
            with suppress(FileNotFoundError):
                os.unlink(INITIALISED, dir_fd=folder)
            os.rename(swap.new, LIVE, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        elif LIVE not in names:
            raise EmbeddedError(
                f"{layout.real_servers_dir} has neither {LIVE} nor {swap.new}, which was to take its place. "
                f"Rename the cluster that you want to {LIVE} by hand and remove {layout.run_dir / ASKED}."
            )
        elif swap.old not in names:  # else both renames were done, and whoever did them was killed
            withdraw(layout)
            return None
    write_private(layout.run_dir / DONE, json.dumps(asdict(Done(swap, time.time()))))
    withdraw(layout)
    return swap
