"""The sentence on top of the alert pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arcweb.events.alerts.board import Line, firing_first
from arcweb.panels import State


@dataclass(frozen=True)
class Verdict:
    state: State
    word: str
    sentence: str


def verdict(lines: Sequence[Line]) -> Verdict:
    """On all rules together: what fires, else what is not known, else that all is well."""
    firing = [line for line in firing_first(lines) if not line.silence]
    unknown = [line for line in lines if line.state == "unknown"]
    quiet = sum(line.silence is not None for line in lines)
    off = sum(line.rule.off for line in lines)
    if firing:
        first = firing[0]
        more = f" {len(firing) - 1} more below." if len(firing) > 1 else ""
        return Verdict(
            first.severity,
            f"{len(firing)} firing",
            f"{first.alarm.title}, for {first.lasts}: {first.sentence or first.trouble}{more}",
        )
    told = f"No alert fires: {len(lines) - len(unknown) - off} of {len(lines)} rules were looked at and hold."
    rest = [f"{quiet} silenced" if quiet else "", f"{off} switched off" if off else ""]
    apart = ", ".join(words for words in rest if words)
    if unknown:
        which = unknown[0]
        several = f"{len(unknown)} are unknown, such as" if len(unknown) > 1 else "Unknown is"
        return Verdict(
            "unknown", "Not all is known", f"{told} {several} “{which.alarm.title}”: {which.trouble}"
        )
    if not lines:
        return Verdict("idle", "No rules", "No rule is one that you may see.")
    return Verdict("good", "All well", f"{told}{f' ({apart}.)' if apart else ''}")


def verdict_of(line: Line) -> Verdict:
    """On one rule."""
    alarm = line.alarm
    if line.rule.off:
        return Verdict("idle", line.word, "Nobody looks at it while it is switched off.")
    if line.alert is not None:
        quiet = f" Silenced until {line.silence.until:%Y-%m-%d %H:%M} UTC." if line.silence else ""
        told = line.sentence or f"{line.trouble} It goes on firing until it is known to be over."
        return Verdict(line.state, line.word, f"For {line.lasts}: {told}{quiet}")
    if not line.known:
        return Verdict("unknown", line.word, line.trouble)
    if line.pending:
        return Verdict(
            line.state,
            line.word,
            f"{line.sentence} It has been {alarm.fires} {line.limit} for {line.pending}; after "
            f"{line.held} it fires.",
        )
    # What to do about it stands behind the colon, and nothing is to be done.
    fact = line.sentence.partition(": ")[0].rstrip(".")
    return Verdict(line.state, line.word, f"{fact}." if line.state == "good" else line.sentence)
