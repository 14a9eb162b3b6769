"""What these views share: absence in words, what a form must hold, people's names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode

from arcweb.servers import duration
from cache_admin.asking import title_of
from cache_admin.connections import Role
from cache_admin.rooms import context, link
from cache_admin.structures.scan import Found


def lasting(seconds: float | None) -> str:
    """A time to live for people: "9.5 s", "35 h"; "" for one that never ends."""
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def gone(request: HttpRequest, role: Role, title: str, sentence: str, back: str) -> HttpResponse:
    """404 in words, for what ended while somebody looked at it."""
    shown = {
        **context(request, role, title),
        "tabs": [],
        "sentence": sentence,
        "back": link(back, role),
        "back_title": title_of(link(back, role)),
    }
    return render(request, "admin/cache_admin/structures/gone.html", shown, status=404)


def posted(request: HttpRequest, name: str) -> str:
    """A field that the form must have; raises BadRequest without it."""
    value = request.POST.get(name, "")
    if not value:
        raise BadRequest(f"The form holds no {name}: go back, reload the page and try again.")
    return value


@dataclass(frozen=True)
class Rest:
    """Where Keys goes on with a look that ended early, step by step, by the same pattern."""

    pattern: str
    url: str
    endless_url: str  #: the same, those alone that never expire


def rests(role: Role, *looks: Found) -> list[Rest]:
    """One for each look that did not see all; none: nothing is missing on the page."""
    found = []
    for look in looks:
        if not look.complete:
            query = {"match": look.pattern, **({"type": look.kind} if look.kind else {})}
            urls = (link("redis_keys", role, urlencode(more)) for more in (query, {**query, "ttl": "none"}))
            found.append(Rest(look.pattern, *urls))
    return found


def user_names(request: HttpRequest, ids: Iterable[str]) -> dict[str, str]:
    """Names of users by id, in one query; none for those who may not see who is logged in."""
    wanted = {int(one) for one in ids if one.isdigit() and len(one) < 19}
    if not wanted or not request.user.has_perm("accounts.view_usersession"):
        return {}
    return {str(pk): name for pk, name in User.objects.filter(pk__in=wanted).values_list("pk", "username")}


def identity_name(identity: str, names: Mapping[str, str]) -> str:
    """ "user:7" with the user's name, where it is known."""
    kind, _, pk = identity.partition(":")
    return f"{identity} ({names[pk]})" if kind == "user" and pk in names else identity
