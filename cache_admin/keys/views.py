"""The pages on which keys are seen: the browser, and one key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe
from redis import Redis

from arcweb.charts import size
from arcweb.servers import duration
from cache_admin import connections, masking
from cache_admin.connections import Role
from cache_admin.keys import names, scan, values
from cache_admin.keys.addressed import key_url, key_view
from cache_admin.keys.element_forms import ElementForm
from cache_admin.keys.element_panel import LOST, of_element
from cache_admin.keys.export import CAVEAT
from cache_admin.keys.forms import BrowseForm, ExpiryForm, RenameForm, ValueForm
from cache_admin.keys.now import Seen
from cache_admin.keys.scan import Filters
from cache_admin.keys.values import Elements, String
from cache_admin.rooms import context, link, redis_page, rule_of
from cache_admin.server.purposes import BREAKS, PRECIOUS, purpose_of

#: Characters of a name that is typed to confirm; a longer or stranger one is confirmed by a word.
LONGEST_TYPED = 60
WORD = "delete"

#: Characters of an element that is looked for in a collection, and what is typed for each type.
LONGEST_SOUGHT = 1000
FIND_LABELS = {
    "hash": "Field",
    "list": "Index (-1: the last)",
    "set": "Member",
    "zset": "Member",
    "stream": "Id",
}


@dataclass(frozen=True)
class Line:
    """A key in the list, in words; url "" for a session's."""

    name: str
    url: str
    row: scan.Row

    @property
    def expiry(self) -> str:
        return expiry(self.row.ttl)

    @property
    def memory(self) -> str:
        return "unknown" if self.row.size is None else size(self.row.size)


def expiry(ttl: int | None) -> str:
    """Milliseconds left, in words."""
    return "never" if ttl is None else f"in {duration(ttl / 1000)}" if ttl >= 1000 else "in a moment"


def sessions_url(role: Role) -> str:
    """The page on which sessions are ended."""
    try:
        return link("redis_sessions", role)
    except NoReverseMatch:
        return reverse("admin:sessions")


@require_safe
@redis_page("Keys")
def browse(request: HttpRequest, role: Role) -> HttpResponse:
    """A page of keys from ?cursor= on; on the first one the prefixes below the pattern too."""
    form = BrowseForm(request.GET)
    shown: dict[str, Any] = {**context(request, role, "Keys"), "form": form, "sessions": sessions_url(role)}
    if not form.is_valid():
        if form.has_error("match", "session"):  # out of the address and the history with it
            messages.warning(request, " ".join(map(str, form.errors["match"])))
            return redirect(link("redis_keys", role))
        return render(request, "admin/cache_admin/keys/browse.html", shown, status=400)
    cursor = request.GET.get("cursor", "0")
    if not re.fullmatch(r"[0-9]{1,20}", cursor) or int(cursor) > values.LAST_CURSOR:
        raise Http404("The address holds a cursor that is none.")
    chosen = form.cleaned_data
    pattern = names.read_pattern(chosen["match"])
    with connections.client(role) as client:
        listing = scan.browse(client, Filters(pattern, chosen["type"], chosen["ttl"]), int(cursor))
        below = names.literal_beginning(pattern)
        tree = None if int(cursor) else scan.tree(client, pattern, below[: below.rfind(b":") + 1])
        total = client.dbsize()
    lines = [
        Line(names.shown(row.key), "" if row.session else key_url(role, row.key), row) for row in listing.rows
    ]
    branches = [
        (names.shown(branch.prefix), names.pattern_below(branch.prefix), branch.keys)
        for branch in (tree.branches if tree else [])
    ]
    shown |= {
        "lines": lines,
        "listing": listing,
        "milliseconds": listing.seconds * 1000,
        "total": total,
        "total_words": f"{total:,}",
        "looked_at": f"{listing.looked_at:,}",
        "tree": tree,
        "branches": branches,
        "filtered": any(chosen.values()),
        "later": int(cursor) > 0,
        "has_sessions": any(row.session for row in listing.rows),
    }
    return render(request, "admin/cache_admin/keys/browse.html", shown)


@require_safe
@key_view
def key_page(request: HttpRequest, role: Role, client: Redis, key: bytes) -> HttpResponse:
    if masking.is_session(request.GET.get("find", "").encode("utf-8", "replace")):
        # Out of the address and the history with it.
        messages.warning(request, "That is the key of a session: a credential, which is not looked for here.")
        return redirect(key_url(role, key))
    return show(request, role, client, key)


def show(
    request: HttpRequest,
    role: Role,
    client: Redis,
    key: bytes,
    *,
    forms: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page of a key. forms: those that were sent and cannot be accepted as they are, by their names."""
    known = values.facts(client, key)
    rule = rule_of(request, key, known.kind)
    place, sought = request.GET.get("place", ""), request.GET.get("find", "")[:LONGEST_SOUGHT]
    try:
        value = values.value(client, key, known, rule, place)
        if sought and known.kind in ("set", "zset") and rule.reason:
            raise PermissionDenied(f"{rule.reason} What it holds is not looked for either.")
        if sought and isinstance(value, Elements):
            value = values.look_up(client, key, known, rule, sought) or Elements(value.columns, [], "", "")
        more = of_element(client, key, known, rule, request.GET.get("edit", "")) if rule.sees else {}
    except ValueError as error:
        raise Http404(str(error)) from error
    editable = isinstance(value, String) and value.text is not None
    purpose = purpose_of(key, known.kind.encode())
    lived = max(1, known.ttl // 1000) if known.ttl else None
    shown: dict[str, Any] = {
        **context(request, role, "Key"),
        "name": names.shown(key),
        "code": names.code_of(key),
        "known": known,
        "memory": "" if known.size is None else size(known.size),
        "length": f"{known.length:,}",
        "preview": size(value.shown) if isinstance(value, String) else "",
        "whole": size(known.length),
        "value": value,
        "estimate": "" if not isinstance(value, String) or value.estimate is None else f"{value.estimate:,}",
        "is_string": isinstance(value, String),
        "is_collection": isinstance(value, Elements),
        "place": place,
        "sought": sought,
        "find_label": FIND_LABELS.get(known.kind, ""),
        "reason": rule.reason,
        "masked": not rule.sees,
        "editable": editable,
        "expiry": expiry(known.ttl),
        "purpose": purpose,
        "breaks": BREAKS[purpose] if purpose in PRECIOUS else "",
        "type_this": to_type(key),
        "list_url": link("redis_keys", role),
        "caveat": CAVEAT,
        "lost": LOST.get(known.kind, ""),
        "now": Seen.of(known, value, place).watched(role, names.code_of(key))
        if value and not sought
        else None,
        "value_form": ValueForm(initial={"value": value.text, "read": value.digest, "lived": lived})
        if editable and isinstance(value, String)
        else None,
        "new_form": ElementForm(kind=known.kind, initial={"lived": lived})
        if rule.sees and isinstance(value, Elements)
        else None,
        "expiry_form": ExpiryForm(initial={"seconds": known.ttl // 1000 if known.ttl else None}),
        "rename_form": RenameForm(),
        **more,
        **(forms or {}),
    }
    return render(request, "admin/cache_admin/keys/key.html", shown, status=status)


def to_type(key: bytes) -> str:
    """What is typed to confirm that this key shall be deleted."""
    words = names.shown(key)
    plain = len(words) <= LONGEST_TYPED and words.strip() == words and words.isascii() and "\\" not in words
    return words if words and plain else WORD
