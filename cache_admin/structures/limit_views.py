"""The page Rate limits."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.crypto import salted_hmac
from django.views.decorators.http import require_POST, require_safe
from redis import Redis

from arcweb.events import record
from arcweb.panels import Row
from cache_admin import codes, connections
from cache_admin.asking import Question, confirmed
from cache_admin.connections import Role
from cache_admin.masking import text
from cache_admin.rooms import context, link, redis_page, rule_of
from cache_admin.structures import addresses, limits, scan
from cache_admin.structures.common import identity_name, lasting, posted, rests, user_names

#: Rows of each table.
MOST = 100
COUNTERS = "rate:*"


@dataclass(frozen=True)
class Counter:
    """A counter of another service: INCR, then EXPIRE."""

    key: str  #: for the form
    name: str
    value: str
    ttl: str  #: in words; "": it never ends


@dataclass(frozen=True)
class Line:
    standing: limits.Standing
    key: str
    name: str


@require_safe
@redis_page("Rate limits", default="state")
def limits_page(request: HttpRequest, role: Role) -> HttpResponse:
    """The named limits, who stands how, and the counters of others; `limit` and `identity` ask for one."""
    with connections.client(role) as client:
        found = scan.find(client, f"{limits.PREFIX}*", kind="string", most=MOST)
        others = scan.find(client, COUNTERS, kind="string", most=MOST)
        standings = sorted(limits.standings(client, found.keys), key=lambda one: one.verdict.remaining)
        counters = _counters(request, client, others.keys)
    names = user_names(request, (one.identity.partition(":")[2] for one in standings))
    refused = sum(not one.verdict.allowed for one in standings)
    endless = sum(not counter.ttl for counter in counters)
    shown = {
        **context(request, role, "Rate limits"),
        "limits": limits.limits(),
        "lines": [Line(one, codes.encode(one.key), identity_name(one.identity, names)) for one in standings],
        "refused": refused,
        "counters": counters,
        "endless": endless,
        "rests": rests(role, found, others),
        "reset_url": link("redis_limit_reset", role),
        **_asked(request),
    }
    return render(request, "admin/cache_admin/structures/limits.html", shown)


def _asked(request: HttpRequest) -> dict[str, object]:
    """How the identity stands that the form asks for; nothing while it asks for none."""
    identity = request.GET.get("identity", "").strip()[:300]
    limit = limits.find_limit(request.GET.get("limit", ""))
    if not identity or limit is None:
        return {}
    return {"asked": identity, "asked_limit": limit, "peeked": limit.peek(identity)}


def _counters(request: HttpRequest, client: Redis, keys: tuple[bytes, ...]) -> list[Counter]:
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.getrange(key, 0, 40)
        pipe.pttl(key)
    answers = pipe.execute(raise_on_error=False) if keys else []
    found = []
    for key, value, ttl in zip(keys, answers[::2], answers[1::2], strict=True):
        if isinstance(value, bytes) and isinstance(ttl, int) and ttl != -2:
            left = lasting(None if ttl < 0 else ttl / 1000)
            said = text(rule_of(request, key, "string").let(value))  # others may keep more than a number
            found.append(Counter(codes.encode(key), addresses.short(key), said, left))
    return sorted(found, key=lambda counter: bool(counter.ttl))


@require_POST
@redis_page("Reset a rate limit", default="state")
def reset(request: HttpRequest, role: Role) -> HttpResponse:
    """Forget the hits of one identity, or a counter of another service."""
    key = addresses.decode(posted(request, "key"))
    ours = key.startswith(limits.PREFIX.encode())
    if not ours and not key.startswith(b"rate:"):
        raise BadRequest("This key is no rate limit: only arcweb:limit:* and rate:* are reset here.")
    digest = salted_hmac("cache_admin.limits", key, algorithm="sha256").hexdigest()[:16]
    name = key.removeprefix(limits.PREFIX.encode()).partition(b":")[0] if ours else b"rate"
    question = Question(
        "Reset a rate limit",
        "All that it allows is there again at once. What was refused stays refused, and who sends too much "
        "is stopped again when the limit is reached.",
        "reset",
        "Reset this limit",
        link("redis_limits", role),
        facts=(Row("Limit", text(name)), Row("Key", addresses.short(key))),
        fields={"key": codes.encode(key)},
    )
    if asks := confirmed(request, role, question):
        return asks
    # Whom it is about may be a person: the record of it has a digest only.
    record(
        "limit.reset", object_type="redis.limit", object_id=digest, data={"limit": text(name), "role": role}
    )
    with connections.client(role) as client:
        there = client.unlink(key)
    if there:
        messages.success(request, "The limit is reset: all of it is there again.")
    else:
        messages.warning(request, "Nothing was left to reset: it had run out already.")
    return redirect(link("redis_limits", role))
