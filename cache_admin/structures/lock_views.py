"""The page Locks."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from arcweb.events import record
from arcweb.panels import Row
from cache_admin import codes, connections
from cache_admin.asking import Question, confirmed
from cache_admin.connections import Role
from cache_admin.keys.secrecy import Rule
from cache_admin.masking import text
from cache_admin.rooms import context, link, redis_page, rule_of
from cache_admin.structures import addresses, locks
from cache_admin.structures.common import gone, lasting, posted, rests

MOST = 200


@dataclass(frozen=True)
class Line:
    held: locks.Held
    key: str
    name: str
    holder: str
    age: str
    ttl: str  #: "": it never runs out


@require_safe
@redis_page("Locks", default="state")
def locks_page(request: HttpRequest, role: Role) -> HttpResponse:
    """Every held lock, those that never run out first."""
    with connections.client(role) as client:
        found = locks.find(client, MOST)
        held = locks.read(client, found.keys)
    held.sort(key=lambda one: (one.ttl is not None, -(one.age or 0), one.key))
    shown = {
        **context(request, role, "Locks"),
        "lines": [
            Line(
                one,
                codes.encode(one.key),
                _name(one.key),
                _holder(one, rule_of(request, one.key, "string")),
                lasting(one.age),
                lasting(one.ttl),
            )
            for one in held
        ],
        "endless": sum(one.ttl is None for one in held),
        "rests": rests(role, found),
        "release_url": link("redis_lock_release", role),
    }
    return render(request, "admin/cache_admin/structures/locks.html", shown)


@require_POST
@redis_page("Release a lock", default="state")
def release(request: HttpRequest, role: Role) -> HttpResponse:
    """Take a lock from the holder that was seen (`holder`), and from no other."""
    key, holder = addresses.decode(posted(request, "key")), posted(request, "holder")
    if not locks.is_lock(key):
        raise BadRequest("This key is no lock: only arcweb:lock:* and lock:* are released here.")
    with connections.client(role) as client:
        held = next(iter(locks.read(client, [key])), None)
        if held is None or held.digest != holder:
            sentence = "It is free now: it ran out or was released." if held is None else _CHANGED
            return gone(request, role, "This lock is held by nobody you saw", sentence, "redis_locks")
        question = Question(
            "Release a lock of another",
            "The lock is free at once, and the next may take it. This does not stop its holder, who may "
            "still be at work and does not notice: release it when you know that the holder is dead, or when "
            "what it writes to refuses old fencing numbers.",
            "release",
            "Release this lock",
            link("redis_locks", role),
            facts=(
                Row("Lock", _name(key)),
                Row("Holder", _holder(held, rule_of(request, key, "string")) or "unknown"),
                Row("Held for", lasting(held.age) or "unknown"),
                Row("Runs out", "never" if held.ttl is None else f"by itself in {lasting(held.ttl)}"),
                Row("Fencing number", "none" if held.fence is None else str(held.fence)),
            ),
            fields={"key": codes.encode(key), "holder": holder},
        )
        if asks := confirmed(request, role, question):
            return asks
        record(
            "lock.taken_away",
            object_type="redis.lock",
            object_id=_name(key),
            label=_name(key),
            data={"role": role, "fence": held.fence},
            note=f"held by {_holder(held, Rule(key, 'string', sees=False))}",  # viewers read events
        )
        if locks.force_release(client, key, holder):
            messages.success(request, "The lock is free. Its holder was not told and may still be at work.")
        else:
            messages.warning(request, f"Nothing was released. {_CHANGED}")
    return redirect(link("redis_locks", role))


_CHANGED = "It ran out and has another holder now, from whom nothing was taken."


def _holder(held: locks.Held, rule: Rule) -> str:
    """What the lock says of its holder, without what is masked on the page of its key."""
    return text(rule.let(held.owner.encode()))


def _name(key: bytes) -> str:
    return addresses.short(key.removeprefix(locks.PREFIX.encode()))
