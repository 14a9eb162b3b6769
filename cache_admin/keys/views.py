"""The pages on which keys are seen: the browser, one key, its download."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe
from redis import Redis
from redis.exceptions import ResponseError

from arcweb.charts import size
from arcweb.servers import duration
from cache_admin import connections
from cache_admin.connections import Role
from cache_admin.keys import names, scan, values
from cache_admin.keys.forms import BrowseForm, ExpiryForm, RenameForm, ValueForm
from cache_admin.keys.scan import Filters
from cache_admin.keys.values import KeyGone, String, is_wrong_type
from cache_admin.rooms import context, link, redis_page
from cache_admin.server.purposes import BREAKS, PRECIOUS, purpose_of

#: Characters of a name that is typed to confirm; a longer or stranger one is confirmed by a word.
LONGEST_TYPED = 60
WORD = "delete"

KeyView = Callable[[HttpRequest, Role, Redis, bytes], HttpResponse]


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


def key_url(role: Role, key: bytes, page: str = "redis_key") -> str:
    """Where that key is shown. ValueError for a session's."""
    return f"{reverse(f'admin:{page}', args=[names.code_of(key)])}?role={role}"


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


def key_view(view: KeyView) -> Callable[..., HttpResponse]:
    """Decorates a view of one key: its name is read from the address, and its absence told in words."""

    @redis_page("Key")
    @wraps(view)
    def wrapped(request: HttpRequest, role: Role, code: str) -> HttpResponse:
        try:
            wanted = names.read_code(code)
        except ValueError as error:
            raise Http404(str(error)) from error
        with connections.client(role) as client:
            key = scan.find(client, wanted) if isinstance(wanted, names.LongName) else wanted
            if key is None:
                return _gone(request, role, code)
            try:
                return _twice(view, request, role, client, key)
            except KeyGone:
                return _gone(request, role, key)
            except ResponseError as error:
                if request.method != "POST":
                    raise
                messages.error(request, f"Nothing was changed. {connections.explain(role, error)}")
                return redirect(key_url(role, key))

    return wrapped


def _twice(view: KeyView, request: HttpRequest, role: Role, client: Redis, key: bytes) -> HttpResponse:
    """A key may be replaced by one of another type between two looks at it; the second look agrees."""
    try:
        return view(request, role, client, key)
    except ResponseError as error:
        if request.method == "POST" or not is_wrong_type(error):
            raise
        return view(request, role, client, key)


def _gone(request: HttpRequest, role: Role, key: bytes | str) -> HttpResponse:
    """key: its name, or the address of one whose name is not known any more."""
    name = names.shown(key) if isinstance(key, bytes) else ""
    shown = {**context(request, role, "Key"), "name": name, "list_url": link("redis_keys", role)}
    return render(request, "admin/cache_admin/keys/gone.html", shown, status=404)


@require_safe
@key_view
def key_page(request: HttpRequest, role: Role, client: Redis, key: bytes) -> HttpResponse:
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
    place = request.GET.get("place", "")
    try:
        value = values.value(client, key, known, place)
    except ValueError as error:
        raise Http404(str(error)) from error
    editable = isinstance(value, String) and value.text is not None
    purpose = purpose_of(key, known.kind.encode())
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
        "is_string": isinstance(value, String),
        "editable": editable,
        "expiry": expiry(known.ttl),
        "purpose": purpose,
        "breaks": BREAKS[purpose] if purpose in PRECIOUS else "",
        "type_this": to_type(key),
        "list_url": link("redis_keys", role),
        "value_form": ValueForm(initial={"value": value.text, "read": value.digest})
        if editable and isinstance(value, String)
        else None,
        "expiry_form": ExpiryForm(initial={"seconds": known.ttl // 1000 if known.ttl else None}),
        "rename_form": RenameForm(),
        **(forms or {}),
    }
    return render(request, "admin/cache_admin/keys/key.html", shown, status=status)


def to_type(key: bytes) -> str:
    """What is typed to confirm that this key shall be deleted."""
    words = names.shown(key)
    plain = len(words) <= LONGEST_TYPED and words.strip() == words and words.isascii() and "\\" not in words
    return words if words and plain else WORD


@require_safe
@redis_page("Key")
def download(request: HttpRequest, role: Role, code: str) -> Any:
    """A string as a file, read piece by piece; a change of its length meanwhile breaks the download off."""
    try:
        wanted = names.read_code(code)
    except ValueError as error:
        raise Http404(str(error)) from error
    with connections.client(role) as client:
        key = scan.find(client, wanted) if isinstance(wanted, names.LongName) else wanted
        if key is None:
            return _gone(request, role, code)
        try:
            length = values.length_of(client, key)
        except KeyGone:
            return _gone(request, role, key)
        except ResponseError as error:
            if is_wrong_type(error):
                raise Http404("Only a string can be downloaded.") from error
            raise
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", names.shown(key, 80)).strip("._") or "value"
    response = StreamingHttpResponse(_pieces(role, key, length), content_type="application/octet-stream")
    response["Content-Disposition"] = content_disposition_header(True, f"{name}.bin")
    response["Content-Length"] = str(length)
    response["Cache-Control"] = "no-store"
    return response


def _pieces(role: Role, key: bytes, length: int) -> Iterator[bytes]:
    with connections.client(role) as client:
        yield from values.pieces(client, key, length)
