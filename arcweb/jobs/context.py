"""What a handler gets: its parameters, a place to report progress, and word when to stop."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple
from uuid import UUID

from arcweb.jobs.exceptions import ClaimLost, JobCancelled


class Progress(NamedTuple):
    done: int
    total: int | None
    message: str


class JobContext:
    """Reporting costs no query and takes no lock on the job's row, whatever transaction the handler
    is in: the heartbeat thread writes what it finds here, on its own connection, about once a second.
    """

    def __init__(
        self, job_id: UUID, params: dict[str, Any], *, total: int | None = None, attempt: int = 1
    ) -> None:
        self.id = job_id
        self.params = params
        self.attempt = attempt  #: 1 for the first run
        self._lock = threading.Lock()
        self._progress = Progress(0, total, "")
        self._stop = threading.Event()
        self._lost = False

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """`done` of `total` units are done (total None: as known before), and `message` says what is
        being done or waited for: "embedding batch 3". Raises as check() does."""
        with self._lock:
            known = self._progress.total if total is None else max(0, int(total))
            self._progress = Progress(max(0, int(done)), known, message)
        self.check()

    def advance(self, units: int = 1) -> None:
        """That many units more are done. Raises as check() does."""
        with self._lock:
            self._progress = self._progress._replace(done=max(0, self._progress.done + units))
        self.check()

    def check(self) -> None:
        """Raises ClaimLost or JobCancelled when the handler must stop; call it every second or so."""
        if self._stop.is_set():
            if self._lost:
                raise ClaimLost("The job was given to another worker.")
            raise JobCancelled("The job was cancelled.")

    def wait(self, seconds: float) -> None:
        """Sleep, but not through a request to stop. Raises as check() does."""
        self._stop.wait(seconds)
        self.check()

    def snapshot(self) -> Progress:
        with self._lock:
            return self._progress

    def stop(self, *, lost: bool) -> None:
        """Called by the heartbeat: from now on check() raises."""
        self._lost = self._lost or lost
        self._stop.set()
