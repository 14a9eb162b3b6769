"""How a job goes through all keys of a server that others use: a portion, a pause, the next. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable

#: (keys looked at, keys in the database, words); may raise to stop the work.
Progress = Callable[[int, int, str], None]
#: Sleeps so many seconds; may raise to stop the work.
Wait = Callable[[float], None]


class Pace:
    """Pauses between portions of work: each as long as a share of the time since the one before."""

    def __init__(self, share: float, wait: Wait) -> None:
        self._share, self._wait = share, wait
        self._began = time.monotonic()

    def pause(self) -> None:
        """Whatever `wait` raises comes through."""
        self._wait((time.monotonic() - self._began) * self._share)
        self._began = time.monotonic()
