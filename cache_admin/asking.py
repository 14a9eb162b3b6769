"""The page that asks before something is lost: what is touched, what it breaks, and a word to type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve

from arcweb.panels import Row
from arcweb.registry import registered_pages
from cache_admin.connections import Role
from cache_admin.rooms import context


@dataclass(frozen=True)
class Question:
    """What is asked before it is done. Names of things stand in the form, not in its address."""

    title: str
    sentence: str  #: what it does and what it does not
    wanted: str  #: what is to be typed; empty: the button is enough
    button: str
    back: str  #: address of the page that it came from
    facts: tuple[Row, ...] = ()  #: what is touched
    fields: Mapping[str, Any] = field(default_factory=dict)  #: sent again with the answer
    word: str = "Please confirm"  #: beside the sentence
    tone: Literal["idle", "warn", "bad"] = "warn"
    note: str = ""
    leave: str = "Leave it"
    refused: str = ""  #: why it cannot be done now; then nothing is asked


def confirmed(request: HttpRequest, role: Role, question: Question) -> HttpResponse | None:
    """None when it was sent (POST) with the wanted word (`typed`); else the page that asks for it.

    That page answers 409 to who sends what is refused.
    """
    sent = request.method == "POST"
    typed = request.POST.get("typed")
    right = not question.wanted or (typed or "").strip() == question.wanted
    if sent and right and not question.refused:
        return None
    shown = {
        **context(request, role, question.title),
        "tabs": (),
        "question": question,
        "wrong": typed is not None and not right,
        "back_title": title_of(question.back),
        "action": request.get_full_path(),
    }
    status = 409 if sent and question.refused else 200
    return render(request, "admin/cache_admin/confirm.html", shown, status=status)


def title_of(address: str) -> str:
    """The title of the page at an address of this site, for a link that leads there."""
    try:
        name = resolve(urlsplit(address).path).url_name
    except Resolver404:
        return "Back"
    return next((page.title for page in registered_pages() if page.name == name), "Back")
