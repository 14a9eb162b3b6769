"""One month archived, detached and dropped, and what may be erased about its events with it.

Safe to run twice and to be killed anywhere: detach, drop, the event and the note on the archive are one
transaction; before it nothing is gone, after it only details without an event are left, which any later run
removes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models.functions import Now
from psycopg import sql

from arcweb.database.partitions import archive, catalog, locking, retention
from arcweb.database.partitions.archive import Manifest
from arcweb.database.partitions.catalog import Partition
from arcweb.database.partitions.models import PartitionArchive
from arcweb.events import record
from arcweb.events.sentences import describe

describe("partition.dropped", "dropped {object} with {rows} event(s), archived: {archive}")

#: Rows of details in one DELETE.
DETAILS_AT_ONCE = 5_000
#: Archives made anew because events of an old month arrived meanwhile.
TRIES = 3

# What has no event any more. Events of that month that arrived since stand in the default partition, and keep
# their details.
ORPHANS = """
    WITH chunk AS MATERIALIZED (
        SELECT occurred_at, event_id FROM events.event_details
        WHERE (occurred_at, event_id) > (%s::timestamptz, %s) AND occurred_at < %s
        ORDER BY occurred_at, event_id LIMIT %s
    ), gone AS (
        DELETE FROM events.event_details AS detail USING chunk
        WHERE (detail.occurred_at, detail.event_id) = (chunk.occurred_at, chunk.event_id)
          AND NOT EXISTS (
              SELECT FROM events.events AS event
              WHERE event.occurred_at = chunk.occurred_at AND event.id = chunk.event_id)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM chunk), (SELECT count(*) FROM gone), occurred_at::text, event_id
    FROM chunk ORDER BY occurred_at DESC, event_id DESC LIMIT 1
"""

#: (done, total or None, words); may raise to stop the work.
Tell = Callable[[int, "int | None", str], None]


class DropError(Exception):
    """The partition was not dropped, and never will be this way; the message is a sentence."""


class GrewError(Exception):
    """Rows came after the archive was written."""


@dataclass(frozen=True)
class Dropped:
    """`partition` is False where it was gone already (a run before this one, or by hand)."""

    partition: bool
    rows: int
    archive: str  #: the file; "" for none
    details: int  #: rows of details removed by this run


def drop(
    name: str,
    first: datetime,
    until: datetime,
    *,
    archived: bool,
    details: bool,
    mark: str,
    tell: Tell,
    wait: Callable[[float], None],
    tell_after: Tell | None = None,
) -> Dropped:
    """Archive (if asked), detach and drop one partition of events.events, then its details.

    Raises DropError, archive.ArchiveError, locking.Busy, and what `tell` and `wait` raise: then it stands.
    tell_after: told instead of `tell` once the partition is gone. Nothing looks for its details any more, so
    that it should not raise because somebody thought better of it.
    """
    partition = catalog.find(name)
    gone, rows, file = partition is None, 0, ""
    if partition is not None:
        _refuse(partition, first, until)
        for _ in range(TRIES):
            try:
                rows, file = _drop(
                    partition, archived=archived, details=details, mark=mark, tell=tell, wait=wait
                )
                break
            except GrewError:
                continue
        else:
            raise DropError(
                f"Events of {partition.qualified} keep arriving although its month is over. "
                "It was not dropped: look who writes them, then retry."
            )
    after = tell_after or tell
    removed = remove_details(first, until, lambda done: after(done, None, "removing names and addresses"))
    return Dropped(not gone, rows, file, removed)


def remove_details(first: datetime, until: datetime, progress: Callable[[int], None]) -> int:
    """Details from `first` to before `until` whose event is gone are deleted in chunks; returns how many."""
    place: tuple[str, int] = (first.isoformat(), -(2**63))
    removed = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(ORPHANS, [*place, until, DETAILS_AT_ONCE])
            found = cursor.fetchone()
        if found is None:
            return removed
        looked_at, gone, *key = found
        removed, place = removed + gone, (key[0], key[1])
        progress(removed)
        if looked_at < DETAILS_AT_ONCE:
            return removed


def _refuse(partition: Partition, first: datetime, until: datetime) -> None:
    table = catalog.events_table(sizes=False)
    if table is None or (sentence := retention.why_not(table, partition)):
        raise DropError(sentence if table else "events.events is gone.")
    if (partition.first, partition.until) != (first, until):
        raise DropError(
            f"{partition.qualified} has other bounds than those that were confirmed: {partition.bound}."
        )


def _drop(
    partition: Partition,
    *,
    archived: bool,
    details: bool,
    mark: str,
    tell: Tell,
    wait: Callable[[float], None],
) -> tuple[int, str]:
    manifest: Manifest | None = None
    if archived:
        total = catalog.exact_rows(partition)
        manifest = archive.write(
            partition, details=details, mark=mark, progress=lambda done, words: tell(done, total, words)
        )
        _remember(partition, manifest)
        _replace_older(manifest)
    tell(manifest.rows if manifest else 0, None, "waiting for a moment to detach it")

    def change() -> int:
        # Writers of this one month first, so that the count below holds; then, shortly, everybody.
        _execute("LOCK TABLE ONLY {} IN SHARE MODE", partition)
        rows = catalog.exact_rows(partition)
        if manifest is not None:
            if rows != manifest.rows:
                raise GrewError
            archive.check(manifest)
        _execute("LOCK TABLE ONLY events.events IN ACCESS EXCLUSIVE MODE", partition)
        record(
            "partition.dropped",
            object_type="postgres.partition",
            object_id=partition.name,
            label=partition.qualified,
            data={
                "rows": rows,
                "archive": manifest.file if manifest else "no",
                "sha256": manifest.sha256 if manifest else None,
            },
        )
        if manifest is not None:
            PartitionArchive.objects.filter(file=manifest.file).update(dropped_at=Now())
        _execute("ALTER TABLE events.events DETACH PARTITION {}", partition)
        _execute("DROP TABLE {}", partition)
        return rows

    rows = locking.with_lock(change, wait, f"detach {partition.qualified}")
    return rows, manifest.file if manifest else ""


def _remember(partition: Partition, manifest: Manifest) -> None:
    if partition.first is None or partition.until is None:
        raise ValueError(f"{partition.qualified} has no bounds of time.")
    PartitionArchive.objects.update_or_create(
        file=manifest.file,
        defaults={
            "partition": partition.qualified,
            "first": partition.first,
            "until": partition.until,
            "rows": manifest.rows,
            "bytes": manifest.bytes,
            "sha256": manifest.sha256,
            "details": manifest.details,
            "host": manifest.host,
            "verified_at": Now(),
        },
    )


def _replace_older(manifest: Manifest) -> None:
    """Archives of jobs that could not drop then go: a job that fails every night must not fill the disk.

    Events never change, so that what has no more rows than the new one holds nothing else.
    """
    for one in PartitionArchive.objects.filter(
        partition=manifest.partition,
        first=manifest.first,
        until=manifest.until,
        details=manifest.details,
        host=manifest.host,
        rows__lte=manifest.rows,
        dropped_at=None,
    ).exclude(file=manifest.file):
        with suppress(OSError):
            archive.remove(one.file)
            one.delete()


def _execute(statement: str, partition: Partition) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(sql.Identifier(partition.schema, partition.name)))
