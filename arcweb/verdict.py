"""The overview's sentence on the state of the whole: the first thing to do, and what is well."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.http import HttpRequest
from django.utils import timezone

from arcweb.panels import SEVERITY, Card, Concern, Panel, State
from arcweb.samples.series import Reading, newest
from arcweb.servers import away, duration
from arcweb.watches import Outlook, watches

#: What is well is said of so many things at most: it is one sentence.
MOST_WELL = 3
TO_DO: tuple[State, ...] = ("bad", "warn")


def verdict(request: HttpRequest) -> Card:
    """What the watches that this user may know of say, worst first: one query, for the newest samples."""
    of = request.GET.get("of")  # one watch alone, for the page of what it watches
    asked = [
        watch
        for watch in watches()
        if of in (None, watch.name) and (not watch.permission or request.user.has_perm(watch.permission))
    ]
    sources = sorted({watch.source for watch in asked if watch.source})
    readings = newest(sources)
    fresh = {source: reading for source, reading in readings.items() if not reading.stale}
    outlooks = [watch.look(fresh[watch.source].values if watch.source in fresh else None) for watch in asked]
    outlooks.append(_freshness(sources, readings))
    age = max((reading.age for reading in fresh.values()), default=0.0)
    return judge(outlooks, age)


def judge(outlooks: Iterable[Outlook], age: float = 0.0) -> Card:
    """One card from all outlooks. age: seconds since the oldest of their figures was read."""
    outlooks = list(outlooks)
    concerns = sorted(
        (concern for outlook in outlooks for concern in outlook.concerns),
        key=lambda concern: SEVERITY.index(concern.state),
    )
    state: State = concerns[0].state if concerns else "good"
    todo = sum(concern.state in TO_DO for concern in concerns)
    return Card(
        state,
        _word(state, todo),
        concerns=tuple(concerns),
        measured_at=timezone.now() - timedelta(seconds=age),
        context={
            "sentence": _rest(concerns, todo, [outlook.well for outlook in outlooks if outlook.well]),
            "age": age,
            "checked": "just now" if age < 1.5 else f"{duration(age)} ago",
        },
    )


def _word(state: State, todo: int) -> str:
    if todo:
        return "One thing to do" if todo == 1 else f"{todo} things to do"
    return {"unknown": "Not all is known", "idle": "Ready"}.get(state, "All well")


def _rest(concerns: list[Concern], todo: int, well: list[str]) -> str:
    more = max(0, todo - 1)
    parts = []
    if more:
        parts.append(
            "One more thing is named below." if more == 1 else f"{more} more things are named below."
        )
    if well:
        *others, last = well[:MOST_WELL]
        listed = f"{', '.join(others)} and {last}" if others else last
        parts.append(f"{'Otherwise ' if concerns else ''}{listed}.")
    elif not concerns:
        parts.append("Nothing here asks for attention.")
    rest = " ".join(parts)
    return rest[:1].upper() + rest[1:]


def _freshness(sources: list[str], readings: dict[str, Reading]) -> Outlook:
    """Whether the figures themselves are taken; silent while a server that is away explains why not."""
    if away(("beat", "worker", "redis-state")):
        return Outlook()
    if missing := [source for source in sources if source not in readings]:
        told = (
            "No figures were taken yet" if len(missing) == len(sources) else f"No figures of {missing[0]} yet"
        )
        return Outlook((Concern("unknown", f"{told}; they come every half minute."),))
    if stale := [source for source in sources if readings[source].stale]:
        oldest = max(stale, key=lambda source: readings[source].age)
        since = duration(readings[oldest].age)
        return Outlook(
            (
                Concern(
                    "unknown",
                    f"The figures of {oldest} are {since} old: the worker's log says why none are taken.",
                ),
            )
        )
    return Outlook()


#: Not registered with the other panels: it stands on top, in a form of its own.
VERDICT = Panel("verdict", "How things are", "overview", "", verdict)
