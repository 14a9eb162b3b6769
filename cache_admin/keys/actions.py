"""What people do to one key. Each is a POST with its own permission, and an event before it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST
from redis import Redis

from cache_admin.connections import Role
from cache_admin.keys import decode, edit, names, values
from cache_admin.keys.addressed import gone_while_typing, key_url, key_view
from cache_admin.keys.audit import note
from cache_admin.keys.element_forms import AnewForm
from cache_admin.keys.elements import KeyGone
from cache_admin.keys.forms import ExpiryForm, RenameForm, ValueForm
from cache_admin.keys.views import show, to_type
from cache_admin.rooms import link

BRIEF = 80


@require_POST
@key_view
def change_value(request: HttpRequest, role: Role, client: Redis, key: bytes) -> HttpResponse:
    form = ValueForm(request.POST)
    if "anew" in request.POST:
        return _create(request, role, client, key, form)
    try:
        if not form.is_valid():
            return show(request, role, client, key, forms={"value_form": form}, status=400)
        new: bytes = form.cleaned_data["value"]
        values.facts(client, key)
        note("redis.key_edit", role, key, bytes=len(new))
        edit.change(client, key, form.cleaned_data["read"], new)
    except KeyGone:
        return _gone(request, role, key, form)
    except edit.Changed as error:
        note("redis.key_conflict", role, key)
        now = decode.decode(error.now, whole=error.whole)
        # What was typed stays in its field, beside what came between; sending it again overwrites that.
        again = ValueForm(
            initial={
                "value": new.decode(),
                "read": values.digest_of(error.now),
                "lived": form.cleaned_data["lived"],
            }
        )
        shown = {"value_form": again, "conflict": now, "conflict_whole": error.whole}
        return show(request, role, client, key, forms=shown, status=409)
    messages.success(request, "The value was changed; its expiry is as before.")
    return redirect(key_url(role, key))


def _create(request: HttpRequest, role: Role, client: Redis, key: bytes, form: ValueForm) -> HttpResponse:
    """Make the key anew that had gone while somebody wrote in it."""
    anew = AnewForm(request.POST)
    if not form.is_valid() or not anew.is_valid():
        return _gone(request, role, key, form, anew=anew, status=400)
    new, seconds = form.cleaned_data["value"], anew.cleaned_data["seconds"]
    note("redis.key_anew", role, key, bytes=len(new))
    try:
        edit.create(client, key, new, seconds)
    except edit.NameTaken:
        return _gone(request, role, key, form, there=True)
    life = f"expires in {seconds:,} s" if seconds else "does not expire"
    messages.success(request, f"The key was made anew and {life}.")
    return redirect(key_url(role, key))


def _gone(request: HttpRequest, role: Role, key: bytes, form: ValueForm, **more: Any) -> HttpResponse:
    return gone_while_typing(request, role, key, form, fields=[form["value"]], page="redis_key_value", **more)


@require_POST
@key_view
def change_expiry(request: HttpRequest, role: Role, client: Redis, key: bytes) -> HttpResponse:
    if "persist" in request.POST:
        values.facts(client, key)
        note("redis.key_persist", role, key)
        edit.persist(client, key)
        messages.success(request, "The key does not expire any more.")
        return redirect(key_url(role, key))
    form = ExpiryForm(request.POST)
    if not form.is_valid():
        return show(request, role, client, key, forms={"expiry_form": form}, status=400)
    values.facts(client, key)
    note("redis.key_expire", role, key, seconds=form.cleaned_data["seconds"])
    edit.expire(client, key, form.cleaned_data["seconds"])
    messages.success(request, f"The key expires {form.cleaned_data['seconds']:,} s from now.")
    return redirect(key_url(role, key))


@require_POST
@key_view
def rename(request: HttpRequest, role: Role, client: Redis, key: bytes) -> HttpResponse:
    form = RenameForm(request.POST)
    if not form.is_valid():
        return show(request, role, client, key, forms={"rename_form": form}, status=400)
    new: bytes = form.cleaned_data["name"]
    values.facts(client, key)
    note("redis.key_rename", role, key)
    try:
        edit.rename(client, key, new)
    except edit.NameTaken:
        form.add_error("name", "Another key has this name; nothing was changed.")
        return show(request, role, client, key, forms={"rename_form": form}, status=409)
    messages.success(request, f"The key is now named {names.shown(new, BRIEF)}.")
    return redirect(key_url(role, new))


@require_POST
@key_view
def delete(request: HttpRequest, role: Role, client: Redis, key: bytes) -> HttpResponse:
    wanted = to_type(key)
    if request.POST.get("typed", "").strip() != wanted:
        messages.error(request, f"Nothing was deleted: to confirm, type {wanted} as it is.")
        return redirect(key_url(role, key))
    values.facts(client, key)
    note("redis.key_delete", role, key)
    edit.delete(client, key)
    messages.success(request, f"The key {names.shown(key, BRIEF)} was deleted.")
    return redirect(link("redis_keys", role))
