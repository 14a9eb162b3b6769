"""What the figures of `vitals` mean: thresholds, where they come from, and the statement that mends.

Judges look only at what they are handed, so that the page (asked just now) and the overview's card (the
newest sample) agree. A figure that is missing is not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arcweb.charts import quantity, size
from arcweb.database.findings import Finding
from arcweb.panels import State
from arcweb.samples.series import growth
from arcweb.servers import duration

Figures = Mapping[str, Any]

#: Shares of the connections that clients may have.
MANY_CONNECTIONS, ALL_CONNECTIONS = 0.80, 0.95
CONNECTIONS_WHY = (
    "Threshold: 80 and 95 % of max_connections less what is reserved for superusers: the last 5 % go within "
    "seconds when clients retry. Each connection costs memory, so a pooler comes before a larger maximum."
)
#: Percent, and blocks of 8 kB that must have been asked for, before a ratio says anything.
LOW_HIT_RATIO, ENOUGH_READS = 95.0, 10_000
HIT_RATIO_WHY = (
    "Threshold: 95 %, of at least 10,000 blocks (80 MB). PgHero and Heroku's guide look for 99 %; below 95 "
    "% one read in twenty leaves shared_buffers. What the operating system caches counts as a miss here."
)
#: Multiples of autovacuum_freeze_max_age; vacuum_failsafe_age where the server did not say.
LATE_FREEZE, FAILSAFE = 1.5, 1_600_000_000
OLDEST_TABLES = """SELECT oid::regclass, {function} FROM pg_class
WHERE relkind IN ('r', 'm', 't') ORDER BY 2 DESC LIMIT 5;  -- then, for each of them:
VACUUM (FREEZE, VERBOSE) the_table;"""
WRAPAROUND_WHY = (
    "Threshold: 1.5 times {setting}: at that setting PostgreSQL itself starts a vacuum against wraparound, "
    "so an age beyond it means that the vacuum does not finish. Bad: vacuum_failsafe_age. At 2,146,483,647 "
    "PostgreSQL takes no more writes (manual, 24.1.5)."
)
#: Seconds.
OLD_TRANSACTION, VERY_OLD_TRANSACTION = 1800.0, 6 * 3600.0
TRANSACTION_WHY = (
    "Threshold: 30 minutes, bad at 6 hours: VACUUM keeps every row that was deleted since the oldest "
    "transaction began, in all tables (manual, 24.1.2). A dump of a large database may well take longer."
)
ARCHIVE_WHY = (
    "pg_stat_archiver: the last failure is newer than the last success. PostgreSQL tries again and keeps "
    "every WAL file until it works, so pg_wal grows; no restore to a point in time can go past the last "
    "success."
)
#: Requested checkpoints in an hour, and more of them than timed ones.
MANY_REQUESTED = 6
CHECKPOINTS_WHY = (
    "Threshold: 6 in an hour, and more than the timed ones: then max_wal_size fills before "
    "checkpoint_timeout ends. PostgreSQL's own checkpoint_warning (30 s apart) gives the same advice in its "
    "log, later."
)
#: Bytes written to temporary files in an hour.
MUCH_TEMP = 1024**3
SPILLING = """SELECT queryid, calls, temp_blks_written FROM pg_stat_statements ORDER BY 3 DESC LIMIT 5;
SET work_mem = '{megabytes:.0f}MB';  -- in the session that needs it; for all of them: ALTER ROLE … SET"""
TEMP_WHY = (
    "Threshold: 1 GB in an hour, by pg_stat_database.temp_bytes: sorts and hashes that did not fit into "
    "work_mem went to the disk. A choice of this page: large index builds and reports do so now and then."
)
AUTOVACUUM_WHY = (
    "Without it nobody removes dead rows, refreshes the planner's statistics or makes the visibility map; "
    "PostgreSQL starts it only against wraparound."
)


@dataclass(frozen=True)
class Past:
    """The figures of a sample from before, and how many seconds before."""

    values: Figures
    seconds: float

    @property
    def words(self) -> str:
        return "in the last hour" if self.seconds > 3000 else f"in the last {duration(self.seconds)}"

    def grown(self, now: Figures, name: str) -> float | None:
        """By how much a counter grew since; None when one of the two is not known."""
        before, after = self.values.get(name), now.get(name)
        return None if before is None or after is None else growth(float(before), float(after))


def judge(now: Figures) -> list[Finding]:
    """What the figures of one moment show, in no order."""
    found = [connections(now), *ages(now), transaction(now), archiving(now), autovacuum(now)]
    return [finding for finding in found if finding is not None]


def usable(now: Figures) -> float:
    """The connections that ordinary clients may have; 0 when it is not known."""
    return float(now.get("max_connections") or 0) - float(now.get("reserved") or 0)


def connections(now: Figures) -> Finding | None:
    used, most = float(now.get("connections") or 0), usable(now)
    if most <= 0 or used < MANY_CONNECTIONS * most:
        return None
    state: State = "bad" if used >= ALL_CONNECTIONS * most else "warn"
    idle = now.get("idle")
    of_them = f" {idle:,.0f} of them do nothing." if idle is not None else ""
    wanted = int(now.get("max_connections") or 0) * 2
    return Finding(
        state,
        f"PostgreSQL has {used:.0f} of {most:.0f} connections in use: close idle ones, put a pooler before "
        f"it, or raise max_connections (a restart), before it refuses clients.{of_them}",
        statement="SELECT application_name, state, count(*), min(state_change) AS longest\n"
        "FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2 ORDER BY 3 DESC;\n"
        f"ALTER SYSTEM SET max_connections = {wanted};",
        why=CONNECTIONS_WHY,
    )


def ratio(hit: float | None, read: float | None) -> float | None:
    """Percent of blocks that were in shared_buffers; None when nothing was asked for."""
    return None if hit is None or read is None or hit + read <= 0 else 100 * hit / (hit + read)


def hit_ratio(now: Figures, past: Past) -> Finding | None:
    names = ("heap_hit", "heap_read", "index_hit", "index_read")
    grown = [past.grown(now, name) for name in names]
    if any(count is None for count in grown):
        return None
    heap_hit, heap_read, index_hit, index_read = (count or 0 for count in grown)
    blocks = heap_hit + heap_read + index_hit + index_read
    share = ratio(heap_hit + index_hit, heap_read + index_read)
    if share is None or blocks < ENOUGH_READS or share >= LOW_HIT_RATIO:
        return None
    return Finding(
        "warn",
        f"Only {quantity(share, '%')} of the blocks that queries read {past.words} were in PostgreSQL's "
        "memory: give it more shared_buffers (a restart), or find the query that reads whole tables.",
        statement="SELECT relid::regclass, heap_blks_read + coalesce(idx_blks_read, 0) AS read\n"
        "FROM pg_statio_user_tables ORDER BY 2 DESC LIMIT 5;\n"
        "SHOW shared_buffers;  -- 25 % of the machine's memory is where to begin",
        why=HIT_RATIO_WHY,
    )


def ages(now: Figures) -> list[Finding | None]:
    return [
        _age(now, "xid", "transaction", "autovacuum_freeze_max_age"),
        _age(now, "multixact", "multixact", "autovacuum_multixact_freeze_max_age"),
    ]


def _age(now: Figures, kind: str, word: str, setting: str) -> Finding | None:
    age, limit = now.get(f"{kind}_age"), now.get(f"{kind}_limit")
    failsafe = float(now.get(f"{kind}_failsafe") or FAILSAFE)
    if age is None or not limit or age < min(LATE_FREEZE * limit, failsafe):
        return None
    database = now.get(f"{kind}_database")
    where = f" in the database {database}" if database else ""
    function = "age(relfrozenxid)" if kind == "xid" else "mxid_age(relminmxid)"
    return Finding(
        "bad" if age >= failsafe else "warn",
        f"The oldest {word} that is not frozen{where} is {age:,.0f} {word}s old, and vacuum should have "
        "frozen it at "
        f"{limit:,.0f}: see what holds it back, an old transaction, a replication slot, or autovacuum "
        "too slow.",
        statement=OLDEST_TABLES.format(function=function),
        why=WRAPAROUND_WHY.format(setting=setting),
    )


def transaction(now: Figures) -> Finding | None:
    seconds = now.get("oldest_transaction")
    if seconds is None or seconds < OLD_TRANSACTION:
        return None
    pid, state = now.get("oldest_pid"), now.get("oldest_state")
    who = f" (process {pid}, {state})" if pid else ""
    return Finding(
        "bad" if seconds >= VERY_OLD_TRANSACTION else "warn",
        f"A transaction{who} has been open for {duration(float(seconds))}: VACUUM removes nothing that was "
        "deleted since. Let it end, or end it.",
        since=now.get("oldest_since"),
        statement=f"SELECT pg_terminate_backend({pid});" if pid else "",
        why=TRANSACTION_WHY,
    )


def archiving(now: Figures) -> Finding | None:
    seconds = float(now.get("archive_failing") or 0)
    if seconds <= 0:
        return None
    failed, name = now.get("archive_failed"), now.get("last_failed_wal")
    times = f" {failed:,.0f} tries failed so far." if failed else ""
    return Finding(
        "bad",
        f"No WAL file was archived for {duration(seconds)}: archive_command fails"
        f"{f' for {name}' if name else ''}, and pg_wal grows.{times} The server's log says why.",
        since=now.get("last_archived_time"),
        statement="SELECT * FROM pg_stat_archiver;\nSHOW archive_command;  -- run it by hand as the "
        "server's account\n"
        "SELECT pg_size_pretty(sum(size)) FROM pg_ls_waldir();",
        why=ARCHIVE_WHY,
    )


def checkpoints(now: Figures, past: Past) -> Finding | None:
    requested, timed = past.grown(now, "checkpoints_requested"), past.grown(now, "checkpoints_timed")
    if requested is None or timed is None or requested < MANY_REQUESTED or requested <= timed:
        return None
    wanted = 2 * float(now.get("max_wal_size") or 1024**3) / 1024**2
    return Finding(
        "warn",
        f"{requested:.0f} checkpoints were asked for {past.words}, and {timed:.0f} came by the clock: the "
        "WAL fills too quickly, and each checkpoint makes what follows write whole pages. Raise "
        "max_wal_size.",
        statement=f"ALTER SYSTEM SET max_wal_size = '{wanted:.0f}MB';\nSELECT pg_reload_conf();",
        why=CHECKPOINTS_WHY,
    )


def temp_files(now: Figures, past: Past) -> Finding | None:
    written, files = past.grown(now, "temp_bytes"), past.grown(now, "temp_files")
    if written is None or written < MUCH_TEMP:
        return None
    wanted = 2 * float(now.get("work_mem") or 4 * 1024**2) / 1024**2
    count = f" in {files:,.0f} files" if files else ""
    return Finding(
        "warn",
        f"Queries wrote {size(written)} of temporary files{count} {past.words}: they sort or hash more "
        "than work_mem holds. Give that query, or its role, more memory.",
        statement=SPILLING.format(megabytes=wanted),
        why=TEMP_WHY,
    )


def autovacuum(now: Figures) -> Finding | None:
    if now.get("autovacuum", 1):
        return None
    setting = "track_counts" if now.get("autovacuum_set") else "autovacuum"
    return Finding(
        "bad",
        f"Autovacuum does not run: {setting} is off. Dead rows stay, tables and indexes grow, plans grow "
        "worse.",
        statement=f"ALTER SYSTEM SET {setting} = on;\nSELECT pg_reload_conf();",
        why=AUTOVACUUM_WHY,
    )
