"""The page that asks before something is done: what is touched, what it breaks, and a word to type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from arcweb.panels import Row
from cache_admin.connections import Role
from cache_admin.rooms import context


@dataclass(frozen=True)
class Question:
    title: str
    sentence: str  #: what will happen
    facts: tuple[Row, ...]
    word: str  #: what must be typed
    button: str
    back: str  #: address of the page that leads here
    hidden: Mapping[str, Any] = field(default_factory=dict)


def ask(request: HttpRequest, role: Role, question: Question) -> HttpResponse:
    shown = {**context(request, role, question.title), "question": question, "tabs": ()}
    return render(request, "admin/cache_admin/traffic/confirm.html", shown)


def confirmed(request: HttpRequest, question: Question) -> bool:
    """Whether the word was typed; if not, the next page says so."""
    if request.POST.get("typed", "").strip() == question.word:
        return True
    messages.error(request, f"Nothing was done: to confirm, type {question.word} as it is.")
    return False
