"""Something that runs once in each process, whatever it was forked from. No Django."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class OncePerProcess(Generic[T]):
    """Call it as often as you like: the first call in a process starts, the others find it running."""

    def __init__(self, start: Callable[[], T]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self.running: tuple[int, T] | None = None  #: the process, and what it started

    def __call__(self) -> None:
        pid = os.getpid()
        if self.running is not None and self.running[0] == pid:
            return
        with self._lock:
            if self.running is None or self.running[0] != pid:
                self.running = (pid, self._start())
