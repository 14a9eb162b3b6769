"""A restore as its page shows it: from the journal alone, which can be read while no database is there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from arcweb.backups.restore.journal import (
    BROKEN,
    DONE,
    DROPPED,
    FAILED,
    FINISHED,
    RUNS,
    SKIPPED,
    WAITING,
    WAITS,
    Journal,
    Step,
)
from arcweb.jobs.progress import duration

SALT = "arcweb.backups.restore"
#: How long an open page may go on asking without the database.
VALID = timedelta(hours=12)
SHAPES = {WAITS: "idle", RUNS: "good", DONE: "good", FAILED: "bad", SKIPPED: "idle"}
WORDS = {WAITS: "Waits", RUNS: "Under way", DONE: "Done", FAILED: "Failed", SKIPPED: "Left out"}
STATES: dict[str, tuple[str, str]] = {
    "asked": ("idle", "Asked for"),
    "preparing": ("good", "Being prepared"),
    WAITING: ("warn", "Waits for your confirmation"),
    "confirmed": ("good", "Confirmed"),
    "exchanging": ("good", "Being put in place"),
    FINISHED: ("good", "Done"),
    BROKEN: ("bad", "Failed"),
    DROPPED: ("idle", "Discarded"),
}


@dataclass(frozen=True)
class Line:
    """One step of the page."""

    step: Step
    shape: str
    word: str
    lasted: str


def token(id_: str) -> str:
    """Lets whoever has this page go on reading it while nobody can be asked who they are."""
    return signing.dumps(id_, salt=SALT)


def is_signed(id_: str, said: str) -> bool:
    try:
        return bool(signing.loads(said, salt=SALT, max_age=VALID) == id_)
    except signing.BadSignature:
        return False


def lines(journal: Journal) -> list[Line]:
    return [Line(step, SHAPES[step.state], WORDS[step.state], _lasted(step)) for step in journal.steps]


def state_of(journal: Journal) -> tuple[str, str]:
    """Shape and word."""
    if journal.undone_at:
        return "idle", "Undone"
    if journal.is_active and journal.facts.get("unsettled"):
        return "bad", "Left half done"
    return STATES.get(journal.state, ("idle", journal.state))


def moment(text: str) -> datetime | None:
    """A journal's time; None for none."""
    return datetime.fromisoformat(text) if text else None


def remaining(journal: Journal) -> str:
    """How long the database of before is still kept: "23 h 10 min"; "" when it is not."""
    until = moment(journal.keep_until)
    seconds = (until - timezone.now()).total_seconds() if until else 0
    return duration(seconds) if seconds > 0 else ""


def context(journal: Journal) -> dict[str, Any]:
    """What the live part of the page needs."""
    shape, word = state_of(journal)
    address = reverse("admin:backups_restore_progress", args=[journal.id])
    return {
        "journal": journal,
        "lines": lines(journal),
        "shape": shape,
        "word": word,
        "polls": journal.state in ("asked", "preparing", "confirmed", "exchanging"),
        "remaining": remaining(journal),
        "taken": moment(journal.taken_at),
        "finished": moment(journal.finished_at),
        "progress_url": f"{address}?token={token(journal.id)}",
    }


def progress(request: HttpRequest, journal: Journal) -> HttpResponse:
    """The live part. Without the database nobody's permissions are known: no button stands in it."""
    return HttpResponse(render_to_string("admin/backups/restore/_progress.html", context(journal)))


def _lasted(step: Step) -> str:
    began = moment(step.started_at)
    if began is None:
        return ""
    return duration(((moment(step.finished_at) or timezone.now()) - began).total_seconds())
