"""The settings that matter, in their groups: what each does and the rule for it. Pure.

These are the ones that init.sql lets the application's role change (GRANT ALTER SYSTEM ON PARAMETER).
"""

from __future__ import annotations

from dataclasses import dataclass

from arcweb.database.tuning import rules
from arcweb.database.tuning.rules import MANUAL, Rule, fixed, free, parallel, scale_factor
from arcweb.embedded.memory import GB, MB

MINUTE, SECOND = 60_000.0, 1000.0


@dataclass(frozen=True)
class Setting:
    name: str
    group: str
    does: str
    rule: Rule


def _on(name: str, why: str, source: str) -> Rule:
    return fixed(1, why, source, 1, 1, name)


_ALL = (
    ("Memory", "shared_buffers", "PostgreSQL's own cache of pages.", rules.shared_buffers),
    ("Memory", "effective_cache_size", "What the planner takes to be cached.", rules.effective_cache_size),
    ("Memory", "work_mem", "Memory of one sort or hash, before it goes to a file.", rules.work_mem),
    (
        "Memory",
        "hash_mem_multiplier",
        "How many times work_mem a hash may take.",
        fixed(
            2,
            "The default: hashes gain more from memory than sorts.",
            f"{MANUAL} 19.4.",
            1,
            4,
            "hash_mem_multiplier",
        ),
    ),
    ("Memory", "maintenance_work_mem", "Memory of one VACUUM or CREATE INDEX.", rules.maintenance_work_mem),
    ("Memory", "autovacuum_work_mem", "Memory of one autovacuum worker.", rules.autovacuum_work_mem),
    (
        "Memory",
        "temp_buffers",
        "Pages of temporary tables, for each session that has any.",
        fixed(
            8 * MB,
            "The default: the application makes no temporary tables.",
            f"{MANUAL} 19.4.",
            1 * MB,
            64 * MB,
            "temp_buffers",
        ),
    ),
    ("Connections", "max_connections", "Sessions at a time.", rules.max_connections),
    (
        "Write-ahead log",
        "max_wal_size",
        "WAL between two checkpoints before one is forced.",
        rules.max_wal_size,
    ),
    (
        "Write-ahead log",
        "min_wal_size",
        "WAL files that are kept to be used again.",
        fixed(
            256 * MB,
            "Enough that a quiet hour does not throw away what the next one needs.",
            f"{MANUAL} 28.5.",
            80 * MB,
            16 * GB,
            "min_wal_size",
        ),
    ),
    (
        "Write-ahead log",
        "wal_buffers",
        "WAL not yet written.",
        fixed(
            -1,
            "As PostgreSQL chooses: 1/32 of shared_buffers, 16 MB at most.",
            f"{MANUAL} 19.5.",
            -1,
            64 * MB,
            "wal_buffers",
        ),
    ),
    (
        "Write-ahead log",
        "wal_compression",
        "Whether pages in the WAL are compressed.",
        free("Saves WAL and archive, costs some processor: on where disks or the network are slow."),
    ),
    (
        "Write-ahead log",
        "checkpoint_timeout",
        "Time between two checkpoints.",
        fixed(
            15 * MINUTE,
            "Fewer checkpoints write fewer full pages; a crash takes longer to recover from.",
            f"{MANUAL} 19.5: sensible between 30 s and a day, the default is 5 min.",
            5 * MINUTE,
            30 * MINUTE,
            "checkpoint_timeout",
        ),
    ),
    (
        "Write-ahead log",
        "checkpoint_completion_target",
        "Share of that time over which writing is spread.",
        fixed(
            0.9,
            "The default: the most even writing.",
            f"{MANUAL} 19.5.",
            0.7,
            0.95,
            "checkpoint_completion_target",
        ),
    ),
    (
        "Planner",
        "random_page_cost",
        "Cost of a page out of order, against one in order.",
        fixed(
            1.1,
            "SSDs read pages in any order alike; on turning disks leave it at 4.",
            f"{MANUAL} 19.7: low for storage whose random reads are cheap.",
            1,
            2,
            "random_page_cost",
        ),
    ),
    (
        "Planner",
        "seq_page_cost",
        "Cost of a page in order.",
        fixed(1, "The unit that the other costs are measured in.", f"{MANUAL} 19.7.", 1, 1, "seq_page_cost"),
    ),
    (
        "Planner",
        "effective_io_concurrency",
        "Reads that are asked for at once.",
        fixed(
            16,
            "SSDs and cloud disks answer many requests at a time.",
            f"{MANUAL} 19.4: the default since 18.",
            16,
            1000,
            "effective_io_concurrency",
        ),
    ),
    (
        "Planner",
        "maintenance_io_concurrency",
        "The same for VACUUM and CREATE INDEX.",
        fixed(
            16,
            "SSDs and cloud disks answer many requests at a time.",
            f"{MANUAL} 19.4: the default since 18.",
            10,
            1000,
            "maintenance_io_concurrency",
        ),
    ),
    (
        "Planner",
        "default_statistics_target",
        "How closely ANALYZE looks.",
        fixed(
            100,
            "The default; single columns with odd values get more (ALTER TABLE … SET STATISTICS).",
            f"{MANUAL} 19.7.",
            50,
            500,
            "default_statistics_target",
        ),
    ),
    (
        "Planner",
        "jit",
        "Whether expressions are compiled.",
        fixed(
            0,
            "Compiling takes longer than the statements of this application run.",
            "Measured for this project; on in the defaults up to 18.",
            0,
            0,
            "jit",
        ),
    ),
    ("Parallel work", "max_worker_processes", "All background workers together.", rules.max_worker_processes),
    (
        "Parallel work",
        "max_parallel_workers",
        "Workers for parallel statements, together.",
        parallel("max_parallel_workers", 1, 64, 8),
    ),
    (
        "Parallel work",
        "max_parallel_workers_per_gather",
        "Workers for one part of a statement.",
        parallel("max_parallel_workers_per_gather", 0.5, 4, 2),
    ),
    (
        "Parallel work",
        "max_parallel_maintenance_workers",
        "Workers for one CREATE INDEX (HNSW too).",
        parallel("max_parallel_maintenance_workers", 0.5, 4, 2),
    ),
    (
        "Autovacuum",
        "autovacuum_max_workers",
        "Tables that are vacuumed at a time.",
        fixed(
            3,
            "The default; more share the same speed limit.",
            f"{MANUAL} 19.10.",
            2,
            10,
            "autovacuum_max_workers",
        ),
    ),
    (
        "Autovacuum",
        "autovacuum_naptime",
        "Time between two looks at a database.",
        fixed(MINUTE, "The default.", f"{MANUAL} 19.10.", 10 * SECOND, 5 * MINUTE, "autovacuum_naptime"),
    ),
    (
        "Autovacuum",
        "autovacuum_vacuum_scale_factor",
        "Share of dead rows that a table may have.",
        scale_factor("autovacuum_vacuum_scale_factor", 0.2, 0.05),
    ),
    (
        "Autovacuum",
        "autovacuum_vacuum_threshold",
        "Dead rows beside that share.",
        fixed(50, "The default.", f"{MANUAL} 19.10.", 1, 10_000, "autovacuum_vacuum_threshold"),
    ),
    (
        "Autovacuum",
        "autovacuum_vacuum_insert_scale_factor",
        "Share of new rows until pages are marked visible.",
        fixed(0.2, "The default.", f"{MANUAL} 19.10.", 0.01, 0.4, "autovacuum_vacuum_insert_scale_factor"),
    ),
    (
        "Autovacuum",
        "autovacuum_vacuum_insert_threshold",
        "New rows beside that share.",
        fixed(1000, "The default.", f"{MANUAL} 19.10.", 100, 100_000, "autovacuum_vacuum_insert_threshold"),
    ),
    (
        "Autovacuum",
        "autovacuum_analyze_scale_factor",
        "Share of changed rows until a table is analyzed.",
        scale_factor("autovacuum_analyze_scale_factor", 0.1, 0.05),
    ),
    (
        "Autovacuum",
        "autovacuum_analyze_threshold",
        "Changed rows beside that share.",
        fixed(50, "The default.", f"{MANUAL} 19.10.", 1, 10_000, "autovacuum_analyze_threshold"),
    ),
    (
        "Autovacuum",
        "autovacuum_vacuum_cost_limit",
        "Work between two pauses; -1: as vacuum_cost_limit (200).",
        free("More, up to 2000, where dead rows pile up although autovacuum is at work."),
    ),
    (
        "Autovacuum",
        "autovacuum_vacuum_cost_delay",
        "Length of a pause.",
        fixed(2, "The default.", f"{MANUAL} 19.10.", 0, 20, "autovacuum_vacuum_cost_delay"),
    ),
    (
        "Time limits",
        "idle_in_transaction_session_timeout",
        "When an idle session in a transaction is ended.",
        fixed(
            5 * MINUTE,
            "A forgotten transaction holds back VACUUM and keeps its locks.",
            f"{MANUAL} 19.11; never by default, which is too long.",
            SECOND,
            60 * MINUTE,
            "idle_in_transaction_session_timeout",
        ),
    ),
    (
        "Time limits",
        "lock_timeout",
        "How long a statement waits for a lock.",
        fixed(
            0,
            "None for the whole server: set it where it is wanted, as the maintenance here does.",
            f"{MANUAL} 19.11 advises against setting it for all sessions.",
            0,
            0,
            "lock_timeout",
        ),
    ),
    (
        "Time limits",
        "statement_timeout",
        "How long a statement runs.",
        fixed(
            0,
            "None for the whole server: pages have their own, backups and index builds need hours.",
            f"{MANUAL} 19.11 advises against setting it for all sessions.",
            0,
            0,
            "statement_timeout",
        ),
    ),
    (
        "Logging",
        "log_min_duration_statement",
        "Statements that take longer are logged.",
        fixed(
            SECOND,
            "Slow enough to be worth a line.",
            "As the embedded stack has it; -1 logs none.",
            100,
            10 * SECOND,
            "log_min_duration_statement",
        ),
    ),
    (
        "Logging",
        "log_lock_waits",
        "Whether waits for locks are logged.",
        _on(
            "log_lock_waits",
            "A wait of more than a second leaves a line.",
            f"{MANUAL} 19.8; on by default from 19.",
        ),
    ),
    (
        "Logging",
        "log_temp_files",
        "Temporary files of that size and more are logged.",
        fixed(
            10 * MB,
            "What did not fit into work_mem.",
            "As the embedded stack has it; -1 logs none.",
            0,
            1 * GB,
            "log_temp_files",
        ),
    ),
    (
        "Logging",
        "log_autovacuum_min_duration",
        "Runs of autovacuum that take longer are logged.",
        fixed(
            10 * SECOND,
            "Long enough to be of interest.",
            "As the embedded stack has it; -1 logs none.",
            0,
            10 * MINUTE,
            "log_autovacuum_min_duration",
        ),
    ),
    (
        "Logging",
        "track_io_timing",
        "Whether reads and writes are timed.",
        _on(
            "track_io_timing",
            "Tells waiting for the disk from computing; cheap on today's clocks.",
            f"{MANUAL} 19.9; pg_test_timing measures its cost.",
        ),
    ),
)
SETTINGS: dict[str, Setting] = {name: Setting(name, group, does, rule) for group, name, does, rule in _ALL}
