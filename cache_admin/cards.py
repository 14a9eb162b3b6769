"""What the overview shows of the two Redis roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from redis.exceptions import RedisError

from arcweb.charts import quantity, size, summary
from arcweb.panels import Card, Chart, Concern, Panel, Row, State, register_panel
from arcweb.samples.series import Reading, growth, last_before, rate, rates, share
from arcweb.watches import Outlook, Watch, register_watch
from cache_admin import connections
from cache_admin.connections import SERVERS, Role
from cache_admin.samplers import figures
from cache_admin.server import eviction

HOUR = timedelta(hours=1)
IN_THE_LAST_HOUR = "in the last hour"
#: Share of its memory above which a server that may not evict is nearly full.
NEARLY_FULL = 0.9
WHO: dict[Role, str] = {"cache": "Redis (cache role)", "state": "Redis (state role)"}


def concerns_of(role: Role, values: Mapping[str, float]) -> tuple[Concern, ...]:
    """What is to be done about that server, by the figures of `cache_admin.samplers`."""
    who, used, most = WHO[role], values.get("used_bytes", 0), values.get("max_bytes", 0)
    found = []
    if values.get("unsaved"):
        found.append(
            Concern("bad", f"{who} could not write to its disk (is it full?) and may refuse writes.")
        )
    if most and used >= NEARLY_FULL * most and not values.get("evicting"):
        state: State = "bad" if used >= most else "warn"
        found.append(
            Concern(
                state,
                f"{who} has {size(used)} of {size(most)} in use and evicts nothing: raise its maxmemory, or "
                "delete keys, before it refuses writes.",
            )
        )
    if role == "state" and values.get("evicting"):
        found.append(
            Concern(
                "warn",
                f"{who} may evict queued tasks and locks: set its maxmemory-policy to noeviction, and give "
                "it a server of its own in REDIS_STATE_URL.",
            )
        )
    if threatened := eviction.concern(role, values):
        found.append(threatened)
    return tuple(found)


def look(role: Role, values: Mapping[str, float] | None) -> Outlook:
    """For the verdict, from the newest sample."""
    return Outlook() if values is None else Outlook(concerns_of(role, values))


def cache_card(request: HttpRequest) -> Card:
    info = _info("cache")
    if isinstance(info, Card):
        return info
    now = figures(info)
    hits = rates("redis-cache", ["hits", "misses"], HOUR)
    course = share(hits["hits"], hits["misses"])
    grown = _grown("redis-cache", now)
    hit, missed, evicted = grown("hits"), grown("misses"), grown("evicted")
    if hit is None or missed is None:
        big, unit = "unknown", "hit rate"
    elif not hit + missed:
        big, unit = "no reads", "in the last minute"
    else:
        big, unit = quantity(100 * hit / (hit + missed), "%"), "hit rate, last minute"
    return _card(
        "cache",
        now,
        big,
        unit,
        (
            Row("Memory", _memory(now)),
            Row("Policy", str(info.get("maxmemory_policy", "unknown")), mono=True),
            Row("Evicted in the last minute", "unknown" if evicted is None else f"{evicted:,.0f}"),
            Row("Keys", f"{now['keys']:,.0f}"),
        ),
        Chart("Hit rate", course, "%", summary(course, "%", IN_THE_LAST_HOUR)),
    )


def state_card(request: HttpRequest) -> Card:
    info = _info("state")
    if isinstance(info, Card):
        return info
    now = figures(info)
    course = rate("redis-state", "commands", HOUR)
    return _card(
        "state",
        now,
        quantity(float(info.get("instantaneous_ops_per_sec", 0))),
        "ops/s",
        (
            Row("Memory", _memory(now)),
            Row("Policy", str(info.get("maxmemory_policy", "unknown")), mono=True),
            Row("Clients", f"{now.get('clients', 0):,.0f}"),
            Row("Keys", f"{now['keys']:,.0f}"),
        ),
        Chart("Commands", course, "a second", summary(course, "a second", IN_THE_LAST_HOUR)),
    )


def _card(
    role: Role, now: Mapping[str, float], big: str, unit: str, rows: tuple[Row, ...], chart: Chart
) -> Card:
    concerns = concerns_of(role, now)
    state: State = concerns[0].state if concerns else "good"
    return Card(state, "Needs attention" if concerns else "Well", big, unit, rows, chart, concerns)


def _info(role: Role) -> dict[str, Any] | Card:
    """INFO, or the card that says why it could not be had."""
    try:
        with connections.client(role) as client:
            return dict(client.info())
    except RedisError as error:
        words = connections.explain(role, error)
        return Card("bad", "No answer", template="admin/panels/unknown.html", context={"sentence": words})


def _grown(source: str, now: Mapping[str, float]) -> Callable[[str], float | None]:
    """How much each counter grew in the last minute; None where no sample of then tells."""
    before: Reading | None = last_before(
        source, timezone.now() - timedelta(minutes=1), within=timedelta(minutes=2)
    )

    def grown(key: str) -> float | None:
        if before is None or key not in before.values or key not in now:
            return None
        return growth(before.values[key], now[key])

    return grown


def _memory(values: Mapping[str, float]) -> str:
    used, most = values.get("used_bytes"), values.get("max_bytes")
    if used is None:
        return "unknown"
    return f"{size(used)} of {size(most)}" if most else f"{size(used)}, no limit"


_CARDS: dict[Role, tuple[Callable[[HttpRequest], Card], int]] = {
    "cache": (cache_card, 40),
    "state": (state_card, 50),
}
for _role, (_content, _order) in _CARDS.items():
    _server = SERVERS[_role]
    register_watch(Watch(_server, "samples.view_sample", _server, partial(look, _role), order=_order))
    register_panel(
        Panel(
            _server,
            f"Redis {_role}",
            "overview",
            "samples.view_sample",
            _content,
            order=_order,
            needs=("postgres", _server),
        )
    )
