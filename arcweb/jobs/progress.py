"""Rate, remaining time and what to say about a job that stands still. Pure."""

from __future__ import annotations

from collections import deque

#: Seconds of recent progress that the rate is taken from.
WINDOW = 30.0
#: A rate from less than this many seconds says nothing.
SHORTEST_SPAN = 3.0


class RateMeter:
    """Units a second over the last WINDOW seconds; standing still counts, so the rate falls in a stall."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def sample(self, now: float, done: int) -> float | None:
        """Note that `done` units are done at `now` (seconds on a clock that only goes forward).

        Returns the rate, or None while it is unknown. A `done` that went back starts anew.
        """
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW:
            self._samples.popleft()
        first_time, first_done = self._samples[0]
        span = now - first_time
        if span < SHORTEST_SPAN:
            return None
        return (done - first_done) / span


def remaining_seconds(done: int, total: int | None, rate: float | None) -> float | None:
    """Seconds until done = total at this rate; None: unknown (no total, no rate, or standing still)."""
    if total is None or not rate or rate < 0:
        return None
    return max(0, total - done) / rate


def percent(done: int, total: int | None) -> int | None:
    """Whole percent, rounded down, so that 100 means done; None while the total is unknown or 0."""
    return min(100, 100 * done // total) if total else None


def duration(seconds: float | None) -> str:
    """For people, to two units: 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h; "unknown" for None."""
    if seconds is None:
        return "unknown"
    whole = max(0, round(seconds))
    for size, name, smaller, smaller_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {smaller_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"
