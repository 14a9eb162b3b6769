"""The rhythm of the samples: every SLOT seconds, on the clock's full half minutes. Imports no Django."""

from __future__ import annotations

from datetime import datetime, timedelta

from celery.schedules import schedstate, schedule

#: Seconds between two samples of a source.
SLOT = 30


class OnTheSlot(schedule):
    """A schedule that is due at multiples of its seconds on the clock, not that long after its last run.

    With a plain interval the runs drift, now and then past the end of a slot: that slot would have none
    and the next one two. `run_every`: seconds, or a timedelta.
    """

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        step = self.run_every.total_seconds()
        following = (last_run_at.timestamp() // step + 1) * step
        return timedelta(seconds=following - self.now().timestamp())

    def is_due(self, last_run_at: datetime) -> schedstate:
        wait = self.remaining_estimate(self.maybe_make_aware(last_run_at)).total_seconds()
        if wait > 0:
            return schedstate(is_due=False, next=wait)
        step = self.run_every.total_seconds()
        return schedstate(is_due=True, next=step - self.now().timestamp() % step)
