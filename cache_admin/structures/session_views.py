"""The page Sessions in Redis."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from arcweb.accounts.models import UserSession
from arcweb.charts import size
from arcweb.events import record
from arcweb.panels import Row
from cache_admin import connections
from cache_admin.asking import Question, confirmed
from cache_admin.connections import Role
from cache_admin.rooms import context, link, redis_page
from cache_admin.structures import session_keys
from cache_admin.structures.common import gone, lasting, posted, rests, user_names
from cache_admin.structures.session_keys import SessionKey

MOST = 100
TITLE = "Stored sessions"


@dataclass(frozen=True)
class Line:
    session: SessionKey
    who: str
    size: str
    ttl: str  #: "": it never ends
    login: bool  #: somebody of this site is logged in by it
    dead: str  #: why nobody is, where it is the copy of a login: "revoked"


@require_safe
@redis_page(TITLE)
def sessions_page(request: HttpRequest, role: Role) -> HttpResponse:
    """Every key of a session, masked: this site's, and those of other services."""
    with connections.client(role) as client:
        found = session_keys.keys(client, MOST)
        sessions = session_keys.read(client, found.keys)
    ends = UserSession.objects.ends_of(one.key_hash for one in sessions if one.own and one.user_id)
    names = user_names(request, (one.user_id for one in sessions if one.own))
    sessions.sort(key=lambda one: (one.own, one.ttl is not None, one.name))
    lines = [_line(one, names, ends) for one in sessions]
    shown = {
        **context(request, role, TITLE),
        "lines": lines,
        "dead": sum(bool(line.dead) for line in lines),
        "foreign": sum(not one.own for one in sessions),
        "own": sum(one.own for one in sessions),
        "endless": sum(one.ttl is None for one in sessions),
        "rests": rests(role, found),
        "delete_url": link("redis_session_delete", role),
    }
    return render(request, "admin/cache_admin/structures/sessions.html", shown)


@require_POST
@redis_page(TITLE)
def delete(request: HttpRequest, role: Role) -> HttpResponse:
    """Delete the session of another service that a digest stands for: its user is logged out there."""
    digest = posted(request, "session")
    with connections.client(role) as client:
        key = session_keys.find_key(client, digest)
        session = next(iter(session_keys.read(client, [key])), None) if key else None
        if key is None or session is None:
            sentence = (
                "It ended meanwhile, or was not found in half a second of looking; try again from the list."
            )
            return gone(request, role, TITLE, sentence, "redis_sessions")
        if session.own:
            raise BadRequest(
                "A session of this site is ended at its record in PostgreSQL: use the page Sessions. "
                "Deleting it here would log nobody out."
            )
        question = Question(
            "Delete a session",
            "Whoever uses it is logged out of the service that made it, at the next request. It cannot be "
            "brought back; the user logs in again.",
            digest[:6],
            "Delete this session",
            link("redis_sessions", role),
            facts=(
                Row("Session", session.name),
                Row("Runs out", "never" if session.ttl is None else f"by itself in {lasting(session.ttl)}"),
                *(Row(name, value) for name, value in session.facts.items()),
            ),
            fields={"session": digest},
        )
        if asks := confirmed(request, role, question):
            return asks
        record("redis_session.removed", object_type="redis.session", object_id=digest, data={"role": role})
        deleted = session_keys.delete(client, key)
    if deleted:
        messages.success(request, "The session is deleted; its next request finds nobody logged in.")
    else:
        messages.warning(request, "Nothing was left to delete: it had ended already.")
    return redirect(link("redis_sessions", role))


def _line(session: SessionKey, names: dict[str, str], ends: dict[str, str]) -> Line:
    """names: of users, by id. ends: of logins, by the hash of their keys."""
    of_login = session.own and bool(session.user_id)
    dead = ends.get(session.key_hash, "without a record") if of_login else ""
    return Line(
        session, _who(session, names), size(session.size), lasting(session.ttl), of_login and not dead, dead
    )


def _who(session: SessionKey, names: dict[str, str]) -> str:
    """The user in words; "" where the session tells of none."""
    if session.own and session.user_id:
        return names.get(session.user_id, f"user {session.user_id}")
    return f"user {session.user_id} there" if session.user_id else ""
