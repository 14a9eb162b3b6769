"""What people do to one element of a hash, list, set, sorted set or stream."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import urlencode
from django.views.decorators.http import require_POST
from redis import Redis

from cache_admin.connections import Role
from cache_admin.keys import elements, names, values
from cache_admin.keys.addressed import gone_while_typing, key_url, key_view
from cache_admin.keys.audit import note
from cache_admin.keys.element_forms import WORDS, AnewForm, ElementForm
from cache_admin.keys.element_panel import label, panel
from cache_admin.keys.elements import ElementChanged, KeyGone, KeyThere, Made
from cache_admin.keys.scan import words
from cache_admin.keys.views import show
from cache_admin.rooms import link, rule_of


@require_POST
@key_view
def change_element(request: HttpRequest, role: Role, client: Redis, key: bytes) -> HttpResponse:
    """POST `do`: add, set or remove; `kind`: the type that the page showed; `code`: which element."""
    kind, do = request.POST.get("kind", ""), request.POST.get("do", "")
    known = kind in elements.KINDS and do in ("add", "set", "remove")
    if not known or (do == "set" and (kind, do) not in elements.STEPS):  # members and entries never change
        raise BadRequest("The form names no change: go back, reload the page and try again.")
    name = b""
    if do != "add":
        try:
            name = elements.read_code(kind, request.POST.get("code", ""))
        except ValueError as error:
            raise BadRequest(str(error)) from error
    if do == "remove":
        return _remove(request, role, client, key, kind, name)
    return _write(request, role, client, key, kind, name)


def _write(
    request: HttpRequest, role: Role, client: Redis, key: bytes, kind: str, name: bytes
) -> HttpResponse:
    adding = request.POST["do"] == "add"
    form = ElementForm(request.POST, kind=kind, change=not adding)
    anew = AnewForm(request.POST) if "anew" in request.POST else None
    if not form.is_valid() or (anew and not anew.is_valid()):
        return _refused(request, role, client, key, form, anew)
    made = Made(anew.cleaned_data["seconds"]) if anew else None
    if made is None and words(client.execute_command("TYPE", key)) != kind:
        return _gone(request, role, key, form)
    note(f"redis.element_{'add' if adding else 'set'}", role, key, type=kind)
    do, step = _step(kind, form.cleaned_data, name, adding=adding or (made is not None and kind == "list"))
    if made and not adding:
        step = (*step[:-1], "") if kind != "list" else step  # of a new key nothing was read
    try:
        elements.change(client, key, kind, do, *step, made=made)
    except ElementChanged as error:
        note("redis.key_conflict", role, key)
        return _conflict(request, role, client, key, form, name or _named(form), error.now)
    except KeyGone:
        return _gone(request, role, key, form)
    except KeyThere:
        return _gone(request, role, key, form, there=True)
    done = f"The {WORDS[kind]} was {'added' if adding else 'changed'}"
    if made:
        life = f"expires in {made.seconds:,} s" if made.seconds else "does not expire"
        messages.success(request, f"{done}: the key was made anew and {life}.")
    else:
        messages.success(request, f"{done}; the expiry of the key is as before.")
    return redirect(_back(request, role, key))


def _remove(
    request: HttpRequest, role: Role, client: Redis, key: bytes, kind: str, name: bytes
) -> HttpResponse:
    if words(client.execute_command("TYPE", key)) != kind:
        raise KeyGone
    shown = label(kind, name, rule_of(request, key, kind))[:80]
    note("redis.element_remove", role, key, type=kind)
    read = () if kind in ("set", "stream") else (request.POST.get("read", ""),)
    try:
        there = elements.change(client, key, kind, "remove", name, *read)
    except ElementChanged as error:
        note("redis.key_conflict", role, key)
        if error.now is None:
            messages.warning(request, f"The {WORDS[kind]} {shown} had been removed by somebody else already.")
            return redirect(_back(request, role, key))
        messages.error(
            request,
            f"Nothing was removed: somebody else changed the {WORDS[kind]} {shown} meanwhile. This is what "
            "it holds now.",
        )
        return redirect(_back(request, role, key, edit=request.POST.get("code", "")))
    if not there:
        messages.success(
            request,
            f"The {WORDS[kind]} {shown} was removed. It was the last, and the key {names.shown(key, 80)} is "
            "gone with it.",
        )
        return redirect(link("redis_keys", role))
    messages.success(request, f"The {WORDS[kind]} {shown} was removed; the expiry of the key is as before.")
    return redirect(_back(request, role, key))


Words = tuple[bytes | str, ...]


def _step(kind: str, cleaned: dict[str, Any], name: bytes, *, adding: bool) -> tuple[str, Words]:
    """The step of elements.STEPS and what it takes."""
    read = "" if adding else str(cleaned["read"])
    match kind:
        case "hash":
            return "set", (cleaned["field"] if adding and not name else name, cleaned["value"], read)
        case "list" if adding:
            return "add", (cleaned["value"], cleaned.get("end", "last"))
        case "list":
            return "set", (name, cleaned["value"], read)
        case "zset":
            return "set", (cleaned["member"] if adding and not name else name, cleaned["score"], read)
        case "set":
            return "add", (cleaned["member"],)
    return "add", tuple(word for pair in cleaned["pairs"] for word in pair)


def _named(form: ElementForm) -> bytes:
    """The field or member that was to be added."""
    name: bytes = form.cleaned_data.get("field") or form.cleaned_data.get("member") or b""
    return name


def _conflict(
    request: HttpRequest,
    role: Role,
    client: Redis,
    key: bytes,
    form: ElementForm,
    name: bytes,
    now: bytes | None,
) -> HttpResponse:
    """The page with what came between and what was typed; sending that again overwrites knowingly."""
    kind = form.kind
    if kind == "set":
        form.add_error("member", "It is a member already.")
        return show(request, role, client, key, forms={"new_form": form}, status=409)
    try:
        known = values.facts(client, key)
    except KeyGone:
        return _gone(request, role, key, form)
    code = request.POST.get("code") or elements.code_of(name)
    if not code:
        form.add_error("field" if kind == "hash" else "member", "There is one of this name already.")
        return show(request, role, client, key, forms={"new_form": form}, status=409)
    typed = {one: form.data.get(one, "") for one in (*form.names, "escaped")}
    made = panel(known, rule_of(request, key, kind), name, code, now, typed)
    return show(request, role, client, key, forms={"element": made}, status=409)


def _refused(
    request: HttpRequest, role: Role, client: Redis, key: bytes, form: ElementForm, anew: AnewForm | None
) -> HttpResponse:
    """What was typed, with what is wrong with it."""
    if anew:
        return _gone(request, role, key, form, anew=anew, status=400)
    try:
        if request.POST["do"] == "add":
            return show(request, role, client, key, forms={"new_form": form}, status=400)
        known = values.facts(client, key)
        code = request.POST["code"]
        name = elements.read_code(form.kind, code)
        now = elements.read(client, key, known.kind, name) if known.kind == form.kind else None
        made = panel(known, rule_of(request, key, known.kind), name, code, now)
        return show(request, role, client, key, forms={"element": replace(made, form=form)}, status=400)
    except KeyGone:
        return _gone(request, role, key, form, status=400)


def _gone(request: HttpRequest, role: Role, key: bytes, form: ElementForm, **more: Any) -> HttpResponse:
    hidden = {name: request.POST.get(name, "") for name in ("kind", "do", "code")}
    return gone_while_typing(
        request, role, key, form, fields=form.entries(), page="redis_key_element", hidden=hidden, **more
    )


def _back(request: HttpRequest, role: Role, key: bytes, **query: str) -> str:
    """The page of the key, at the place where the element was."""
    place = request.POST.get("place", "")
    asked = {**({"place": place} if place else {}), **query}
    return key_url(role, key) + (f"&{urlencode(asked)}" if asked else "")
