"""Durations as these pages write them. Pure."""

from __future__ import annotations

from arcweb.servers import duration


def lasting(seconds: float | None) -> str:
    """ "340 ms", "12 s", "3 min"; "unknown" where PostgreSQL does not say."""
    if seconds is None:
        return "unknown"
    return f"{max(0.0, seconds) * 1000:.0f} ms" if seconds < 1 else duration(seconds)
