"""The kinds of jobs on keys, and how they are asked for and found again."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import UUID

from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from cache_admin.connections import Role

COUNT_KEYS, DELETE_KEYS, BIG_KEYS = "redis.count_keys", "redis.delete_keys", "redis.big_keys"
#: How long a count may be acted upon, and its confirmation: the database has moved on since.
FRESH = timedelta(minutes=10)


def ask_count(role: Role, pattern: str) -> Job:
    """Have the keys counted that match; a count of that pattern that is under way serves."""
    mark = hashlib.sha256(pattern.encode()).hexdigest()[:24]
    return ledger.enqueue(
        COUNT_KEYS,
        target=f"{pattern} in the {role} role",
        params={"role": role, "pattern": pattern},
        unique_key=f"{COUNT_KEYS}:{role}:{mark}",
    )


def ask_delete(role: Role, pattern: str, confirmed: int, url: str) -> Job:
    """Have them deleted. One deletion a role at a time: while another runs, that one is returned."""
    return ledger.enqueue(
        DELETE_KEYS,
        target=f"{pattern} in the {role} role",
        target_url=url,
        params={"role": role, "pattern": pattern, "confirmed": confirmed},
        unique_key=f"{DELETE_KEYS}:{role}",
    )


def why_not_delete(job_id: UUID) -> str:
    """Why the confirmation of this deletion does not hold: a sentence; "" if it does, which it does once.

    What a run that was killed, cancelled or stopped has left was never counted, and a number that was
    confirmed once bounds one run.
    """
    if Job.objects.asked_before(FRESH).filter(pk=job_id).exists():
        minutes = FRESH.seconds // 60
        return (
            f"Nothing was deleted: this was confirmed more than {minutes} minutes ago, and other keys may "
            "match by now. Count them again."
        )
    if not ledger.first_time(job_id):
        return (
            "Nothing more was deleted: this deletion was begun before, and it is not known whether it came "
            "to its end. What it left was not confirmed: count it again."
        )
    return ""


def deletion_under_way(role: Role) -> Job | None:
    return Job.objects.active().filter(unique_key=f"{DELETE_KEYS}:{role}").first()


def ask_survey(role: Role, url: str) -> Job:
    return ledger.enqueue(
        BIG_KEYS,
        target=f"in the {role} role",
        target_url=url,
        params={"role": role},
        unique_key=f"{BIG_KEYS}:{role}",
    )


def surveys(role: Role) -> list[Job]:
    """The two newest that succeeded, newest first."""
    done = Job.objects.filter(kind=BIG_KEYS, state=Job.State.SUCCEEDED, params__role=role)
    return list(done.order_by("-created_at")[:2])


def survey_under_way(role: Role) -> Job | None:
    return Job.objects.active().filter(unique_key=f"{BIG_KEYS}:{role}").first()


def last_survey_error(role: Role) -> str:
    """Why the newest survey did not succeed; "" if it did, or is under way."""
    newest = Job.objects.filter(kind=BIG_KEYS, params__role=role).order_by("-created_at").first()
    return newest.last_error if newest and newest.state in (Job.State.FAILED, Job.State.INTERRUPTED) else ""
