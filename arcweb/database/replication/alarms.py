"""Alarms on replicas and on the WAL that is kept for them."""

from __future__ import annotations

import time

from django.db import connections
from psycopg import OperationalError

from arcweb.alarms import Alarm, Reading, register_alarm
from arcweb.charts import size
from arcweb.database.activity.words import lasting
from arcweb.database.replication import standbys
from arcweb.libpq import ask, conninfo
from arcweb.postgres import replica as reading

MB = 1024 * 1024
#: Seconds until a replica counts as away.
ANSWER_SECONDS = 1.0


def lag() -> Reading | None:
    """The largest lag in seconds; None where a replica does not tell it."""
    found = [one for one in standbys.replicas() if one.copies]
    if not found:
        return Reading(0, "No replica is connected.")
    if any(one.seconds is None and one.behind != 0 for one in found):
        return None
    worst = max(found, key=lambda one: one.seconds or 0)
    return Reading(
        worst.seconds or 0,
        f"The replica {worst.name or worst.pid} is {lasting(worst.seconds or 0)} behind "
        f"({worst.behind_words}): see whether its replay is paused or delayed, and whether its disk and "
        "the network keep up.",
    )


def behind() -> Reading | None:
    """The largest lag in MB of WAL."""
    found = [one for one in standbys.replicas() if one.copies]
    if not found:
        return Reading(0, "No replica is connected.")
    if any(one.behind is None for one in found):
        return None
    worst = max(found, key=lambda one: one.behind or 0)
    return Reading(
        (worst.behind or 0) / MB,
        f"The replica {worst.name or worst.pid} has {worst.behind_words} of WAL still to replay: see "
        "whether its replay is paused or delayed, and whether its disk and the network keep up.",
    )


def inactive_slot() -> Reading:
    """The WAL in MB that the slots hold which nobody reads."""
    idle = [slot for slot in standbys.slots() if not slot.active and not slot.lost]
    if not idle:
        return Reading(0, "Every replication slot is in use.")
    worst = max(idle, key=lambda slot: slot.held or 0)
    return Reading(
        (worst.held or 0) / MB,
        f"Nobody reads the replication slot {worst.name}, which holds {size(worst.held or 0)} of WAL: "
        f"bring its replica back, or drop it with {worst.statement}",
    )


def slot_share() -> Reading:
    """The largest share in % that a slot has of max_slot_wal_keep_size; 0 where there is no such limit."""
    shares = [(slot.share, slot) for slot in standbys.slots() if slot.share is not None and not slot.lost]
    if not shares:
        return Reading(0, "No replication slot has a limit to reach.")
    share, worst = max(shares, key=lambda one: one[0])
    return Reading(
        share * 100,
        f"The replication slot {worst.name} holds {share:.0%} of max_slot_wal_keep_size; beyond it its "
        "replica is lost and must be made anew: bring it back, or raise the limit.",
    )


def replica_away() -> Reading:
    """1 while POSTGRES_REPLICA_HOST does not answer, else 0."""
    if not reading.configured():
        return Reading(0, "No replica is read from: POSTGRES_REPLICA_HOST is not set.")
    where = conninfo(connections.settings[reading.REPLICA])
    try:
        (recovering,) = ask(where, "SELECT pg_is_in_recovery()", time.monotonic() + ANSWER_SECONDS)
    except (TimeoutError, OperationalError):
        return Reading(
            1,
            "The replica of POSTGRES_REPLICA_HOST does not answer: lists and search are read from the "
            "primary, which has the load of both. Start it, or correct POSTGRES_REPLICA_HOST.",
        )
    if recovering != "t":
        return Reading(1, "POSTGRES_REPLICA_HOST names a server that is no replica (any more): correct it.")
    return Reading(0, "The replica answers.")


PAGE, SEE = "admin:database_replication", "database.view_server"
for _alarm in (
    Alarm(
        "postgres.replication_lag",
        "A replica is behind",
        "PostgreSQL",
        lag,
        "s",
        standbys.LAG_SECONDS,
        "Half a minute: what a reader of the replica would miss.",
        permission=SEE,
        url_name=PAGE,
    ),
    Alarm(
        "postgres.replication_bytes",
        "A replica has much to replay",
        "PostgreSQL",
        behind,
        "MB",
        standbys.LAG_BYTES / MB,
        "Sixteen segments of WAL: what would be lost, or waited for, at a failover.",
        permission=SEE,
        url_name=PAGE,
    ),
    Alarm(
        "postgres.inactive_slot",
        "A slot that nobody reads holds WAL",
        "PostgreSQL",
        inactive_slot,
        "MB",
        standbys.HELD / MB,
        "1 GB, the default of max_wal_size: beyond it the slot, not the server, decides how the disk fills.",
        severity="bad",
        permission=SEE,
        url_name=PAGE,
    ),
    Alarm(
        "postgres.slot_share",
        "A slot is near its limit",
        "PostgreSQL",
        slot_share,
        "%",
        standbys.SHARE * 100,
        "80 % of max_slot_wal_keep_size: beyond the whole of it PostgreSQL gives the replica up.",
        severity="bad",
        permission=SEE,
        url_name=PAGE,
    ),
    Alarm(
        "postgres.replica_away",
        "The replica for reads is away",
        "PostgreSQL",
        replica_away,
        "replicas",
        1,
        "POSTGRES_REPLICA_HOST names one: it is expected to answer within a second.",
        permission=SEE,
        url_name=PAGE,
    ),
):
    register_alarm(_alarm)
