"""Metrics from the newest samples: a scrape costs one query, however many people look.

A figure that was not sampled, or not for three slots, has no metric: nothing old is told as if it were new.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from arcweb.metrics.registry import Metric, register_gauges
from arcweb.samples.series import newest

Kind = Literal["gauge", "counter"]


@dataclass(frozen=True)
class Figure:
    """Metric `name` from the figure `key` of each of `sources`: source → labels."""

    name: str
    help: str
    key: str
    sources: Mapping[str, Mapping[str, str]]
    kind: Kind = "gauge"
    factor: float = 1.0


POSTGRES: Mapping[str, Mapping[str, str]] = {"postgres": {}}
REDIS: Mapping[str, Mapping[str, str]] = {"redis-cache": {"role": "cache"}, "redis-state": {"role": "state"}}


def _postgres(name: str, told: str, key: str, kind: Kind = "gauge") -> Figure:
    return Figure(f"arc_postgres_{name}", told, key, POSTGRES, kind)


def _redis(name: str, told: str, key: str, kind: Kind = "gauge", factor: float = 1.0) -> Figure:
    return Figure(f"arc_redis_{name}", told, key, REDIS, kind, factor)


FIGURES: tuple[Figure, ...] = (
    _postgres("database_size_bytes", "Size of the application's database.", "size_bytes"),
    _postgres("connections", "Client connections.", "connections"),
    _postgres("max_connections", "Setting max_connections.", "max_connections"),
    _postgres("reserved_connections", "Connections reserved for superusers.", "reserved"),
    _postgres("active_queries", "Sessions with state active.", "active"),
    _postgres("idle_in_transaction", "Sessions idle in transaction.", "idle_in_transaction"),
    _postgres("lock_waits", "Sessions that wait for a lock.", "lock_waits"),
    _postgres("oldest_transaction_seconds", "Age of the oldest open transaction.", "oldest_transaction"),
    _postgres("archive_failing_seconds", "Since when archiving fails; 0: it does not.", "archive_failing"),
    _postgres("xid_age", "Age of the oldest transaction that is not frozen.", "xid_age"),
    _postgres("multixact_age", "Age of the oldest multixact that is not frozen.", "multixact_age"),
    _postgres("replicas", "Replicas that are connected.", "replicas"),
    _postgres("replica_lag_bytes", "WAL that the slowest replica has not replayed.", "replica_lag_bytes"),
    _postgres("replay_delay_seconds", "On a replica: behind its primary.", "replay_delay"),
    _postgres("slot_wal_bytes", "WAL that replication slots hold back.", "slot_wal_bytes"),
    _postgres("autovacuum_on", "1 while autovacuum may run.", "autovacuum"),
    _postgres("autovacuum_workers", "Autovacuum workers at work.", "autovacuum_workers"),
    _postgres("dead_rows", "Dead rows, estimated.", "dead_rows"),
    _postgres("table_blocks_hit", "Blocks of tables found in shared_buffers.", "heap_hit", "counter"),
    _postgres("table_blocks_read", "Blocks of tables not found there.", "heap_read", "counter"),
    _postgres("index_blocks_hit", "Blocks of indexes found in shared_buffers.", "index_hit", "counter"),
    _postgres("index_blocks_read", "Blocks of indexes not found there.", "index_read", "counter"),
    _postgres("commits", "Transactions that were committed.", "commits", "counter"),
    _postgres("rollbacks", "Transactions that were rolled back.", "rollbacks", "counter"),
    _postgres("deadlocks", "Deadlocks.", "deadlocks", "counter"),
    _postgres("temp_bytes", "Written to temporary files.", "temp_bytes", "counter"),
    _postgres("temp_files", "Temporary files made.", "temp_files", "counter"),
    _postgres("wal_bytes", "WAL written.", "wal_bytes", "counter"),
    _postgres("checkpoints_timed", "Checkpoints by the clock.", "checkpoints_timed", "counter"),
    _postgres("checkpoints_requested", "Checkpoints before their time.", "checkpoints_requested", "counter"),
    _postgres("archived_files", "WAL files archived.", "archived", "counter"),
    _postgres("archive_failures", "Tries to archive that failed.", "archive_failed", "counter"),
    _redis("used_memory_bytes", "Memory in use.", "used_bytes"),
    _redis("max_memory_bytes", "Setting maxmemory; 0: no limit.", "max_bytes"),
    _redis("clients", "Connected clients.", "clients"),
    _redis("blocked_clients", "Clients that wait in a blocking command.", "blocked"),
    _redis("uptime_seconds", "Since the server started.", "uptime"),
    _redis("fragmentation_ratio", "Resident memory over used memory.", "fragmentation"),
    _redis("keys", "Keys in all databases.", "keys"),
    _redis("ping_seconds", "Answer to a PING from a worker.", "latency_ms", factor=0.001),
    _redis("save_failed", "1 after a write to disk failed.", "unsaved"),
    _redis("commands", "Commands processed.", "commands", "counter"),
    _redis("hits", "Keys that were asked for and found.", "hits", "counter"),
    _redis("misses", "Keys that were asked for and not found.", "misses", "counter"),
    _redis("evicted_keys", "Keys evicted for want of memory.", "evicted", "counter"),
    _redis("expired_keys", "Keys that expired.", "expired", "counter"),
    _redis("received_bytes", "Bytes received.", "received_bytes", "counter"),
    _redis("sent_bytes", "Bytes sent.", "sent_bytes", "counter"),
    Figure("arc_celery_held_tasks", "Tasks that a worker holds.", "held", {"celery": {}}),
    Figure("arc_backup_free_bytes", "Free space where backups are written.", "free", {"backups": {}}),
    Figure("arc_agents", "Agents.", "total", {"agents": {}}),
    Figure("arc_documents", "Documents.", "documents", {"memories": {}}),
)
#: Metric → (help, source, label, its values by the name of the figure).
STATES: Mapping[str, tuple[str, str, str, tuple[str, ...]]] = {
    "arc_memories": (
        "Memories by the state of their embedding.",
        "memories",
        "state",
        ("embedded", "pending", "stale", "failed", "empty"),
    ),
    "arc_jobs": (
        "Jobs by state; failed: in the last 24 hours.",
        "jobs",
        "state",
        ("queued", "running", "failed"),
    ),
}
#: Metric → (help, source, what stands before the label's value, label, kind).
SPLIT: Mapping[str, tuple[str, str, str, str, Kind]] = {
    "arc_celery_waiting_tasks": ("Tasks that wait in a queue.", "celery", "waiting:", "queue", "gauge"),
    "arc_celery_done_tasks": ("Tasks that workers have done.", "queues", "done:", "queue", "counter"),
    "arc_celery_dropped_tasks": (
        "Tasks that expired, or were emptied out.",
        "queues",
        "dropped:",
        "queue",
        "counter",
    ),
    "arc_backup_proven_timestamp_seconds": (
        "The moment that the newest proven copy holds, in seconds since 1970.",
        "backups",
        "proven_at:",
        "source",
        "gauge",
    ),
    "arc_backup_copies": ("Copies that are whole.", "backups", "copies:", "source", "gauge"),
    "arc_backup_proven_copies": ("Copies that were proven.", "backups", "proven:", "source", "gauge"),
    "arc_backup_bad_copies": ("Copies that were found bad.", "backups", "bad:", "source", "gauge"),
    "arc_backup_failed_runs": (
        "Runs that failed since the last whole copy.",
        "backups",
        "failures:",
        "source",
        "gauge",
    ),
}
SOURCES = sorted(
    {source for figure in FIGURES for source in figure.sources}
    | {known[1] for known in STATES.values()}
    | {known[1] for known in SPLIT.values()}
)


def sampled() -> Iterable[Metric]:
    """Everything that is known from samples, in one query. Raises django.db.Error."""
    readings = newest(SOURCES)
    fresh = {source: reading.values for source, reading in readings.items() if not reading.stale}
    ages = tuple(({"source": source}, reading.age) for source, reading in sorted(readings.items()))
    yield Metric("arc_sample_age_seconds", "Age of the newest sample of a source.", ages)
    for figure in FIGURES:
        values = tuple(
            (labels, fresh[source][figure.key] * figure.factor)
            for source, labels in figure.sources.items()
            if figure.key in fresh.get(source, {})
        )
        if values:
            yield Metric(figure.name, figure.help, values, figure.kind)
    for name, (told, source, label, states) in STATES.items():
        known = fresh.get(source, {})
        if found := tuple(({label: state}, known[state]) for state in states if state in known):
            yield Metric(name, told, found)
    for name, (told, source, prefix, label, kind) in SPLIT.items():
        if parts := tuple(
            ({label: key.removeprefix(prefix)}, value)
            for key, value in sorted(fresh.get(source, {}).items())
            if key.startswith(prefix)
        ):
            yield Metric(name, told, parts, kind)


register_gauges(sampled, name="samples")
