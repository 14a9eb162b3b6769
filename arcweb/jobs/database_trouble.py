"""What a run says and does when the database fails under it: such errors pass, so the job is put off."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

from arcweb.jobs.exceptions import RetryLater

#: Seconds until the second attempt; doubled with each further one, up to LONGEST_WAIT.
FIRST_WAIT, LONGEST_WAIT = 15, 600

#: By SQLSTATE, or its class (PostgreSQL's manual, appendix A); anything else is a lost connection.
SENTENCES = {
    "40": "The database undid a change that collided with another one",
    "53": "The database ran out of disk, memory or connections",
    "54": "The database met one of its limits",
    "55": "The database could not get at something that is in use",
    "57014": "The database stopped a statement that took too long",
}


def next_try(error: OperationalError | InterfaceError, *, doing: str, attempt: int) -> RetryLater:
    """When to try again, and why in words; `doing` is the job's message, `attempt` the one that failed."""
    code = getattr(error.__cause__, "sqlstate", None) or ""
    what = SENTENCES.get(code) or SENTENCES.get(code[:2]) or "The database went away"
    seconds = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt - 1, 20))
    return RetryLater(seconds, f"{what} while {doing or 'the job was running'}.")
