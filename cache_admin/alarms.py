"""Alarms of the two Redis roles, from the samples that are taken anyway."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from arcweb.alarms import Alarm, Reading, Unknown, register_alarm
from arcweb.charts import size
from arcweb.samples.series import newest, rate
from cache_admin.cards import NEARLY_FULL, WHO
from cache_admin.connections import ROLES, SERVERS, Role

EVICTED_OVER = timedelta(minutes=5)


def _sample(role: Role) -> dict[str, float]:
    reading = newest([SERVERS[role]]).get(SERVERS[role])
    if reading is None or reading.stale:
        raise Unknown(f"There is no fresh figure of {WHO[role]}.")
    return reading.values


def memory(role: Role) -> Reading:
    """Percent of its memory in use, of a server that may not evict; 0 for one that may, or has no limit."""
    values = _sample(role)
    used, most = values.get("used_bytes", 0), values.get("max_bytes", 0)
    if values.get("evicting"):
        return Reading(0, f"{WHO[role]} evicts keys when its memory is full, as it is set to.")
    if not most:
        return Reading(0, f"{WHO[role]} has no limit of memory (maxmemory 0) and uses {size(used)}.")
    return Reading(
        round(100 * used / most, 1),
        f"{WHO[role]} has {size(used)} of {size(most)} in use and evicts nothing: raise its maxmemory, or "
        "delete keys, before it refuses writes.",
    )


def evictions(role: Role) -> Reading:
    """Keys evicted per second over the last 5 minutes."""
    _sample(role)
    speed = rate(SERVERS[role], "evicted", EVICTED_OVER, buckets=1)[0][1]
    if speed is None:
        raise Unknown("There are not enough figures yet to tell how fast keys are evicted.")
    return Reading(
        round(speed, 2),
        f"{WHO[role]} evicts {speed:,.3g} keys a second: raise its maxmemory, or keep less; the page "
        "Eviction shows whose keys go.",
    )


def unsaved(role: Role) -> Reading:
    """1 after a failed write to the server's disk."""
    bad = bool(_sample(role).get("unsaved"))
    return Reading(
        int(bad),
        f"{WHO[role]} could not write to its disk (is it full?) and may refuse writes."
        if bad
        else f"{WHO[role]} could write to its disk the last time.",
    )


def may_evict() -> Reading:
    """1 while the state role may evict what must not be lost."""
    bad = bool(_sample("state").get("evicting"))
    return Reading(
        int(bad),
        f"{WHO['state']} may evict queued tasks and locks: set its maxmemory-policy to noeviction, and give "
        "it a server of its own in REDIS_STATE_URL."
        if bad
        else f"{WHO['state']} evicts nothing.",
    )


SEE = "cache_admin.view_server"
for _role in ROLES:
    _server = SERVERS[_role]
    register_alarm(
        Alarm(
            f"{_server}.memory",
            f"{WHO[_role]} nearly full",
            "Redis",
            partial(memory, _role),
            "%",
            100 * NEARLY_FULL,
            "With noeviction a server refuses writes at 100 %; 90 % leaves time to act, as on its page.",
            severity="bad",
            permission=SEE,
            url_name="admin:redis_overview",
            needs=("postgres", _server),
        )
    )
    register_alarm(
        Alarm(
            f"{_server}.unsaved",
            f"{WHO[_role]} cannot write to its disk",
            "Redis",
            partial(unsaved, _role),
            "",
            1,
            "After a failed save Redis refuses writes (stop-writes-on-bgsave-error), so that one is enough.",
            severity="bad",
            permission=SEE,
            url_name="admin:redis_overview",
            needs=("postgres", _server),
        )
    )
register_alarm(
    Alarm(
        "redis-cache.evictions",
        "The cache evicts fast",
        "Redis",
        partial(evictions, "cache"),
        "keys/s",
        100,
        "A cache may evict; 100 keys a second for 5 minutes are 30,000 keys: a small cache turned over.",
        lasting=300,
        permission=SEE,
        url_name="admin:redis_eviction",
        needs=("postgres", "redis-cache"),
    )
)
register_alarm(
    Alarm(
        "redis-state.evicting",
        "Queued tasks may be evicted",
        "Redis",
        may_evict,
        "",
        1,
        "The state role keeps the queue and locks, which an evicting policy would drop.",
        permission=SEE,
        url_name="admin:redis_eviction",
        needs=("postgres", "redis-state"),
    )
)
