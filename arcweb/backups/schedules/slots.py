"""The moments at which a schedule is due, in UTC, where no hour is missing or comes twice. No Django.

The fields are cron's, read by Celery's crontab, as django-celery-beat does: where a day of the month and a
weekday are given, both must hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from celery.schedules import ParseException, crontab

#: 29 February comes eight years apart around a century that is no leap year.
FARTHEST = timedelta(days=366 * 8 + 2)
#: What django-celery-beat's columns for months and weekdays hold.
LONGEST_FIELD = 64
FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


class BadCron(ValueError):  # noqa: N818 - reads as a sentence
    """The text is no cron expression; the message says what is wrong with it."""


@dataclass(frozen=True)
class Cron:
    """Use `parse`."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  #: 0 is Sunday

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Every slot later than that moment, in order, in UTC; ends where none comes within eight years."""
        moment = moment.astimezone(UTC)
        day, last = moment.date(), (moment + FARTHEST).date()
        while day <= last:
            if self._on(day):
                for slot in self._of(day):
                    if slot > moment:
                        yield slot
            day += timedelta(days=1)

    def last(self, moment: datetime) -> datetime | None:
        """The newest slot that is not later than that moment, in UTC."""
        moment = moment.astimezone(UTC)
        day, first = moment.date(), (moment - FARTHEST).date()
        while day >= first:
            if self._on(day):
                for slot in reversed(list(self._of(day))):
                    if slot <= moment:
                        return slot
            day -= timedelta(days=1)
        return None

    def _on(self, day: date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays

    def _of(self, day: date) -> Iterator[datetime]:
        for hour in self.hours:
            for minute in self.minutes:
                yield datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def parse(text: str) -> Cron:
    """Five fields: minute, hour, day of the month, month, weekday (0 is Sunday). Raises BadCron."""
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise BadCron(
            f"{text!r} has {len(fields)} fields instead of five: minute, hour, day of the month, month, "
            "weekday. Every day at 02:15 UTC is 15 2 * * *"
        )
    if long := next((field for field in fields if len(field) > LONGEST_FIELD), ""):
        raise BadCron(f"{long!r} is longer than {LONGEST_FIELD} characters; a list can be a span or a step.")
    try:
        found = crontab(**dict(zip(FIELDS, fields, strict=True)))
    except (ParseException, ValueError, TypeError, IndexError, ZeroDivisionError) as error:
        raise BadCron(f"{text!r} cannot be read as a time: {error}.") from None
    cron = Cron(
        " ".join(fields),
        tuple(sorted(found.minute)),
        tuple(sorted(found.hour)),
        frozenset(found.day_of_month),
        frozenset(found.month_of_year),
        frozenset(found.day_of_week),
    )
    if next(cron.after(datetime(2024, 1, 1, tzinfo=UTC)), None) is None:
        raise BadCron(f"{text!r} never comes: no day has that date and weekday.")
    return cron


def upcoming(cron: Cron, moment: datetime, count: int = 3) -> list[datetime]:
    """The next slots after that moment, in UTC."""
    return list(islice(cron.after(moment), count))


def due(cron: Cron, moment: datetime, done: datetime | None) -> datetime | None:
    """The slot to run now: the newest that has come, when it is newer than the one that ran last.

    However many were missed, one is run. done None: nothing ran yet, and the newest is due.
    """
    slot = cron.last(moment)
    return slot if slot and (done is None or slot > done) else None
