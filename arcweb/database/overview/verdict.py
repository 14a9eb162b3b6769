"""The verdict of the PostgreSQL rooms: every area is asked, each within its own time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from django.db import OperationalError
from django.urls import NoReverseMatch, reverse

from arcweb.database.findings import Finding, Look, looks, worst_first
from arcweb.database.parts import part
from arcweb.panels import State

logger = logging.getLogger(__name__)
#: Seconds that all looks have together: a look that finds nothing left counts as unknown.
SECONDS = 2.0
HERE = "admin:database_overview"
#: Less is no time to ask in.
LEAST = 0.05
TO_DO: tuple[State, ...] = ("bad", "warn")


@dataclass(frozen=True)
class Verdict:
    """The worst finding first. `asked`: titles of the looks, in their order."""

    findings: list[Finding]
    asked: list[str]

    @property
    def state(self) -> State:
        return self.findings[0].state if self.findings else "good" if self.asked else "unknown"

    @property
    def word(self) -> str:
        todo = sum(finding.state in TO_DO for finding in self.findings)
        if todo:
            return "One thing to do" if todo == 1 else f"{todo} things to do"
        return {"good": "Well"}.get(self.state, "Not all is known")

    @property
    def sentence(self) -> str:
        """The worst finding, or that there is none."""
        if self.findings:
            return self.findings[0].sentence
        if not self.asked:
            return "You may see none of what the verdict is made of."
        areas = f"{len(self.asked)} areas were looked at" if len(self.asked) > 1 else "One area was looked at"
        return f"Nothing needs attention: {areas} just now."


def verdict(may: Callable[[str], bool], *, seconds: float = SECONDS) -> Verdict:
    """Ask every look whose permission `may` grants. Raises OperationalError when the server is away."""
    deadline = time.monotonic() + seconds
    asked = [look for look in looks() if may(look.permission)]
    found = [finding for look in asked for finding in _ask(look, deadline - time.monotonic())]
    return Verdict(worst_first(found), [look.title for look in asked])


def _ask(look: Look, left: float) -> list[Finding]:
    url = _url(look)
    action = "Show" if url else ""
    if left < LEAST:
        return [
            Finding("unknown", f"{look.title} were not looked at: the others took the time.", url, action)
        ]
    try:
        answer = part(look.find, what=look.title, seconds=min(look.seconds, left))
    except OperationalError:
        raise
    except Exception:  # a mistake in one area hides no other
        logger.exception("The look %s failed", look.name)
        words = f"{look.title} could not be looked at; the web process's log says why."
        return [Finding("unknown", words, url, action)]
    if answer.trouble:
        return [Finding("unknown", answer.trouble, url, action)]
    return [
        finding if finding.url else replace(finding, url=url, action=action) for finding in answer.value or ()
    ]


def _url(look: Look) -> str:
    """The page that shows the evidence; "" for the one that shows the verdict."""
    if look.url_name == HERE:
        return ""
    try:
        return reverse(look.url_name)
    except NoReverseMatch:
        logger.warning("The look %s leads to no page: %s", look.name, look.url_name)
        return ""
