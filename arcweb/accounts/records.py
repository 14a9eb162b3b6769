"""The life of a session's record: begun, moved, ended. The record is the authority over a login.

What Django keeps of a session, in Redis and in PostgreSQL, is of no use without its record. Of the key
only a hash is kept here, so revoking does not reach those copies; they run out by themselves.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.db.models.functions import Now
from django.utils.crypto import constant_time_compare

from arcweb.accounts.models import LoginThrottle, UserSession
from arcweb.accounts.querysets import UserSessionQuerySet, age_limit, idle_limit
from arcweb.events import Actor, record

#: How long an ended session stays in the lists, and its address is known as one of the user's.
KEPT = timedelta(days=30)
#: How long failed logins are remembered after the last try, at least.
THROTTLE_KEPT = timedelta(days=1)
End = UserSession.End


def hash_of(session_key: str | None) -> str:
    """sha256 of a session's key in hex; "" for no key, which no record has."""
    return hashlib.sha256(session_key.encode()).hexdigest() if session_key else ""


def begin(session: SessionBase, user: User, origin: Actor) -> None:
    """Record a login under a key that no record had: a login in a live session gets a new key."""
    if session.session_key is None:
        session.save()  # Django emptied another user's session and would make the key with the response
    earlier = UserSession.objects.filter(key_hash=hash_of(session.session_key))
    if earlier.exists():
        earlier.filter(ended_at=None).update(ended_at=Now(), ended_reason=End.REPLACED, ended_by=user)
        session.cycle_key()
    UserSession.objects.create(
        key_hash=hash_of(session.session_key),
        user=user,
        address=origin.address,
        user_agent=origin.user_agent,
    )


def move(old_key: str | None, new_key: str | None) -> int:
    """The same login goes on under another key; what has ended stays where it is."""
    rows = UserSession.objects.filter(key_hash=hash_of(old_key), ended_at=None)
    return rows.update(key_hash=hash_of(new_key))


def close(session_key: str | None, reason: str) -> int:
    """End one session because of what it did or what became of it; no event of its own."""
    rows = UserSession.objects.filter(key_hash=hash_of(session_key), ended_at=None)
    return rows.update(ended_at=Now(), ended_reason=reason)


def end(sessions: UserSessionQuerySet, user: User, reason: str, *, by: User | None = None) -> int:
    """End those live sessions of `user`: the event first, with their number, then the effect.

    Returns how many were ended: of two that try at once, one gets 0 and leaves no event.
    """
    with transaction.atomic():
        # Locked in one order; whoever waited here finds only what is live then.
        mine = sessions.filter(user=user, ended_at=None).select_for_update(of=("self",)).order_by("pk")
        keys = list(mine.values_list("pk", flat=True))
        if not keys:
            return 0
        kind = "session.revoked" if reason == End.REVOKED else "session.ended"
        record(kind, obj=user, data={"sessions": len(keys), "reason": reason})
        rows = UserSession.objects.filter(pk__in=keys, ended_at=None)
        return rows.update(ended_at=Now(), ended_reason=reason, ended_by=by)


def forget_old() -> dict[str, int]:
    """Mark what ran out, forget what ended long ago, and the failed logins that no lock needs."""
    marked = UserSession.objects.all().mark_lapsed()
    sessions, _ = UserSession.objects.ended_before(KEPT).delete()
    throttles, _ = LoginThrottle.objects.forgotten(THROTTLE_KEPT).delete()
    return {"marked": marked, "sessions": sessions, "throttles": throttles}


def reason_ended(found: UserSession, session: SessionBase) -> str:
    """Why this record (with its user and `read_at`) lets nobody in; "" when it does."""
    if found.ended_at is not None:
        return str(found.ended_reason)
    if not found.user.is_active:
        return End.DEACTIVATED
    if found.created_at <= found.read_at - age_limit():
        return End.EXPIRED
    if found.last_seen_at <= found.read_at - idle_limit():
        return End.IDLE
    if not constant_time_compare(session.get(HASH_SESSION_KEY, ""), found.user.get_session_auth_hash()):
        return End.PASSWORD
    return ""
