"""The figures of PostgreSQL, every half minute: what the charts and the overview's verdict live on."""

from __future__ import annotations

from arcweb.database.overview import vitals
from arcweb.samples.registry import Sampler, register_sampler

PIECES = (
    "activity",
    "database",
    "cache",
    "checkpoints",
    "wal",
    "archive",
    "ages",
    "replication",
    "autovacuum",
)
#: Of the moment.
LEVELS = (
    "size_bytes",
    "connections",
    "max_connections",
    "reserved",
    "active",
    "idle_in_transaction",
    "lock_waits",
    "oldest_transaction",
    "archive_failing",
    "xid_age",
    "xid_limit",
    "multixact_age",
    "multixact_limit",
    "replicas",
    "replica_lag_bytes",
    "replay_delay",
    "slot_wal_bytes",
    "autovacuum",
    "autovacuum_workers",
    "dead_rows",
)
#: They only grow, until a reset.
COUNTERS = (
    "blocks_hit",
    "blocks_read",
    "heap_hit",
    "heap_read",
    "index_hit",
    "index_read",
    "commits",
    "rollbacks",
    "deadlocks",
    "temp_bytes",
    "temp_files",
    "wal_bytes",
    "checkpoints_timed",
    "checkpoints_requested",
    "archived",
    "archive_failed",
)


def take_postgres() -> dict[str, float]:
    """One statement. What the role may not see, and a lag that nobody has, is left out."""
    found = vitals.ask(*PIECES)
    return {name: float(found[name]) for name in (*LEVELS, *COUNTERS) if found[name] is not None}


register_sampler(Sampler("postgres", take_postgres))
