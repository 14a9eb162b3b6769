"""How long a kind of job that the beat starts by itself is left alone after one that did not succeed.

Taken from the ledger's own rows, so that it holds across restarts and for every beat. A person's Retry
is not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import takewhile

from arcweb.jobs.models import Job

#: After one failure; doubled with each further one in a row, up to LONGEST_REST.
FIRST_REST = timedelta(seconds=30)
LONGEST_REST = timedelta(minutes=10)
#: Somebody wanted it to stop, so it does not come back at once.
REST_AFTER_CANCEL = timedelta(minutes=10)
#: So many failures in a row reach LONGEST_REST; more need not be read.
MOST_FAILURES = 6

FAILURES = (Job.State.FAILED, Job.State.INTERRUPTED)


def rest_after(states: Sequence[str]) -> timedelta:
    """How long to wait from the end of the newest job, given the states of ended ones, newest first."""
    if states and states[0] == Job.State.CANCELLED:
        return REST_AFTER_CANCEL
    failures = sum(1 for _ in takewhile(lambda state: state in FAILURES, states[:MOST_FAILURES]))
    return min(LONGEST_REST, FIRST_REST * 2 ** (failures - 1)) if failures else timedelta()


def must_rest(kind: str) -> bool:
    """Whether it is too early for the beat to start another job of that kind."""
    ends = Job.objects.last_ends(kind, MOST_FAILURES)
    return bool(ends) and ends[0][1] < rest_after([state for state, _ in ends])
