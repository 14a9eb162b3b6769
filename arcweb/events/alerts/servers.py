"""Alarms for servers and processes that are away. The web process looks: its prober knows, and it goes on
when a worker, beat or Redis does not."""

from __future__ import annotations

from functools import partial

from arcweb.alarms import Alarm, Reading, Unknown, register_alarm
from arcweb.panels import Server
from arcweb.servers import NAMES, TITLES, state_of

WHY = "Half a minute is longer than a restart of any of them takes; it must hold for as long again."
TITLE = "{} is away"


def look(name: Server) -> Reading:
    """Seconds that it has been away; 0 while it answers."""
    state = state_of(name)
    if state.up is None:
        raise Unknown(state.sentence or f"{state.title} was not asked yet.")
    if state.up:
        return Reading(0, f"{state.title} answers.")
    return Reading(round(state.seconds), f"{state.title} is away: {state.sentence} {state.effect}")


def alarm_name(name: Server) -> str:
    return f"servers.{name}"


for _name in NAMES:
    register_alarm(
        Alarm(
            alarm_name(_name),
            TITLE.format(TITLES[_name]),
            "Safety",
            partial(look, _name),
            "s",
            30,
            WHY,
            lasting=30,
            severity="bad",
            needs=(),
            where="web",
        )
    )
