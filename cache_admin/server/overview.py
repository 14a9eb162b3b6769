"""What the overview of one role shows, gathered: figures, courses, databases, and the sentence on top."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from arcweb.charts import Drawing, draw, scaled, summary
from arcweb.panels import Chart, Concern
from arcweb.samples.series import Course, growth, last_before, levels, rates, share
from cache_admin import connections
from cache_admin.cards import WHO, concerns_of
from cache_admin.connections import SERVERS, Role
from cache_admin.samplers import FIGURES, SURVEY_SECONDS, SURVEYED, figures
from cache_admin.server import figures as told
from cache_admin.server import keyspace
from cache_admin.server.capabilities import Capabilities, capabilities
from cache_admin.server.figures import Database, Section, hit_rate
from cache_admin.server.purposes import survey

#: name in the address → (on the button, in a sentence, how long, buckets)
PERIODS: Mapping[str, tuple[str, str, timedelta, int]] = {
    "hour": ("Hour", "in the last hour", timedelta(hours=1), 60),
    "day": ("Day", "in the last day", timedelta(days=1), 96),
    "fortnight": ("14 days", "in the last 14 days", timedelta(days=14), 112),
}
LEVELS = ("clients", "blocked", "fragmentation", "latency_ms", "used_bytes")
COUNTERS = ("hits", "misses", "commands", "received_bytes", "sent_bytes", "evicted", "expired")


@dataclass(frozen=True)
class Overview:
    capabilities: Capabilities
    concerns: tuple[Concern, ...]
    sentence: str
    sections: list[Section]
    databases: list[Database]
    database: str  #: the role's own: "db0"
    info: Mapping[str, Any]


def look(role: Role) -> Overview:
    """Ask the server and the samples. Raises redis.exceptions.RedisError."""
    known = capabilities(role)
    with connections.client(role) as client:
        connections.ping(client)  # connects
        began = time.perf_counter()
        connections.ping(client)
        latency = time.perf_counter() - began
        info: dict[str, Any] = {} if known.why_not("INFO") else dict(client.info())
        ours = keyspace.number(client)
        now = figures(info) if info else {}
        if now and not known.why_not("SCAN"):
            now["unsafe"] = survey(client, most=SURVEYED, seconds=SURVEY_SECONDS).precious
    concerns = (*concerns_of(role, now), *_of_the_server(role, info))
    return Overview(
        known,
        concerns,
        _sentence(role, known, info, concerns),
        told.sections(info, named=known.named, recent=_recent(role, now), latency=latency),
        told.databases(info, ours) if info else [],
        f"db{ours}",
        info,
    )


def drawings(role: Role, period: str) -> list[tuple[Drawing, str]]:
    """The charts over one of PERIODS, each with its source in words, in two queries."""
    _, words, since, buckets = PERIODS[period]
    source = SERVERS[role]
    level = levels(source, LEVELS, since, buckets)
    speed = rates(source, COUNTERS, since, buckets)
    charts = (
        ("Hit rate", share(speed["hits"], speed["misses"]), "%", _fields("hits", "misses")),
        ("Operations", speed["commands"], "a second", _fields("commands")),
        ("Memory", *_in_bytes(level["used_bytes"], ""), _fields("used_bytes")),
        ("Network in", *_in_bytes(speed["received_bytes"], "/s"), _fields("received_bytes")),
        ("Network out", *_in_bytes(speed["sent_bytes"], "/s"), _fields("sent_bytes")),
        ("Answer to a PING", level["latency_ms"], "ms", "PING, timed where the samples are taken"),
        ("Evicted", speed["evicted"], "a second", _fields("evicted")),
        ("Expired", speed["expired"], "a second", _fields("expired")),
        ("Clients", level["clients"], "clients", _fields("clients")),
        ("Blocked clients", level["blocked"], "clients", _fields("blocked")),
        ("Fragmentation", level["fragmentation"], "", _fields("fragmentation")),
    )
    return [
        (draw(Chart(title, course, unit, summary(course, unit, words))), fields)
        for title, course, unit, fields in charts
    ]


def _fields(*names: str) -> str:
    """Where figures of the samples come from: "INFO keyspace_hits, keyspace_misses"."""
    return f"INFO {', '.join(FIGURES[name] for name in names)}"


def _in_bytes(course: Course, per: str) -> tuple[Course, str]:
    """A course of bytes in the unit that suits its largest value."""
    most = max((value for _, value in course if value is not None), default=0)
    number, unit = scaled(most)
    factor = number / most if most else 1
    return tuple((moment, None if value is None else value * factor) for moment, value in course), unit + per


def _recent(role: Role, now: Mapping[str, float]) -> dict[str, str]:
    """The hit rate of the last minute and hour, by the samples; "unknown" where none is that old."""
    found = {}
    moment = timezone.now()
    for words, minutes, within in (("last minute", 1, 2), ("last hour", 60, 10)):
        before = last_before(
            SERVERS[role], moment - timedelta(minutes=minutes), within=timedelta(minutes=within)
        )
        found[words] = (
            told.UNKNOWN
            if before is None or not now
            else hit_rate(
                growth(before.get("hits"), now.get("hits", 0)),
                growth(before.get("misses"), now.get("misses", 0)),
            )
        )
    return found


def _of_the_server(role: Role, info: Mapping[str, Any]) -> list[Concern]:
    """What no sample tells."""
    who, found = WHO[role], []
    if info.get("master_link_status") == "down":
        found.append(
            Concern("bad", f"{who} is a replica that has lost its primary: what it shows grows old.")
        )
    if role == "state" and info and not info.get("aof_enabled"):
        found.append(
            Concern(
                "warn", f"{who} keeps no append-only file: a crash forgets tasks since its last snapshot."
            )
        )
    return found


def _sentence(role: Role, known: Capabilities, info: Mapping[str, Any], concerns: tuple[Concern, ...]) -> str:
    if concerns:
        return concerns[0].sentence
    if not info:
        return f"{WHO[role]} answers, and keeps its figures to itself: {known.why_not('INFO')}"
    seconds = told.lasting(info.get("uptime_in_seconds", 0))
    return f"{WHO[role]}, {known.named}, has run for {seconds}, and nothing needs attention."
