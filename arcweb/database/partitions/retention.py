"""How long events are kept: the policy, what it would drop, and the jobs that do it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse

from arcweb.database.partitions import catalog, months
from arcweb.database.partitions.catalog import Partition, Table
from arcweb.database.partitions.models import PartitionPolicy
from arcweb.events import record
from arcweb.events.sentences import describe
from arcweb.jobs import ledger
from arcweb.jobs.models import Job

DROP, MAKE, MOVE = "partition-drop", "partition-make", "partition-move"

describe("partition.policy_changed", "set events to be kept for {keep} month(s), archived: {archive}")
describe("partition.drop_asked", "asked for {object} to be dropped ({rows} rows), archived: {archive}")


@dataclass(frozen=True)
class Policy:
    """`keep_months` full months stay beside the present one; None: all of them."""

    keep_months: int | None = None
    archive: bool = True
    details: bool = False  #: names, addresses and notes are in the archive too


@dataclass(frozen=True)
class Preview:
    """What a policy would drop now."""

    partitions: tuple[Partition, ...]
    before: datetime | None  #: events before it would go; None: nothing ever goes

    @property
    def rows(self) -> int | None:
        counts = [one.rows for one in self.partitions]
        return None if None in counts else sum(count or 0 for count in counts)

    @property
    def bytes(self) -> int:
        return sum(one.bytes or 0 for one in self.partitions)


def policy() -> Policy:
    """The policy in force."""
    row = PartitionPolicy.objects.first()
    return Policy() if row is None else Policy(row.keep_months, row.archive, row.details)


def set_policy(new: Policy) -> None:
    """Keep it from now on; the change is an event in the same transaction."""
    facts = {
        "keep": "all" if new.keep_months is None else new.keep_months,
        "archive": "yes" if new.archive else "no",
        "details": new.details,
    }
    with transaction.atomic():
        record("partition.policy_changed", object_type="database.partitionpolicy", object_id="1", data=facts)
        PartitionPolicy.objects.update_or_create(
            pk=1,
            defaults={
                "keep_months": new.keep_months,
                "archive": new.archive,
                "details": new.details,
                "changed_at": Now(),
            },
        )


def preview(table: Table, keep_months: int | None) -> Preview:
    """Months that ended `keep_months` months or more before the present one; never the default partition."""
    if keep_months is None:
        return Preview((), None)
    before = months.plus(months.month_of(table.now), -keep_months)
    return Preview(
        tuple(
            one for one in table.timed if one.until is not None and one.until <= before and not one.detaching
        ),
        before,
    )


def why_not(table: Table, partition: Partition) -> str:
    """Why a partition may not be dropped: a sentence; "" if it may."""
    if partition.default:
        return "The default partition catches what has no other: its rows are moved, it is never dropped."
    if partition.nested:
        return (
            f"{partition.qualified} has partitions of its own, which would go with it and are not archived: "
            "detach them and drop it by hand."
        )
    if partition.until is None:
        return "Its bounds are no months, so that nobody knows what is in it."
    if partition.until > months.month_of(table.now):
        return "Only months that have ended are dropped: events are still written to this one."
    return ""


def enqueue_drop(partition: Partition, *, archive: bool, details: bool) -> Job:
    """The job that drops it, in the caller's transaction; the one under way if there is one."""
    if partition.first is None or partition.until is None:
        raise ValueError(f"{partition.qualified} has no bounds of time.")
    params: dict[str, Any] = {
        "partition": partition.name,
        "first": partition.first.isoformat(),
        "until": partition.until.isoformat(),
        "archive": archive,
        "details": details,
    }
    return ledger.enqueue(
        DROP,
        target=partition.qualified,
        target_url=reverse("admin:database_partitions"),
        params=params,
        title=f"{'Archive and drop' if archive else 'Drop'} {partition.qualified}",
        unique_key=f"{DROP}:{partition.qualified}",
    )


def enqueue_due() -> list[Job]:
    """A job for each month that the policy no longer keeps. Two at once make no more jobs than one."""
    chosen = policy()
    table = catalog.events_table()
    if chosen.keep_months is None or table is None:
        return []
    return [
        enqueue_drop(one, archive=chosen.archive, details=chosen.details)
        for one in preview(table, chosen.keep_months).partitions
    ]
