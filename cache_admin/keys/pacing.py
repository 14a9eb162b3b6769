"""How a job goes through all keys of a server that others use: a portion, a pause, the next. Pure."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar, cast

#: (keys looked at, keys in the database, words); may raise to stop the work.
Progress = Callable[[int, int, str], None]
#: Sleeps so many seconds; may raise to stop the work.
Wait = Callable[[float], None]
#: Niceness of the thread that makes the portions. With a million keys the processor time of the job, not the
#: server's, is what others notice where Redis runs on the same machine: at 5 the 99th percentile of a GET
#: beside the count of a pattern is still 2.5 times that beside PINGs, at 10 it is the same (2 cores).
NICE = 10
OVER = object()
Portion = TypeVar("Portion")


class Pace:
    """Pauses between portions of work: each as long as a share of the time since the one before."""

    def __init__(self, share: float, wait: Wait) -> None:
        self._share, self._wait = share, wait
        self._began = time.monotonic()

    def pause(self) -> None:
        """Whatever `wait` raises comes through."""
        self._wait((time.monotonic() - self._began) * self._share)
        self._began = time.monotonic()


@contextmanager
def modestly(portions: Iterator[Portion]) -> Iterator[Iterator[Portion]]:
    """The same portions, each made when it is asked for, in a thread to which others go before.

    A thread of its own, as niceness can be raised by everybody, but lowered again by root alone. Whatever a
    portion raises comes through.
    """
    with ThreadPoolExecutor(1, "portions", _let_others_go_before) as thread:
        yield cast("Iterator[Portion]", iter(lambda: thread.submit(next, portions, OVER).result(), OVER))


def _let_others_go_before() -> None:
    if sys.platform == "linux":  # elsewhere niceness is the whole process's
        with suppress(OSError):  # a sandbox may refuse it
            os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
