"""Views of one key: its name is read from the address, and its absence told in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from django.contrib import messages
from django.forms import BoundField, Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from redis import Redis
from redis.exceptions import ResponseError

from cache_admin import connections
from cache_admin.connections import Role, is_wrong_type
from cache_admin.keys import longnames, names
from cache_admin.keys.element_forms import AnewForm
from cache_admin.keys.elements import KeyGone
from cache_admin.rooms import context, link, redis_page

KeyView = Callable[[HttpRequest, Role, Redis, bytes], HttpResponse]


def key_url(role: Role, key: bytes, page: str = "redis_key") -> str:
    """Where that key is shown. ValueError for a session's."""
    return f"{reverse(f'admin:{page}', args=[names.code_of(key)])}?role={role}"


def key_at(client: Redis, code: str) -> bytes:
    """The name that an address holds. Raises Http404 for one that holds none, KeyGone, RedisError."""
    try:
        wanted = names.read_code(code)
    except ValueError as error:
        raise Http404(str(error)) from error
    return longnames.find(client, wanted) if isinstance(wanted, names.LongName) else wanted


def key_view(view: KeyView) -> Callable[..., HttpResponse]:
    """Decorates a view of one key."""

    @redis_page("Key")
    @wraps(view)
    def wrapped(request: HttpRequest, role: Role, code: str) -> HttpResponse:
        key = None
        with connections.client(role) as client:
            try:
                key = key_at(client, code)
                return _twice(view, request, role, client, key)
            except longnames.NotMet:
                return gone(request, role, None, {"not_met": longnames.SECONDS})
            except KeyGone:
                return gone(request, role, key)
            except ResponseError as error:
                if request.method != "POST" or key is None:
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


def gone(
    request: HttpRequest,
    role: Role,
    key: bytes | None,
    more: Mapping[str, Any] | None = None,
    status: int = 404,
) -> HttpResponse:
    """key: its name; None: not known any more."""
    shown = {
        **context(request, role, "Key"),
        "name": "" if key is None else names.shown(key),
        "list_url": link("redis_keys", role),
        "anew_form": AnewForm(initial={"seconds": _lived(request)}),
        **(more or {}),
    }
    return render(request, "admin/cache_admin/keys/gone.html", shown, status=status)


def gone_while_typing(
    request: HttpRequest,
    role: Role,
    key: bytes,
    form: Form,
    *,
    fields: Sequence[BoundField],
    page: str,
    hidden: Mapping[str, str] | None = None,
    anew: AnewForm | None = None,
    there: bool = False,
    status: int = 409,
) -> HttpResponse:
    """The key is gone: what was typed stays, with an offer to make the key anew.

    page: takes the form again, with `hidden` in it. anew: how long it shall live, as it was sent and refused.
    there: somebody has made it meanwhile.
    """
    kept = {
        "kept_form": form,
        "kept_fields": fields,
        "kept_action": key_url(role, key, page),
        "kept_hidden": hidden or {},
        "there": there,
        "key_address": key_url(role, key),
        **({"anew_form": anew} if anew else {}),
    }
    return gone(request, role, key, kept, status=status)


def _lived(request: HttpRequest) -> int | None:
    """Seconds that the key had left when the form was made that was sent."""
    text = request.POST.get("lived", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
