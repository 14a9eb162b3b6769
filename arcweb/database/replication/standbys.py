"""Who copies this server, how far behind they are, and which WAL is kept for whom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from arcweb.charts import size
from arcweb.database.activity.words import lasting

#: Seconds and bytes behind from which a replica is named: it would be missed, or lose that much.
LAG_SECONDS = 30
LAG_BYTES = 256 * 1024 * 1024
#: Bytes that a slot nobody reads from may hold. The WAL grows until the disk is full, which stops everything.
HELD = 1024 * 1024 * 1024
#: Share of max_slot_wal_keep_size from which a slot is near to being given up.
SHARE = 0.8

#: A server that is a replica itself tells what it passes on.
REPLICAS = """
    SELECT r.pid, coalesce(r.application_name, '') AS name, host(r.client_addr) AS address,
           r.usename AS "user", coalesce(r.state, '') AS state, coalesce(r.sync_state, '') AS sync,
           pg_wal_lsn_diff(here.place, r.sent_lsn)::bigint AS unsent,
           pg_wal_lsn_diff(here.place, r.flush_lsn)::bigint AS unflushed,
           pg_wal_lsn_diff(here.place, r.replay_lsn)::bigint AS behind,
           extract(epoch FROM r.replay_lag)::float8 AS seconds,
           extract(epoch FROM clock_timestamp() - r.reply_time)::float8 AS silent,
           extract(epoch FROM clock_timestamp() - r.backend_start)::float8 AS connected
    FROM pg_stat_replication AS r,
        (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END
            AS place) AS here
    ORDER BY behind DESC NULLS FIRST, r.pid
"""
#: Columns that came with PostgreSQL 17 are read by name, where they are.
SLOTS = """
    SELECT s.slot_name AS name, s.slot_type AS kind, coalesce(s.database, '') AS database, s.active,
           s.temporary, s.wal_status AS status, s.safe_wal_size AS safe,
           pg_wal_lsn_diff(here.place, s.restart_lsn)::bigint AS held,
           (to_jsonb(s) ->> 'inactive_since')::timestamptz AS inactive_since,
           coalesce(to_jsonb(s) ->> 'invalidation_reason', '') AS reason,
           (SELECT setting::bigint * 1024 * 1024 FROM pg_settings
            WHERE name = 'max_slot_wal_keep_size' AND setting::bigint >= 0) AS most
    FROM pg_replication_slots AS s,
        (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END
            AS place) AS here
    ORDER BY s.active, held DESC NULLS LAST, s.slot_name
"""
RECEIVER = """
    SELECT w.status, w.sender_host AS host, w.sender_port AS port, w.slot_name AS slot,
           extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 AS silent,
           pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::bigint AS waiting,
           pg_get_wal_replay_pause_state() AS paused,
           extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS last_change,
           current_setting('recovery_min_apply_delay') AS delay
    FROM (SELECT) AS one LEFT JOIN pg_stat_wal_receiver AS w ON true
"""
SETTINGS = """
    SELECT name, current_setting(name) FROM unnest(ARRAY[
        'wal_level', 'max_wal_senders', 'max_replication_slots', 'max_slot_wal_keep_size', 'wal_keep_size',
        'synchronous_standby_names', 'synchronous_commit', 'hot_standby_feedback'
    ]) AS name
"""


@dataclass(frozen=True)
class Replica:
    """A row of pg_stat_replication. Bytes and seconds; None where PostgreSQL does not tell them."""

    pid: int
    name: str
    address: str | None
    user: str
    state: str
    sync: str
    unsent: int | None
    unflushed: int | None
    behind: int | None
    seconds: float | None
    silent: float | None
    connected: float | None

    @property
    def hidden(self) -> bool:
        return not self.state

    @property
    def copies(self) -> bool:
        """Whether it follows; a backup that is being taken does not."""
        return self.state != "backup"

    @property
    def late(self) -> bool:
        return self.copies and ((self.seconds or 0) >= LAG_SECONDS or (self.behind or 0) >= LAG_BYTES)

    @property
    def shape(self) -> str:
        if self.hidden:
            return "unknown"
        return "warn" if self.late or self.state == "catchup" else "good" if self.copies else "idle"

    @property
    def behind_words(self) -> str:
        return "unknown" if self.behind is None else size(self.behind)

    @property
    def unflushed_words(self) -> str:
        return "unknown" if self.unflushed is None else size(self.unflushed)

    @property
    def seconds_words(self) -> str:
        if self.seconds is None:
            return "none" if self.behind == 0 else "unknown"
        return lasting(self.seconds)

    @property
    def silent_words(self) -> str:
        return lasting(self.silent)

    @property
    def connected_words(self) -> str:
        return lasting(self.connected)


@dataclass(frozen=True)
class Slot:
    """A row of pg_replication_slots. `held` and `safe` in bytes; `most`: the limit of every slot, if any."""

    name: str
    kind: str
    database: str
    active: bool
    temporary: bool
    status: str | None
    safe: int | None
    held: int | None
    inactive_since: datetime | None
    reason: str
    most: int | None

    @property
    def lost(self) -> bool:
        return self.status == "lost"

    @property
    def share(self) -> float | None:
        """Of max_slot_wal_keep_size; None where that is unlimited."""
        return None if not self.most or self.held is None else self.held / self.most

    @property
    def forgotten(self) -> bool:
        return not self.active and not self.lost and (self.held or 0) >= HELD

    @property
    def near(self) -> bool:
        return not self.lost and (self.status == "unreserved" or (self.share or 0) >= SHARE)

    @property
    def shape(self) -> str:
        if self.lost or self.status == "unreserved":
            return "bad"
        return "warn" if self.forgotten or self.near else "good" if self.active else "idle"

    @property
    def word(self) -> str:
        return "Lost" if self.lost else "In use" if self.active else "Nobody reads it"

    @property
    def held_words(self) -> str:
        return "unknown" if self.held is None else size(max(0, self.held))

    @property
    def safe_words(self) -> str:
        return "no limit" if self.safe is None else size(self.safe) if self.safe > 0 else "nothing"

    @property
    def statement(self) -> str:
        return "SELECT pg_drop_replication_slot('" + self.name.replace("'", "''") + "');"


@dataclass(frozen=True)
class Receiver:
    """What a replica says of itself. status: None while it receives nothing."""

    status: str | None
    host: str | None
    port: int | None
    slot: str | None
    silent: float | None
    waiting: int | None
    paused: str
    last_change: float | None
    delay: str

    @property
    def is_paused(self) -> bool:
        return self.paused != "not paused"

    @property
    def silent_words(self) -> str:
        return lasting(self.silent)

    @property
    def waiting_words(self) -> str:
        return "unknown" if self.waiting is None else size(max(0, self.waiting))

    @property
    def last_change_words(self) -> str:
        return "none since its start" if self.last_change is None else f"{lasting(self.last_change)} ago"


def replicas() -> list[Replica]:
    """Everybody who streams from this server, the furthest behind first. Raises django.db.Error."""
    return [Replica(**row) for row in _rows(REPLICAS)]


def slots() -> list[Slot]:
    """Every slot, those that nobody reads first."""
    return [Slot(**row) for row in _rows(SLOTS)]


def receiver(using: str = DEFAULT_DB_ALIAS) -> Receiver:
    """Of a server that is a replica."""
    return Receiver(**_rows(RECEIVER, using)[0])


def settings() -> dict[str, str]:
    """The settings that matter here, as SHOW shows them."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(SETTINGS)
        return dict(cursor.fetchall())


def _rows(sql: str, using: str = DEFAULT_DB_ALIAS) -> list[dict[str, Any]]:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(sql)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
