"""The value of a key as a file: a string as it is, everything else as JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe
from redis import Redis

from arcweb.limited import limited
from cache_admin import connections
from cache_admin.connections import Role
from cache_admin.keys import elements, export, names, values
from cache_admin.keys.addressed import key_url, key_view
from cache_admin.keys.audit import note
from cache_admin.keys.secrecy import Rule
from cache_admin.keys.values import PREVIEW, Facts
from cache_admin.rooms import rule_of


@require_safe
@limited("api", "files")
@key_view
def download(request: HttpRequest, role: Role, client: Redis, key: bytes) -> Any:
    """Read piece by piece; where what was read is of no use any more the download breaks off."""
    known = values.facts(client, key)
    rule = rule_of(request, key, known.kind)
    if known.kind == "string":
        beginning: Any = client.getrange(key, 0, PREVIEW - 1)
        why_not = rule.why_no_download(beginning, known.length)
        if not why_not and len(beginning) < known.length:
            try:
                why_not = rule.why_no_rest(values.pieces(client, key, known.length))
            except values.Torn as error:
                messages.error(request, str(error))
                return redirect(key_url(role, key))
        if why_not:
            raise PermissionDenied(why_not)
        content, form, suffix = _string(role, key, known.length), "application/octet-stream", "bin"
    elif known.kind in elements.KINDS:
        content, form, suffix = _lines(role, key, known, rule), "application/jsonl", "jsonl"
    else:
        raise Http404(f"A value of the type {known.kind} belongs to a module, and only its commands read it.")
    note("redis.key_download", role, key, type=known.kind)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", names.shown(key, 80)).strip("._") or "value"
    response = StreamingHttpResponse(content, content_type=form)
    response["Content-Disposition"] = content_disposition_header(True, f"{name}.{suffix}")
    if known.kind == "string":
        response["Content-Length"] = str(known.length)
    response["Cache-Control"] = "no-store"
    return response


def _string(role: Role, key: bytes, length: int) -> Iterator[bytes]:
    with connections.client(role) as client:
        yield from values.pieces(client, key, length)


def _lines(role: Role, key: bytes, known: Facts, rule: Rule) -> Iterator[bytes]:
    with connections.client(role) as client:
        yield from export.lines(client, key, known, rule)
