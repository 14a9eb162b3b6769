"""The lock that one `make run` holds on its data folder. No Django."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.layout import Layout


@dataclass(frozen=True)
class Holder:
    """Who runs on a data folder. pid 0 and "" when its note is not written yet."""

    pid: int
    url: str


@contextmanager
def run_lock(layout: Layout, me: Holder) -> Iterator[None]:
    """Holds the lock; the kernel lets go when the process dies. EmbeddedError names who holds it."""
    with layout.lock_file.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = _read(layout.lock_file)
            raise EmbeddedError(
                f"ARC Web already runs on {layout.data_dir}: process {other.pid}, {other.url}. Stop it with "
                f"Ctrl-C there (or kill {other.pid}), or run a second one on its own data: "
                "ARC_DATA_DIR=var2 ARC_PORT=8001 make run"
            ) from error
        file.truncate(0)
        file.write(json.dumps(asdict(me)))
        file.flush()
        yield
        file.truncate(0)


def holder(layout: Layout) -> Holder | None:
    """Who holds the lock now, or None."""
    try:
        with layout.lock_file.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _read(layout.lock_file)
    return None


def _read(path: Path) -> Holder:
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Holder(0, "")
