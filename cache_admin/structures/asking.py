"""What these views share: the page that asks before something is lost, absence in words, people's names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from arcweb.registry import registered_pages
from arcweb.servers import duration
from cache_admin.connections import Role
from cache_admin.rooms import context, link


@dataclass(frozen=True)
class Question:
    """What is asked before it is done. All of it stands in the form, so that no address holds a name."""

    title: str
    sentence: str  #: what it does and what it does not
    facts: tuple[tuple[str, str], ...]  #: what is touched
    wanted: str  #: what is to be typed
    button: str
    fields: Mapping[str, str]  #: sent again with the answer
    back: str  #: name of the page that it came from


def confirmed(request: HttpRequest, role: Role, question: Question) -> HttpResponse | None:
    """None when the wanted word was typed (POST `typed`); else the page that asks for it."""
    typed = request.POST.get("typed")
    if typed is not None and typed.strip() == question.wanted:
        return None
    shown = {
        **context(request, role, question.title),
        "tabs": [],
        "question": question,
        "wrong": typed is not None,
        "back": link(question.back, role),
        "back_title": _title(question.back),
        "action": request.get_full_path(),
    }
    return render(request, "admin/cache_admin/structures/confirm.html", shown)


def lasting(seconds: float | None) -> str:
    """A time to live for people: "9.5 s", "35 h"; "" for one that never ends."""
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def _title(name: str) -> str:
    return next((page.title for page in registered_pages() if page.name == name), "Back")


def gone(request: HttpRequest, role: Role, title: str, sentence: str, back: str) -> HttpResponse:
    """404 in words, for what ended while somebody looked at it."""
    shown = {
        **context(request, role, title),
        "tabs": [],
        "sentence": sentence,
        "back": link(back, role),
        "back_title": _title(back),
    }
    return render(request, "admin/cache_admin/structures/gone.html", shown, status=404)


def posted(request: HttpRequest, name: str) -> str:
    """A field that the form must have; raises BadRequest without it."""
    value = request.POST.get(name, "")
    if not value:
        raise BadRequest(f"The form holds no {name}: go back, reload the page and try again.")
    return value


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
