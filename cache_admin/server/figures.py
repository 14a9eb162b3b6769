"""What INFO says, for people: each number with the field it comes from. INFO is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from arcweb.charts import quantity, size
from arcweb.panels import State

Info = Mapping[str, Any]
MINUTE, HOUR, DAY = 60, 3600, 86400
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Figure:
    """A line of a section. `source`: the field of INFO, or what else it was measured by."""

    label: str
    value: str
    source: str
    state: State = "idle"
    note: str = ""


@dataclass(frozen=True)
class Section:
    title: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Database:
    """One numbered database of the server."""

    number: int
    keys: int
    expiring: int
    ours: bool

    @property
    def lasting(self) -> int:
        return self.keys - self.expiring


def lasting(seconds: float) -> str:
    """ "3 days 4 h", "12 min", "40 s"."""
    seconds = int(seconds)
    if seconds >= DAY:
        days = seconds // DAY
        return f"{days} day{'' if days == 1 else 's'} {seconds % DAY // HOUR} h"
    if seconds >= HOUR:
        return f"{seconds // HOUR} h {seconds % HOUR // MINUTE} min"
    return f"{seconds // MINUTE} min" if seconds >= MINUTE else f"{seconds} s"


def hit_rate(hits: float, misses: float) -> str:
    """ "98.2 %", or that nothing was read."""
    return quantity(100 * hits / (hits + misses), "%") if hits + misses > 0 else "no reads"


def sections(info: Info, *, named: str, recent: Mapping[str, str], latency: float | None) -> list[Section]:
    """The overview's figures.

    named: "Valkey 9.1.2". recent: the hit rate by period ("the last minute"). latency: seconds of a PING,
    from here.
    """
    return [
        Section("Server", _server(info, named, latency)),
        Section("Memory", _memory(info)),
        Section("Hits", _hits(info, recent)),
        Section("Traffic", _traffic(info)),
        Section("Persistence", _persistence(info)),
    ]


def databases(info: Info, ours: int) -> list[Database]:
    """Those that hold keys, by INFO keyspace; ours: the number of the role's own, listed also when empty."""
    found = {
        int(name[2:]): value
        for name, value in info.items()
        if name.startswith("db") and name[2:].isdigit() and isinstance(value, dict)
    }
    found.setdefault(ours, {})
    return [
        Database(number, int(value.get("keys", 0)), int(value.get("expires", 0)), number == ours)
        for number, value in sorted(found.items())
    ]


def _server(info: Info, named: str, latency: float | None) -> tuple[Figure, ...]:
    replicas = int(info.get("connected_slaves", 0))
    role = {"master": "primary", "slave": "replica"}.get(str(info.get("role")), UNKNOWN)
    if replicas:
        role += f" of {replicas} replica{'' if replicas == 1 else 's'}"
    link = str(info.get("master_link_status", ""))
    mode = str(info.get("redis_mode", info.get("server_mode", UNKNOWN)))
    return (
        Figure("Version", named, "valkey_version" if "valkey_version" in info else "redis_version"),
        Figure("Up for", _of(info, "uptime_in_seconds", lasting), "uptime_in_seconds"),
        Figure(
            "Role",
            role,
            "role, connected_slaves",
            "bad" if link == "down" else "idle",
            "the link to its primary is down" if link == "down" else "",
        ),
        Figure(
            "Mode",
            mode,
            "redis_mode",
            note="the figures are those of this node alone" if mode == "cluster" else "",
        ),
        Figure(
            "Answer to a PING",
            UNKNOWN if latency is None else quantity(latency * 1000, "ms"),
            "one PING from this web process, the network among it",
        ),
    )


def _memory(info: Info) -> tuple[Figure, ...]:
    used, most = info.get("used_memory"), int(info.get("maxmemory", 0))
    ratio = info.get("mem_fragmentation_ratio")
    # Below some MB of data the ratio says how large the program is, not how torn its memory.
    torn = ratio is not None and float(ratio) > 1.5 and (used or 0) > 64 * 1024**2
    share = f" ({quantity(100 * used / most, '%')})" if used is not None and most else ""
    return (
        Figure("Used", UNKNOWN if used is None else size(used) + share, "used_memory"),
        Figure("Limit", size(most) if most else "none", "maxmemory"),
        Figure("Most ever used", _of(info, "used_memory_peak", size), "used_memory_peak"),
        Figure("Held by the process", _of(info, "used_memory_rss", size), "used_memory_rss"),
        Figure(
            "Fragmentation",
            _of(info, "mem_fragmentation_ratio", lambda value: f"{float(value):.2f}"),
            "mem_fragmentation_ratio",
            "warn" if torn else "idle",
            "much memory is held and not used: activedefrag, or a restart, frees it" if torn else "",
        ),
        Figure("Policy", str(info.get("maxmemory_policy", UNKNOWN)), "maxmemory_policy"),
    )


def _hits(info: Info, recent: Mapping[str, str]) -> tuple[Figure, ...]:
    source = "keyspace_hits, keyspace_misses"
    known = "keyspace_hits" in info
    return (
        *(Figure(f"Hit rate, {period}", value, f"{source}, by samples") for period, value in recent.items()),
        Figure(
            "Hit rate, since start",
            hit_rate(info.get("keyspace_hits", 0), info.get("keyspace_misses", 0)) if known else UNKNOWN,
            source,
        ),
        Figure("Evicted since start", _of(info, "evicted_keys", _count), "evicted_keys"),
        Figure("Expired since start", _of(info, "expired_keys", _count), "expired_keys"),
    )


def _traffic(info: Info) -> tuple[Figure, ...]:
    blocked, refused = int(info.get("blocked_clients", 0)), int(info.get("rejected_connections", 0))
    return (
        Figure(
            "Operations",
            _of(info, "instantaneous_ops_per_sec", _count, " a second"),
            "instantaneous_ops_per_sec",
        ),
        Figure(
            "In",
            _of(info, "instantaneous_input_kbps", lambda v: size(float(v) * 1024), "/s"),
            "instantaneous_input_kbps",
        ),
        Figure(
            "Out",
            _of(info, "instantaneous_output_kbps", lambda v: size(float(v) * 1024), "/s"),
            "instantaneous_output_kbps",
        ),
        Figure(
            "Clients", _of(info, "connected_clients", _count, _most(info)), "connected_clients, maxclients"
        ),
        Figure(
            "Blocked clients",
            _count(blocked),
            "blocked_clients",
            note="workers that wait for a queue are" if blocked else "",
        ),
        Figure(
            "Refused connections",
            _count(refused),
            "rejected_connections",
            "warn" if refused else "idle",
            "maxclients was reached" if refused else "",
        ),
    )


def _persistence(info: Info) -> tuple[Figure, ...]:
    saved = info.get("rdb_last_save_time")
    aof = bool(info.get("aof_enabled"))
    lines = [
        Figure(
            "Snapshot (RDB) last saved",
            UNKNOWN if saved is None else _moment(int(saved)),
            "rdb_last_save_time",
        ),
        _status(info, "rdb_last_bgsave_status", "Last snapshot"),
        Figure(
            "Changes since", _of(info, "rdb_changes_since_last_save", _count), "rdb_changes_since_last_save"
        ),
        Figure("Append-only file (AOF)", "on" if aof else "off", "aof_enabled"),
    ]
    if aof:
        lines += [
            Figure("AOF size", _of(info, "aof_current_size", size), "aof_current_size"),
            _status(info, "aof_last_write_status", "Last write to it"),
            _status(info, "aof_last_bgrewrite_status", "Last rewrite"),
            Figure(
                "Last rewrite took",
                _of(info, "aof_last_rewrite_time_sec", _took),
                "aof_last_rewrite_time_sec",
            ),
        ]
    running = [
        word
        for field, word in (
            ("rdb_bgsave_in_progress", "a snapshot is being written"),
            ("aof_rewrite_in_progress", "the AOF is being rewritten"),
        )
        if info.get(field)
    ]
    if running:
        lines.append(Figure("Now", " and ".join(running), "rdb_bgsave_in_progress, aof_rewrite_in_progress"))
    return tuple(lines)


def _status(info: Info, field: str, label: str) -> Figure:
    value = str(info.get(field, UNKNOWN))
    state: State = {"ok": "good", "err": "bad"}.get(value, "idle")  # type: ignore[assignment]
    note = "the server's log says why; a full disk is the usual reason" if value == "err" else ""
    return Figure(label, {"ok": "well", "err": "failed"}.get(value, value), field, state, note)


def _most(info: Info) -> str:
    return f" of {_count(info['maxclients'])}" if "maxclients" in info else ""


def _moment(stamp: int) -> str:
    return f"{datetime.fromtimestamp(stamp, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _took(seconds: Any) -> str:
    return "never" if int(seconds) < 0 else f"{int(seconds)} s"


def _count(value: Any) -> str:
    return f"{int(value):,}"


def _of(info: Info, field: str, words: Any, after: str = "") -> str:
    return f"{words(info[field])}{after}" if field in info else UNKNOWN
