"""The value of a key as a file: a string as it is, everything else as JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from arcweb.limited import limited
from cache_admin import connections
from cache_admin.connections import Role
from cache_admin.keys import elements, export, names, scan, values
from cache_admin.keys.audit import note
from cache_admin.keys.elements import KeyGone
from cache_admin.keys.secrecy import Rule
from cache_admin.keys.values import PREVIEW, Facts
from cache_admin.keys.views import gone, rule_of
from cache_admin.rooms import redis_page


@require_safe
@limited("api", "files")
@redis_page("Key")
def download(request: HttpRequest, role: Role, code: str) -> Any:
    """Read piece by piece; where what was read is of no use any more the download breaks off."""
    try:
        wanted = names.read_code(code)
    except ValueError as error:
        raise Http404(str(error)) from error
    with connections.client(role) as client:
        key = scan.find(client, wanted) if isinstance(wanted, names.LongName) else wanted
        if key is None:
            return gone(request, role, code)
        try:
            known = values.facts(client, key)
        except KeyGone:
            return gone(request, role, key)
        rule = rule_of(request, key, known.kind)
        if known.kind == "string":
            beginning: Any = client.getrange(key, 0, PREVIEW - 1)
            if why_not := rule.why_no_download(beginning, known.length):
                raise PermissionDenied(why_not)
    if known.kind == "string":
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
