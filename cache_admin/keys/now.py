"""What has become of a key since its page was opened: a small fragment that asks again every few seconds."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe
from redis import Redis
from redis.exceptions import ResponseError

from arcweb.servers import duration
from cache_admin import connections
from cache_admin.connections import Role
from cache_admin.keys import longnames, values
from cache_admin.keys.addressed import key_at
from cache_admin.keys.elements import KeyGone
from cache_admin.keys.secrecy import Rule
from cache_admin.keys.values import Facts, Value
from cache_admin.rooms import redis_page

#: Seconds between two looks, and while the key has less than a minute to live.
EVERY, EVERY_AT_THE_END = 5, 2
#: Milliseconds by which two looks at one expiry may differ.
SLACK = 2500


@dataclass(frozen=True)
class Seen:
    """What the page shows of a key. last: when it expires, in milliseconds of the Unix epoch; 0: never."""

    kind: str
    mark: str
    last: int
    place: str = ""

    @classmethod
    def of(cls, known: Facts, value: Value | None, place: str) -> Seen:
        last = 0 if known.ttl is None else int(time.time() * 1000) + known.ttl
        return cls(known.kind, value.mark if value else "", last, place)

    @classmethod
    def read(cls, request: HttpRequest) -> Seen:
        """What the page sent of what it had seen. Raises BadRequest."""
        last = request.GET.get("last", "")
        if not (last.isascii() and last.isdigit() and len(last) < 18):
            raise BadRequest("The address does not say what was seen.")
        asked = request.GET
        return cls(asked.get("kind", ""), asked.get("mark", ""), int(last), asked.get("place", ""))

    def watched(self, role: Role, code: str) -> dict[str, Any]:
        """What the fragment needs. code: of the key's address."""
        asked = {"role": role, "kind": self.kind, "mark": self.mark, "last": self.last, "place": self.place}
        left = self.last / 1000 - time.time()
        soon = self.last and left < 60
        return {
            "url": f"{reverse('admin:redis_key_now', args=[code])}?{urlencode(asked)}",
            "page": f"{reverse('admin:redis_key', args=[code])}?role={role}",
            "every": EVERY_AT_THE_END if soon else EVERY,
            "left": duration(max(0.0, left)) if self.last else "",
            "at": timezone.now(),
        }

    def differs(self, other: Seen) -> str:
        """What is different now: "value", "expiry" or ""."""
        if (self.kind, self.mark) != (other.kind, other.mark):
            return "value"
        if bool(self.last) != bool(other.last) or abs(self.last - other.last) > SLACK:
            return "expiry"
        return ""


@require_safe
@redis_page("Key")
def now(request: HttpRequest, role: Role, code: str) -> HttpResponse:
    """The fragment. It reads what the page reads, without making the key look used."""
    seen = Seen.read(request)
    with connections.client(role) as client:
        _without_touching(client)
        try:
            key = key_at(client, code)
            known = values.facts(client, key)
            mark_only = Rule(key, known.kind, sees=False)
            present = Seen.of(known, values.value(client, key, known, mark_only, seen.place), seen.place)
        except longnames.NotMet as error:
            raise Http404("The key was not met in time; it may be there.") from error
        except KeyGone:
            return _fragment(request, role, code, seen, "gone")
        except ValueError as error:
            raise BadRequest(str(error)) from error
    return _fragment(request, role, code, seen, seen.differs(present), present)


def _fragment(
    request: HttpRequest, role: Role, code: str, seen: Seen, what: str, present: Seen | None = None
) -> HttpResponse:
    shown = seen.watched(role, code)
    shown |= {"what": what, "news": what != request.GET.get("said", "")}
    if what:
        shown["url"] += f"&said={what}"
    if present:
        shown["left"] = present.watched(role, code)["left"]
    return render(request, "admin/cache_admin/keys/_now.html", {"now": shown, "role": role})


def _without_touching(client: Redis) -> None:
    """CLIENT NO-TOUCH (Redis 7.2): a page left open must not keep a key from being evicted.

    It holds for the client's one connection, which it uses for one question after the other.
    """
    with suppress(ResponseError):
        client.execute_command("CLIENT NO-TOUCH", "ON")
