"""The page Live: leases of MONITOR and of channels, and messages to try."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from redis.exceptions import RedisError

from arcweb.events import record
from cache_admin import connections
from cache_admin.connections import Role
from cache_admin.rooms import context, link, redis_page
from cache_admin.server.capabilities import capabilities
from cache_admin.traffic import channels, leases, words

TITLE = "Live"
LONGEST_PATTERN = 256


@require_safe
@redis_page(TITLE)
def live(request: HttpRequest, role: Role) -> HttpResponse:
    """What can be watched, and the lease that `lease` names."""
    may = capabilities(role)
    shown: dict[str, Any] = {
        **context(request, role, TITLE),
        "seconds": leases.SECONDS,
        "unwatched": leases.UNWATCHED,
        "most_a_second": leases.MOST_A_SECOND,
        "why_no_monitor": may.why_not("MONITOR"),
        "why_no_channels": may.why_not("PUBSUB"),
        "why_no_subscribe": may.why_not("PSUBSCRIBE"),
        "why_no_publish": may.why_not("PUBLISH"),
    }
    if not shown["why_no_channels"]:
        with connections.client(role) as server:
            shown["channels"] = channels.channels(server)
    if token := request.GET.get("lease", ""):
        lease = leases.find(token, _user_id(request))
        shown |= _of(lease, 0) if lease else {"lease_is_gone": True}
    return render(request, "admin/cache_admin/traffic/live.html", shown)


@require_safe
def lease_lines(request: HttpRequest, token: str) -> HttpResponse:
    """What came since the line `after`: a fragment, asked for each second. It asks Redis nothing."""
    lease = leases.find(token, _user_id(request))
    if lease is None:
        if not getattr(request, "htmx", False):
            raise Http404("There is no such lease: it ended a while ago.")
        return render(request, "admin/cache_admin/traffic/_lease.html", {"lease_is_gone": True})
    after = request.GET.get("after", "0")
    shown = _of(lease, int(after) if after.isdecimal() and len(after) < 10 else 0)
    return render(request, "admin/cache_admin/traffic/_lease.html", {**shown, "fragment": True})


@require_POST
@redis_page(TITLE)
def monitor_start(request: HttpRequest, role: Role) -> HttpResponse:
    if why_not := capabilities(role).why_not("MONITOR"):
        raise BadRequest(why_not)
    try:
        lease = leases.monitor(role, _user_id(request), _seconds(request))
    except leases.BusyError as busy:
        return _not_now(request, role, str(busy))
    except RedisError as error:
        # The lock is in the state role, which may be another server than the page's.
        return _not_now(request, role, connections.explain("state", error))
    data = {"role": role, "seconds": lease.seconds}
    return _begin(request, role, lease, "redis.monitored", f"{role} role", data)


@require_POST
@redis_page(TITLE)
def subscribe_start(request: HttpRequest, role: Role) -> HttpResponse:
    if why_not := capabilities(role).why_not("PSUBSCRIBE"):
        raise BadRequest(why_not)
    pattern = request.POST.get("pattern", "").strip() or "*"
    if len(pattern.encode()) > LONGEST_PATTERN or "\x00" in pattern:
        return _not_now(request, role, f"The pattern must be shorter than {LONGEST_PATTERN} bytes.")
    try:
        lease = leases.messages(role, _user_id(request), _seconds(request), pattern.encode())
    except leases.BusyError as busy:
        return _not_now(request, role, str(busy))
    data = {"role": role, "seconds": lease.seconds}
    return _begin(request, role, lease, "redis.listened", words.word(lease.pattern), data)


@require_POST
def lease_stop(request: HttpRequest, token: str) -> HttpResponse:
    """End a lease of one's own before its time."""
    lease = leases.find(token, _user_id(request))
    if lease is None:
        raise Http404("There is no such lease: it ended a while ago.")
    lease.stop()
    return redirect(_address(lease))


@require_POST
@redis_page(TITLE)
def publish(request: HttpRequest, role: Role) -> HttpResponse:
    """Send a message to try a channel."""
    if why_not := capabilities(role).why_not("PUBLISH"):
        raise BadRequest(why_not)
    channel, message = request.POST.get("channel", ""), request.POST.get("message", "")
    if why_not := channels.why_not_to(channel):
        return _not_now(request, role, why_not)
    size = len(message.encode())
    if size > channels.LONGEST_MESSAGE:
        return _not_now(
            request, role, f"The message has {size:,} bytes; {channels.LONGEST_MESSAGE:,} is the most."
        )
    shown = words.word(channel.encode())
    record("redis.published", label=shown, data={"role": role, "bytes": size})
    with connections.client(role) as server:
        received = channels.publish(server, channel, message)
    if received:
        messages.success(request, f"{received} received the message on {shown}.")
    else:
        messages.warning(request, f"Nobody listens to {shown}: the message is lost, as Redis keeps none.")
    return redirect(link("redis_live", role))


def _begin(
    request: HttpRequest, role: Role, lease: leases.Lease, kind: str, label: str, data: dict[str, Any]
) -> HttpResponse:
    """With the event before it; what the lease holds is let go of whatever fails."""
    try:
        record(kind, label=label, data=data)
    except BaseException:
        lease.give_up()
        raise
    lease.begin()
    return redirect(_address(lease))


def _not_now(request: HttpRequest, role: Role, sentence: str) -> HttpResponse:
    messages.error(request, sentence)
    return redirect(link("redis_live", role))


def _of(lease: leases.Lease, after: int) -> dict[str, Any]:
    """What a template needs of a lease, whose next deadline begins now."""
    lease.watched()
    ended = lease.ended  # before the lines: what comes in between is shown by the next look
    lines = lease.lines[after:]
    return {
        "lease": lease,
        "ended": ended,
        "left": round(lease.left),
        "lines": lines,
        "last": after + len(lines),
        "address_of_lines": reverse("admin:redis_lease", args=[lease.token]),
    }


def _address(lease: leases.Lease) -> str:
    return link("redis_live", lease.role, f"lease={lease.token}")


def _seconds(request: HttpRequest) -> int:
    text = request.POST.get("seconds", "")
    return int(text) if text.isdecimal() and len(text) < 4 else 0


def _user_id(request: HttpRequest) -> int:
    return int(request.user.pk or 0)
