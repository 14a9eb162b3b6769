"""The page Activity: sessions, one session, and the ways to end what it does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from arcweb.database.activity import ending, locks, sessions
from arcweb.database.activity.ending import Outcome
from arcweb.database.activity.looks import activity_findings
from arcweb.database.activity.sessions import CLIPPED, KINDS, STATES, Session, Wanted
from arcweb.database.parts import part
from arcweb.database.rooms import context, database_page
from arcweb.database.standing import standing

TITLE = "Activity"
MOST_SHOWN = 300
LONGEST_WORDS = 100
#: Seconds between two looks of an open page.
EVERY = 5
#: Characters of a statement on the page of its session: more than track_activity_query_size usually keeps.
WHOLE = 100_000
DAY = 86_400


@require_safe
@database_page(TITLE)
def activity(request: HttpRequest) -> HttpResponse:
    """Everybody who is connected, reduced by the form; for htmx the table alone."""
    wanted = _wanted(request)
    most = CLIPPED if request.user.has_perm("database.view_statements") else 0
    everybody = part(lambda: sessions.listed(most), what="The sessions")
    shown: dict[str, Any] = {
        "wanted": wanted,
        "kinds": {name: title for name, (title, _) in KINDS.items()},
        "states": {name: title for name, (title, _) in STATES.items()},
        "trouble": everybody.trouble,
        "taken": datetime.now(UTC),
        "every": EVERY,
        "why_no_signal": standing().why_not("signal"),
    }
    if everybody.value is not None:
        clients = [one for one in everybody.value if KINDS[""][1](one)]
        found = sessions.chosen(everybody.value, wanted)
        findings = activity_findings(everybody.value)
        shown |= {
            "sessions": found[:MOST_SHOWN],
            "found": len(found),
            "databases": sorted({one.database for one in everybody.value if one.database}),
            "users": sorted({one.user for one in everybody.value if one.user}),
            "total": len(clients),
            "active": sum(one.active and not one.own for one in clients),
            "blocked": sum(one.blocked for one in clients),
            "idle_in_transaction": sum(one.idle_in_transaction for one in clients),
            "findings": findings,
            "worst": findings[0] if findings else None,
        }
    if request.headers.get("HX-Target") == "live":
        return render(request, "admin/database/activity/_sessions.html", {**shown, "fragment": True})
    return render(request, "admin/database/activity/activity.html", {**context(request, TITLE), **shown})


@require_safe
@database_page("Session")
def session_page(request: HttpRequest, pid: int, started: int) -> HttpResponse:
    """One session: its whole statement for those who may see it, whom it waits for, and its end."""
    most = WHOLE if request.user.has_perm("database.view_statements") else 0
    session = sessions.find(pid, started, most)
    if session is None:
        return _gone(request, pid)
    waits = part(lambda: locks.blocking(), what="The locks that it waits for")
    mine = [tree for tree in waits.value or [] if any(one.place.key == pid for one in tree.members)]
    shown = {
        "session": session,
        "trees": mine,
        "trees_trouble": waits.trouble,
        "tried": ending.was_tried(session),
        "why_no_signal": _why_no_signal(session),
    }
    return render(
        request, "admin/database/activity/session.html", {**context(request, f"Session {pid}"), **shown}
    )


@require_POST
@database_page("Cancel a statement")
def cancel(request: HttpRequest, pid: int, started: int) -> HttpResponse:
    """Cancel the statement that the page showed, and none that came after it."""
    try:
        asked = int(request.POST.get("asked", ""))
    except ValueError as error:
        raise BadRequest("The form did not say which statement is meant; open the session anew.") from error
    session = sessions.find(pid, started)
    if session is None:
        messages.warning(request, f"It had already ended: session {pid} is gone. Nothing was done.")
        return redirect("admin:database_activity")
    if session.untouchable:
        raise BadRequest(f"Session {pid} is not cancelled here. {session.untouchable}")
    outcome = ending.cancel(session, asked)
    _tell(request, outcome, session, "cancel")
    return _back(request, session, outcome)


@require_http_methods(["GET", "HEAD", "POST"])
@database_page("End a session")
def end(request: HttpRequest, pid: int, started: int) -> HttpResponse:
    """End a session for which a cancel was tried: GET asks, POST wants its number typed."""
    session = sessions.find(pid, started)
    if session is None:
        return _gone(request, pid)
    if session.untouchable:
        raise BadRequest(f"Session {pid} is not ended here. {session.untouchable}")
    if not ending.was_tried(session):
        raise BadRequest(f"First cancel what session {pid} runs; it is ended only when that did not help.")
    if request.method != "POST":
        blocked = [tree for tree in locks.blocking() if tree.root.place.key == pid]
        shown = {
            "session": session,
            "holds": sum(len(tree.waiting) for tree in blocked),
            "why_no_signal": _why_no_signal(session),
            "next": _next(request),
        }
        return render(
            request,
            "admin/database/activity/end.html",
            {**context(request, f"End session {pid}"), **shown},
        )
    if request.POST.get("typed", "").strip() != str(pid):
        messages.error(request, f"Nothing was done: to confirm, type {pid} as it is.")
        return HttpResponseRedirect(request.get_full_path())
    outcome = ending.terminate(session)
    _tell(request, outcome, session, "end")
    return _back(request, session, outcome)


def _wanted(request: HttpRequest) -> Wanted:
    asked = request.GET
    kind, state = asked.get("kind", ""), asked.get("state", "")
    try:
        longer = float(asked.get("longer") or 0)
    except ValueError:
        longer = -1
    if kind not in KINDS or state not in STATES or not 0 <= longer <= 365 * DAY:
        raise BadRequest("There are no sessions of that kind, state or duration; choose from the form.")
    return Wanted(
        kind=kind,
        state=state,
        database=asked.get("database", "")[:LONGEST_WORDS],
        user=asked.get("user", "")[:LONGEST_WORDS],
        words=asked.get("q", "").strip()[:LONGEST_WORDS],
        waiting=asked.get("waiting") == "1",
        longer=longer,
    )


def _why_no_signal(session: Session) -> str:
    return "" if session.user == standing().role else standing().why_not("signal")


def _gone(request: HttpRequest, pid: int) -> HttpResponse:
    shown = {**context(request, f"Session {pid}"), "pid": pid}
    return render(request, "admin/database/activity/gone.html", shown, status=404)


def _tell(request: HttpRequest, outcome: Outcome, session: Session, deed: str) -> None:
    level = {
        Outcome.STOPPED: messages.SUCCESS,
        Outcome.REFUSED: messages.ERROR,
    }.get(outcome, messages.WARNING)
    messages.add_message(request, level, ending.told(outcome, session, deed))


def _next(request: HttpRequest) -> str:
    """Where the person came from: the locks page, or ""."""
    here = reverse("admin:database_locks")
    asked = request.POST.get("next") or request.GET.get("next") or ""
    return here if urlsplit(asked).path == here else ""


def _back(request: HttpRequest, session: Session, outcome: Outcome) -> HttpResponse:
    if onward := _next(request):
        return HttpResponseRedirect(onward)
    if outcome is Outcome.GONE or sessions.find(session.pid, session.started or 0) is None:
        return redirect("admin:database_activity")
    return redirect("admin:database_session", session.pid, session.started)
