"""Calendar months in UTC. Pure: imports no Django."""

from __future__ import annotations

from datetime import UTC, datetime


def month_of(moment: datetime) -> datetime:
    """The first instant of the moment's month, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def plus(month: datetime, months: int) -> datetime:
    """So many months after (or before) `month`, the first instant of one. ValueError beyond year 9999."""
    number = month.year * 12 + month.month - 1 + months
    return month.replace(year=number // 12, month=number % 12 + 1)


def between(earlier: datetime, later: datetime) -> int:
    """Months from one month to another: 0 within the same."""
    return (later.year - earlier.year) * 12 + later.month - earlier.month


def age(month: datetime, now: datetime) -> str:
    """ "this month", "in 2 months", "3 months ago"."""
    months = between(month_of(now), month_of(month))
    if months == 0:
        return "this month"
    words = f"{abs(months)} month{'s' if abs(months) != 1 else ''}"
    return f"in {words}" if months > 0 else f"{words} ago"
