"""How many large transfers a web process carries at once: each takes one of its threads until it ends."""

from __future__ import annotations

import threading

from django.conf import settings

#: Transfers at most, and as a share of the threads: pages are answered by the others.
MOST, SHARE = 4, 4
_lock = threading.Lock()
_taken = 0


def take() -> bool:
    """Whether there was room; who got it gives it back with `give_back`."""
    global _taken
    with _lock:
        if _taken >= max(1, min(MOST, settings.ARC_WEB_THREADS // SHARE)):
            return False
        _taken += 1
        return True


def give_back() -> None:
    global _taken
    with _lock:
        _taken = max(0, _taken - 1)
