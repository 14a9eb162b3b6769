"""The panels of the overview: each asks its own pieces and says them in figures with their source."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from django.utils import timezone

from arcweb.charts import quantity, size
from arcweb.database.overview import judging, looks, sequences, shared, vitals
from arcweb.database.overview.judging import Figures, Past
from arcweb.database.overview.words import (
    HIDDEN,
    UNKNOWN,
    WRAP,
    Figure,
    Group,
    Shown,
    Slice,
    at,
    lasting,
    since_words,
)
from arcweb.database.standing import standing
from arcweb.panels import State
from arcweb.samples.series import Reading, first_since
from arcweb.servers import duration


def connections() -> Shown:
    now = vitals.ask("activity")
    finding = judging.connections(now)
    oldest = judging.transaction(now)
    free = judging.usable(now) - now["connections"]
    figures = [
        Figure(
            "Connections",
            f"{now['connections']:,} of {now['max_connections']:,}",
            "pg_stat_activity where backend_type = 'client backend'; max_connections",
            f"{max(0, free):,.0f} free, {now['reserved']} more for superusers",
            finding.state if finding else "good",
        ),
        _count("Idle", now["idle"], "pg_stat_activity.state = 'idle'"),
        _count("Idle in transaction", now["idle_in_transaction"], "pg_stat_activity.state"),
        _count("Active queries", now["active"], "pg_stat_activity.state = 'active'", "this look is one"),
        _count(
            "Waiting for a lock",
            now["lock_waits"],
            "pg_stat_activity.wait_event_type = 'Lock'",
            state="warn" if now["lock_waits"] else "idle",
        ),
        Figure(
            "Oldest transaction",
            lasting(now["oldest_transaction"]),
            "pg_stat_activity.xact_start",
            _who(now),
            oldest.state if oldest else "idle",
        ),
        _count("All processes", now["sessions"], "pg_stat_activity", "background ones too"),
    ]
    return Shown(figures, _slices(now))


def work() -> Shown:
    now = vitals.ask("database", "cache")
    minute, hour = looks.a_minute_ago(), looks.an_hour_ago()
    low = judging.hit_ratio(now, hour) if hour else None
    figures = [
        _per_second("Transactions", now, minute, ("commits", "rollbacks"), "xact_commit + xact_rollback"),
        _per_second("Rollbacks", now, minute, ("rollbacks",), "xact_rollback"),
        _ratio("Table hit ratio", now, "heap", "heap_blks_hit / (heap_blks_hit + heap_blks_read)"),
        _ratio("Index hit ratio", now, "index", "idx_blks_hit / (idx_blks_hit + idx_blks_read)"),
        Figure(
            "Hit ratio, both",
            _recent_ratio(now, hour),
            "pg_statio_user_tables, against the samples",
            hour.words if hour else "no sample is old enough yet",
            low.state if low else "idle",
        ),
        _temp(now, hour),
        Figure(
            "Deadlocks",
            f"{now['deadlocks']:,}",
            "pg_stat_database.deadlocks",
            since_words(now["database_reset"]),
        ),
    ]
    return Shown(figures)


def sizes() -> Shown:
    now = vitals.ask("database", "settings")
    bytes_now = float(now["size_bytes"])
    figures = [
        Figure(
            "Database",
            str(now["size_pretty"]),
            "pg_database_size()",
            str(now["database_name"]),
        )
    ]
    moment = timezone.now()
    day, fortnight = (
        shared.once(("since", days), partial(first_since, "postgres", moment - timedelta(days=days)))
        for days in (1, 14)
    )
    figures.append(_grown("Growth", bytes_now, day))
    if fortnight is not None and day is not None and fortnight.age > day.age + 3600:
        figures.append(_grown("In the longer run", bytes_now, fortnight))
    figures.append(
        Figure(
            "Running for",
            lasting((moment - now["started_at"]).total_seconds()),
            "pg_postmaster_start_time()",
        )
    )
    figures.append(Figure("Version", standing().version_text.partition(" ")[0], "server_version"))
    return Shown(figures)


def wal() -> Shown:
    now = vitals.ask("checkpoints", "wal", "archive", "settings")
    minute, hour = looks.a_minute_ago(), looks.an_hour_ago()
    often = judging.checkpoints(now, hour) if hour else None
    source = "pg_stat_checkpointer" if standing().version >= 170_000 else "pg_stat_bgwriter"
    columns = (
        ("num_timed", "num_requested")
        if standing().version >= 170_000
        else ("checkpoints_timed", "checkpoints_req")
    )
    written = minute.grown(now, "wal_bytes") if minute else None
    figures = [
        Figure(
            "WAL written",
            UNKNOWN if written is None or minute is None else f"{size(written / minute.seconds)}/s",
            "pg_stat_wal.wal_bytes",
            f"{size(now['wal_bytes'])} {since_words(now['wal_reset'])}",
        ),
        *(
            Figure(
                f"Checkpoints {word}",
                f"{now[f'checkpoints_{word}']:,}",
                f"{source}.{column}",
                _in_the_hour(now, hour, f"checkpoints_{word}") or since_words(now["checkpoints_reset"]),
                often.state if often and word == "requested" else "idle",
            )
            for word, column in zip(("timed", "requested"), columns, strict=True)
        ),
        _archiving(now),
        Figure(
            "Archive failures",
            f"{now['archive_failed']:,}",
            "pg_stat_archiver.failed_count",
            at("the last", now["last_failed_time"]),
        ),
    ]
    return Shown(figures)


def replication() -> Shown:
    now = vitals.ask("replication")
    hidden = bool(now["replicas"]) and now["replica_lag_bytes"] is None
    lag = now["replica_lag_bytes"]
    figures = [
        Figure("This server", "a replica" if now["replica"] else "the primary", "pg_is_in_recovery()"),
        Figure("Replicas", f"{now['replicas']:,}", "pg_stat_replication"),
    ]
    if now["replica"]:
        figures.append(
            Figure(
                "Behind its primary",
                lasting(now["replay_delay"]),
                "pg_last_xact_replay_timestamp()",
                "an idle primary also looks like this",
            )
        )
    if now["replicas"]:
        figures.append(
            Figure(
                "Farthest behind",
                HIDDEN if hidden else UNKNOWN if lag is None else size(lag),
                "pg_stat_replication.replay_lsn",
                ""
                if now["replica_lag_seconds"] is None
                else f"{quantity(now['replica_lag_seconds'], 's')} by replay_lag",
            )
        )
    figures.append(
        Figure(
            "Slots",
            f"{now['slots']:,}",
            "pg_replication_slots",
            f"{now['idle_slots']:,} that nobody uses" if now["idle_slots"] else "",
            "warn" if now["idle_slots"] else "idle",
        )
    )
    if now["slots"]:
        held = now["slot_wal_bytes"]
        figures.append(
            Figure(
                "WAL they hold back",
                UNKNOWN if held is None else size(held),
                "pg_replication_slots.restart_lsn",
            )
        )
    return Shown(figures)


def headroom() -> Shown:
    now = vitals.ask("ages")
    found = shared.once("sequences", sequences.fullest)
    hidden = shared.once("unseen", sequences.unseen)
    xid, multixact = judging.ages(now)
    figures = [
        _age("Transaction age", now, "xid", "datfrozenxid", xid.state if xid else "good"),
        _age("Multixact age", now, "multixact", "datminmxid", multixact.state if multixact else "good"),
    ]
    for sequence in found[:3]:
        state: State = "bad" if sequence.percent >= sequences.FULL else "warn"
        figures.append(
            Figure(
                sequence.place,
                f"{sequence.percent:.1f} %" if sequence.percent >= 0.1 else "below 0.1 %",
                "pg_sequences.last_value",
                f"{sequence.left:,} numbers left",
                state if sequence.percent >= sequences.NEARLY_FULL else "idle",
            )
        )
    if not found:
        figures.append(Figure("Sequences", "none was used yet", "pg_sequences"))
    if hidden:
        figures.append(
            Figure(
                "Sequences not visible",
                f"{hidden:,}",
                "has_sequence_privilege()",
                "GRANT SELECT on them, or pg_read_all_data",
            )
        )
    return Shown(figures)


def autovacuum() -> Shown:
    now = vitals.ask("autovacuum")
    finding = judging.autovacuum(now)
    workers = now["autovacuum_workers"]
    figures = [
        Figure(
            "Autovacuum",
            "off" if finding else "on",
            "autovacuum, track_counts",
            state=finding.state if finding else "good",
        ),
        Figure(
            "At work now",
            HIDDEN if workers is None else f"{workers:,} of {now['autovacuum_max']:,}",
            "pg_stat_activity.backend_type = 'autovacuum worker'; autovacuum_max_workers",
            f"looks every {now['autovacuum_naptime']}",
        ),
        Figure(
            "Last one ended",
            at("", now["last_autovacuum"]) or "never, as far as is known",
            "pg_stat_user_tables.last_autovacuum",
        ),
        Figure(
            "Dead rows",
            f"{now['dead_rows']:,}",
            "pg_stat_user_tables.n_dead_tup",
            "in this database, estimated",
        ),
    ]
    return Shown(figures)


GROUPS: tuple[Group, ...] = (
    Group("connections", "Connections", connections, "The connections", 10, "admin:database_activity"),
    Group("work", "Work", work, "The figures of the database's work", 10),
    Group("size", "Size", sizes, "The size of the database", 60, "admin:database_tables"),
    Group("wal", "WAL, checkpoints, archive", wal, "The figures of the WAL", 30),
    Group("replication", "Replication", replication, "The replicas", 15, "admin:database_replication"),
    Group("headroom", "Headroom", headroom, "The ages and sequences", 60),
    Group("autovacuum", "Autovacuum", autovacuum, "The figures of autovacuum", 30, "admin:database_tables"),
)


def _count(label: str, value: Any, source: str, note: str = "", state: State = "idle") -> Figure:
    return Figure(label, HIDDEN if value is None else f"{value:,}", source, note, state)


def _who(now: Figures) -> str:
    return f"process {now['oldest_pid']}, {now['oldest_state']}" if now.get("oldest_pid") else ""


def _slices(now: Figures) -> list[Slice]:
    """The bar: active, idle, idle in transaction, others, out of max_connections."""
    if now["idle"] is None or not now["max_connections"]:
        return []
    slices, start = [], 0.0
    for name in ("active_clients", "idle_in_transaction", "idle", "other_states"):
        width = 100 * now[name] / now["max_connections"]
        if width:
            slices.append(Slice(name, round(start, 2), round(width, 2)))
        start += width
    return slices


def _per_second(label: str, now: Figures, past: Past | None, names: tuple[str, ...], columns: str) -> Figure:
    grown = [past.grown(now, name) for name in names] if past else []
    known = past is not None and all(count is not None for count in grown)
    value = (
        quantity(sum(count or 0 for count in grown) / past.seconds, "a second") if past and known else UNKNOWN
    )
    note = f"{sum(now[name] for name in names):,} {since_words(now['database_reset'])}"
    return Figure(label, value, f"pg_stat_database.{columns}", note)


def _ratio(label: str, now: Figures, kind: str, columns: str) -> Figure:
    share = judging.ratio(now[f"{kind}_hit"], now[f"{kind}_read"])
    value = "nothing was read" if share is None else f"{share:.2f} %"
    return Figure(label, value, f"pg_statio_user_tables: {columns}", since_words(now["database_reset"]))


def _recent_ratio(now: Figures, hour: Past | None) -> str:
    if hour is None:
        return UNKNOWN
    grown = {name: hour.grown(now, name) for name in ("heap_hit", "heap_read", "index_hit", "index_read")}
    if None in grown.values():
        return UNKNOWN
    hit = (grown["heap_hit"] or 0) + (grown["index_hit"] or 0)
    share = judging.ratio(hit, (grown["heap_read"] or 0) + (grown["index_read"] or 0))
    return "nothing was read" if share is None else f"{share:.2f} %"


def _temp(now: Figures, hour: Past | None) -> Figure:
    much = judging.temp_files(now, hour) if hour else None
    written = hour.grown(now, "temp_bytes") if hour else None
    return Figure(
        "Temporary files",
        UNKNOWN if written is None else size(written),
        "pg_stat_database.temp_bytes, temp_files",
        f"{hour.words if hour else 'no sample is old enough yet'}; {now['temp_files']:,} files, "
        f"{size(now['temp_bytes'])} {since_words(now['database_reset'])}",
        much.state if much else "idle",
    )


def _grown(label: str, now: float, before: Reading | None) -> Figure:
    source = "pg_database_size(), against the samples"
    if before is None or "size_bytes" not in before.values:
        return Figure(label, UNKNOWN, source, "no sample yet")
    change = now - before.values["size_bytes"]
    return Figure(
        label, f"{'-' if change < 0 else '+'}{size(abs(change))}", source, f"in {duration(before.age)}"
    )


def _in_the_hour(now: Figures, hour: Past | None, name: str) -> str:
    grown = hour.grown(now, name) if hour else None
    return "" if grown is None or hour is None else f"{grown:,.0f} {hour.words}"


def _archiving(now: Figures) -> Figure:
    source = "pg_stat_archiver; archive_mode, archive_command"
    files = f"{now['archived']:,} files{at(', the last', now['last_archived_time'])}"
    if now["archive_mode"] == "off":
        return Figure("Archiving", "off", source, "no restore to a point in time")
    if judging.archiving(now):
        return Figure("Archiving", "fails", source, files, "bad")
    if now["archive_discards"]:
        return Figure(
            "Archiving",
            "keeps nothing",
            source,
            "archive_command only says yes; no restore to a point in time",
        )
    return (
        Figure("Archiving", "works", source, files, "good")
        if now["archived"]
        else Figure("Archiving", "nothing yet", source)
    )


def _age(label: str, now: Figures, kind: str, column: str, state: State) -> Figure:
    age = now[f"{kind}_age"]
    return Figure(
        label,
        f"{100 * age / WRAP:.1f} %" if age >= WRAP / 1000 else "below 0.1 %",
        f"age of pg_database.{column} out of 2^31",
        f"{age:,}; vacuum against wraparound at {now[f'{kind}_limit']:,}",
        state,
    )
