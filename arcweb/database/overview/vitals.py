"""What the server says of itself, in pieces of one row: one for a panel, several for a sample.

What the role may not see is None, never a number that is too small. Counters grow until statistics are reset
or the server restarts; `*_reset` says when that was.
"""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from arcweb.database.overview import shared
from arcweb.database.standing import standing

# Who may not see a session gets no type of it either: what has a user counts as a client then.
ACTIVITY = """
    SELECT sessions, connections, max_connections, reserved,
           CASE WHEN sees THEN active END AS active,
           CASE WHEN sees THEN active_clients END AS active_clients,
           CASE WHEN sees THEN idle END AS idle,
           CASE WHEN sees THEN idle_in_transaction END AS idle_in_transaction,
           CASE WHEN sees THEN other_states END AS other_states,
           CASE WHEN sees THEN lock_waits END AS lock_waits,
           CASE WHEN sees THEN coalesce(extract(epoch FROM clock_timestamp() - oldest_since), 0) END
               AS oldest_transaction,
           oldest_since, oldest_pid, oldest_state, oldest_application
    FROM (
        SELECT count(*) AS sessions,
               count(*) FILTER (WHERE client) AS connections,
               count(*) FILTER (WHERE state = 'active') AS active,
               count(*) FILTER (WHERE client AND state = 'active') AS active_clients,
               count(*) FILTER (WHERE client AND state = 'idle') AS idle,
               count(*) FILTER (WHERE client AND state LIKE 'idle in transaction%%') AS idle_in_transaction,
               count(*) FILTER (WHERE client AND (state IN ('fastpath function call', 'disabled', 'starting')
                   OR state IS NULL)) AS other_states,
               count(*) FILTER (WHERE wait_event_type = 'Lock') AS lock_waits,
               min(xact_start) FILTER (WHERE open) AS oldest_since,
               (array_agg(pid ORDER BY xact_start) FILTER (WHERE open))[1] AS oldest_pid,
               (array_agg(state ORDER BY xact_start) FILTER (WHERE open))[1] AS oldest_state,
               (array_agg(application_name ORDER BY xact_start) FILTER (WHERE open))[1] AS oldest_application
        FROM pg_stat_activity
        CROSS JOIN LATERAL (
            SELECT backend_type = 'client backend' OR (backend_type IS NULL AND usesysid IS NOT NULL)
                       AS client,
                   backend_type = 'client backend' AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
                       AS open
        ) AS kind
    ) AS counted
    CROSS JOIN pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees
    CROSS JOIN (
        SELECT current_setting('max_connections')::int AS max_connections,
               current_setting('superuser_reserved_connections')::int
                   + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved
    ) AS allowed
"""
DATABASE = """
    SELECT size_bytes, pg_size_pretty(size_bytes) AS size_pretty, xact_commit AS commits,
           xact_rollback AS rollbacks, deadlocks, temp_bytes, temp_files,
           blks_hit AS blocks_hit, blks_read AS blocks_read, stats_reset AS database_reset
    FROM pg_stat_database CROSS JOIN LATERAL pg_database_size(datid) AS size_bytes
    WHERE datname = current_database()
"""
CACHE = """
    SELECT coalesce(sum(heap_blks_hit), 0)::bigint AS heap_hit,
           coalesce(sum(heap_blks_read), 0)::bigint AS heap_read,
           coalesce(sum(idx_blks_hit), 0)::bigint AS index_hit,
           coalesce(sum(idx_blks_read), 0)::bigint AS index_read
    FROM pg_statio_user_tables
"""
CHECKPOINTS = """
    SELECT num_timed AS checkpoints_timed, num_requested AS checkpoints_requested,
           stats_reset AS checkpoints_reset
    FROM pg_stat_checkpointer
"""
CHECKPOINTS_BEFORE_17 = """
    SELECT checkpoints_timed, checkpoints_req AS checkpoints_requested,
           stats_reset AS checkpoints_reset
    FROM pg_stat_bgwriter
"""
WAL = """
    SELECT wal_bytes::float8 AS wal_bytes, wal_buffers_full, stats_reset AS wal_reset FROM pg_stat_wal
"""
# A command that only says yes lets PostgreSQL forget each file: no archive. Its text may hold secrets.
ARCHIVE = r"""
    SELECT current_setting('archive_mode') AS archive_mode,
           current_setting('archive_command') ~ '^\s*((/usr)?/bin/)?(true|:)\s*$' AS archive_discards,
           archived_count AS archived, failed_count AS archive_failed,
           last_archived_time, last_failed_time, last_failed_wal,
           CASE WHEN last_failed_time > coalesce(last_archived_time, '-infinity')
                     AND current_setting('archive_mode') <> 'off'
                THEN extract(epoch FROM clock_timestamp()
                             - coalesce(last_archived_time, stats_reset, last_failed_time))
                ELSE 0 END::float8 AS archive_failing
    FROM pg_stat_archiver
"""
AGES = """
    SELECT max(age(datfrozenxid)) AS xid_age, max(mxid_age(datminmxid)) AS multixact_age,
           current_setting('autovacuum_freeze_max_age')::int AS xid_limit,
           current_setting('autovacuum_multixact_freeze_max_age')::int AS multixact_limit,
           current_setting('vacuum_failsafe_age')::int AS xid_failsafe,
           current_setting('vacuum_multixact_failsafe_age')::int AS multixact_failsafe,
           (array_agg(datname ORDER BY age(datfrozenxid) DESC))[1]::text AS xid_database,
           (array_agg(datname ORDER BY mxid_age(datminmxid) DESC))[1]::text AS multixact_database
    FROM pg_database
"""
REPLICATION = """
    SELECT replica, replicas, replica_lag_bytes::float8 AS replica_lag_bytes, replica_lag_seconds, slots,
           idle_slots, slot_wal_bytes::float8 AS slot_wal_bytes, replay_delay
    FROM (
        SELECT pg_is_in_recovery() AS replica,
               CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                    ELSE pg_current_wal_lsn() END AS here,
               CASE WHEN NOT pg_is_in_recovery() THEN NULL
                    WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                    ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END::float8
                   AS replay_delay
    ) AS me
    CROSS JOIN LATERAL (
        SELECT count(*) AS replicas, max(pg_wal_lsn_diff(here, replay_lsn)) AS replica_lag_bytes,
               max(extract(epoch FROM replay_lag))::float8 AS replica_lag_seconds
        FROM pg_stat_replication
    ) AS followers
    CROSS JOIN LATERAL (
        SELECT count(*) AS slots, count(*) FILTER (WHERE NOT active) AS idle_slots,
               max(pg_wal_lsn_diff(here, restart_lsn)) AS slot_wal_bytes
        FROM pg_replication_slots
    ) AS kept
"""
# The views of statistics join what is not needed here: this asks their functions, once for each table.
AUTOVACUUM = """
    SELECT (current_setting('autovacuum')::bool AND current_setting('track_counts')::bool)::int AS autovacuum,
           current_setting('autovacuum')::bool AS autovacuum_set,
           current_setting('autovacuum_max_workers')::int AS autovacuum_max,
           current_setting('autovacuum_naptime') AS autovacuum_naptime,
           CASE WHEN pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
                THEN (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker') END
               AS autovacuum_workers,
           last_autovacuum, dead_rows
    FROM (
        SELECT max(pg_stat_get_last_autovacuum_time(oid)) AS last_autovacuum,
               coalesce(sum(pg_stat_get_dead_tuples(oid)), 0)::bigint AS dead_rows
        FROM pg_class
        WHERE relkind IN ('r', 'm')
            AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    ) AS tables
"""
SETTINGS = """
    SELECT pg_postmaster_start_time() AS started_at, current_database()::text AS database_name,
           pg_size_bytes(current_setting('max_wal_size')) AS max_wal_size,
           pg_size_bytes(current_setting('work_mem')) AS work_mem,
           extract(epoch FROM current_setting('checkpoint_timeout')::interval)::float8 AS checkpoint_timeout
"""
PIECES = {
    "activity": ACTIVITY,
    "database": DATABASE,
    "cache": CACHE,
    "checkpoints": CHECKPOINTS,
    "wal": WAL,
    "archive": ARCHIVE,
    "ages": AGES,
    "replication": REPLICATION,
    "autovacuum": AUTOVACUUM,
    "settings": SETTINGS,
}


def ask(*pieces: str, using: str = DEFAULT_DB_ALIAS) -> dict[str, Any]:
    """The columns of those PIECES, in one statement; on a page (`shared`) also those it knows already.

    Raises django.db.Error.
    """
    if using != DEFAULT_DB_ALIAS:
        return _ask(pieces, using)
    return shared.columns(pieces, lambda missing: _ask(missing, using))


def _ask(pieces: tuple[str, ...], using: str) -> dict[str, Any]:
    with connections[using].cursor() as cursor:
        cursor.execute(statement(*pieces, version=standing(using).version), [])
        names = [column.name for column in cursor.description]
        return dict(zip(names, cursor.fetchone(), strict=True))


def statement(*pieces: str, version: int) -> str:
    """What `ask` sends to a server of that version (180004)."""
    texts = {**PIECES, "checkpoints": CHECKPOINTS if version >= 170_000 else CHECKPOINTS_BEFORE_17}
    return "SELECT * FROM " + " CROSS JOIN ".join(f"({texts[piece]}) AS {piece}" for piece in pieces)  # noqa: S608
