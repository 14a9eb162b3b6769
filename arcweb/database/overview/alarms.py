"""What of the server is worth waking somebody for. The thresholds are those of `judging`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arcweb.alarms import Alarm, Reading, register_alarm
from arcweb.charts import quantity
from arcweb.database.overview import judging, looks, sequences, vitals
from arcweb.servers import duration

PERMISSION, PAGE = "database.view_server", "admin:database_overview"
MB = 1024**2


def connections() -> Reading | None:
    now = vitals.ask("activity")
    most = judging.usable(now)
    if most <= 0:
        return None
    share = 100 * now["connections"] / most
    return Reading(
        share,
        f"PostgreSQL has {now['connections']} of {most:.0f} connections in use ({share:.0f} %): close idle "
        "ones, put a pooler before it, or raise max_connections.",
    )


def hit_ratio() -> Reading | None:
    past = looks.an_hour_ago()
    if past is None:
        return None
    now = vitals.ask("cache")
    grown = {
        name: past.grown(now, name) or 0 for name in ("heap_hit", "heap_read", "index_hit", "index_read")
    }
    if sum(grown.values()) < judging.ENOUGH_READS:
        return None  # too few reads to say anything
    hit = grown["heap_hit"] + grown["index_hit"]
    share = 100 * hit / sum(grown.values())
    return Reading(
        share,
        f"{quantity(share, '%')} of the blocks that queries read {past.words} were in PostgreSQL's memory: "
        "give it more shared_buffers, or find the query that reads whole tables.",
    )


def _age(kind: str, word: str) -> Reading | None:
    now = vitals.ask("ages")
    age, limit = now[f"{kind}_age"], now[f"{kind}_limit"]
    share = 100 * age / limit
    return Reading(
        share,
        f"The oldest {word} that is not frozen is {age:,} old, {share:.0f} % of the age at which vacuum "
        "must freeze it: see what holds vacuum back.",
    )


def wraparound() -> Reading | None:
    return _age("xid", "transaction")


def multixact() -> Reading | None:
    return _age("multixact", "multixact")


def fullest_sequence() -> Reading | None:
    found = sequences.fullest()
    if not found:
        return Reading(0.0, "No sequence was used yet.")
    first = found[0]
    return Reading(
        first.percent,
        f"The numbers of {first.place} are used up by {first.percent:.1f} %, {first.left:,} are left: "
        "widen the column and its sequence to bigint before INSERT fails.",
    )


def oldest_transaction() -> Reading | None:
    now = vitals.ask("activity")
    seconds = now["oldest_transaction"]
    if seconds is None:
        return None
    if not now["oldest_pid"]:
        return Reading(0.0, "No transaction is open.")
    who = f"process {now['oldest_pid']}, {now['oldest_state']}"
    return Reading(
        float(seconds),
        f"The oldest transaction ({who}) has been open for {duration(float(seconds))}: VACUUM removes "
        "nothing that was deleted since.",
    )


def archiving() -> Reading | None:
    now = vitals.ask("archive")
    if now["archive_mode"] == "off":
        return Reading(0.0, "WAL is not archived: archive_mode is off.")
    seconds = float(now["archive_failing"])
    told = f"has failed for {duration(seconds)}, and pg_wal grows" if seconds else "works"
    return Reading(seconds, f"Archiving of WAL {told}. The server's log has what archive_command says.")


def _in_the_hour(
    piece: str, name: str, say: Callable[[float, str], str], unit: float = 1.0
) -> Callable[[], Reading | None]:
    def look() -> Reading | None:
        past = looks.an_hour_ago()
        now: dict[str, Any] = vitals.ask(piece) if past else {}
        grown = past.grown(now, name) if past else None
        return None if past is None or grown is None else Reading(grown / unit, say(grown / unit, past.words))

    return look


requested_checkpoints = _in_the_hour(
    "checkpoints",
    "checkpoints_requested",
    lambda count, when: (
        f"{count:.0f} checkpoints were asked for {when}, before their time: raise max_wal_size."
    ),
)
temp_files = _in_the_hour(
    "database",
    "temp_bytes",
    lambda written, when: (
        f"Queries wrote {written:,.0f} MB of temporary files {when}: give that query or its role "
        "more work_mem."
    ),
    MB,
)


def autovacuum() -> Reading | None:
    on = bool(vitals.ask("autovacuum")["autovacuum"])
    return Reading(
        float(on), "Autovacuum runs." if on else "Autovacuum is off: dead rows stay and tables grow."
    )


def _alarm(
    name: str,
    title: str,
    look: Callable[[], Reading | None],
    unit: str,
    threshold: float,
    why: str,
    **more: Any,
) -> Alarm:
    """One of this room, whose evidence stands on the overview."""
    return Alarm(
        f"postgres.{name}",
        title,
        "PostgreSQL",
        look,
        unit,
        threshold,
        why,
        permission=PERMISSION,
        url_name=PAGE,
        **more,
    )


ALARMS = (
    _alarm(
        "connections",
        "Connections near their maximum",
        connections,
        "%",
        100 * judging.MANY_CONNECTIONS,
        judging.CONNECTIONS_WHY,
    ),
    _alarm(
        "connections_full",
        "Connections used up",
        connections,
        "%",
        100 * judging.ALL_CONNECTIONS,
        judging.CONNECTIONS_WHY,
        lasting=30,
        severity="bad",
    ),
    _alarm(
        "hit_ratio",
        "Cache hit ratio low",
        hit_ratio,
        "%",
        judging.LOW_HIT_RATIO,
        judging.HIT_RATIO_WHY,
        fires="at or below",
        lasting=600,
    ),
    *(
        _alarm(
            name,
            f"{things} not frozen",
            look,
            "%",
            100 * judging.LATE_FREEZE,
            judging.WRAPAROUND_WHY.format(setting=setting),
            lasting=600,
            severity="bad",
        )
        for name, things, look, setting in (
            ("wraparound", "Transactions", wraparound, "autovacuum_freeze_max_age"),
            ("multixact", "Multixacts", multixact, "autovacuum_multixact_freeze_max_age"),
        )
    ),
    _alarm(
        "sequences",
        "Sequence nearly full",
        fullest_sequence,
        "%",
        sequences.NEARLY_FULL,
        sequences.WHY,
    ),
    _alarm(
        "oldest_transaction",
        "Transaction open for long",
        oldest_transaction,
        "s",
        judging.OLD_TRANSACTION,
        judging.TRANSACTION_WHY,
    ),
    _alarm(
        "archiving",
        "Archiving of WAL fails",
        archiving,
        "s",
        300.0,
        "Threshold: 5 minutes without a success after a failure; PostgreSQL tries again every minute. "
        + judging.ARCHIVE_WHY,
        severity="bad",
    ),
    _alarm(
        "checkpoints",
        "Checkpoints requested too often",
        requested_checkpoints,
        "an hour",
        2.0 * judging.MANY_REQUESTED,
        f"Threshold: {2 * judging.MANY_REQUESTED} in an hour, as many as the clock asks for at "
        "checkpoint_timeout = 5min.",
        lasting=300,
    ),
    _alarm(
        "temp_files",
        "Much is written to temporary files",
        temp_files,
        "MB",
        judging.MUCH_TEMP / MB,
        judging.TEMP_WHY,
    ),
    _alarm(
        "autovacuum",
        "Autovacuum off",
        autovacuum,
        "on or off",
        0.0,
        judging.AUTOVACUUM_WHY,
        fires="at or below",
        severity="bad",
    ),
)
for _each in ALARMS:
    register_alarm(_each)
