"""The page of big keys: the newest survey, and a button for another."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from arcweb.charts import size
from cache_admin.connections import Role
from cache_admin.keys import kinds
from cache_admin.keys.audit import note_survey
from cache_admin.keys.bigkeys import grown
from cache_admin.rooms import context, link, redis_page

TITLE = "Big keys"


@redis_page(TITLE)
def page(request: HttpRequest, role: Role) -> HttpResponse:
    """GET: the newest survey of the role. POST: start another."""
    if request.method == "POST":
        # It changes nothing, but costs the server some work: those may who may change keys.
        if not request.user.has_perm("cache_admin.change_keys"):
            raise PermissionDenied
        note_survey(role)
        kinds.ask_survey(role, link("redis_bigkeys", role))
        return redirect(link("redis_bigkeys", role))
    done = kinds.surveys(role)
    shown: dict[str, Any] = {
        **context(request, role, TITLE),
        "running": kinds.survey_under_way(role),
        "error": kinds.last_survey_error(role),
    }
    if done:
        shown |= _survey(role, done[0].result or {}, (done[1].result or {}) if len(done) > 1 else None)
        shown["measured_at"] = done[0].finished_at
        shown["before"] = done[1].finished_at if len(done) > 1 else None
    return render(request, "admin/cache_admin/keys/bigkeys.html", shown)


def _survey(role: Role, result: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    """The survey in words."""
    found = result.get("_survey", {})
    earlier = before.get("_survey") if before else None
    growth = grown(found, earlier)
    whole = max(1, found.get("bytes", 0))
    keys = [
        {
            **key,
            "url": f"{reverse('admin:redis_key', args=[key['code']])}?role={role}" if key["code"] else "",
            "size": size(key["bytes"]),
            "share": 100 * key["bytes"] / whole,
        }
        for key in found.get("top", [])
    ]
    prefixes = [
        {
            "name": name,
            "keys": one["keys"],
            "size": size(one["bytes"]),
            "share": 100 * one["bytes"] / whole,
            "grown": signed(growth[name]) if name in growth else "",
        }
        for name, one in largest(found.get("prefixes", {}))
    ]
    types = [
        {
            "name": name,
            "keys": one["keys"],
            "size": size(one["bytes"]),
            "share": 100 * one["bytes"] / whole,
            "mean": size(one["bytes"] / max(1, one["keys"])),
        }
        for name, one in largest(found.get("types", {}))
    ]
    total = found.get("bytes", 0)
    return {
        "survey": found,
        "keys_words": f"{found.get('keys', 0):,}",
        "total": size(total),
        "growth": signed(total - earlier["bytes"]) if earlier else "",
        "keys": keys,
        "prefixes": prefixes,
        "types": types,
        "seconds": found.get("seconds", 0),
    }


def largest(sums: dict[str, dict[str, int]]) -> list[tuple[str, dict[str, int]]]:
    """By memory; the database keeps no order of names."""
    return sorted(sums.items(), key=lambda item: -item[1]["bytes"])


def signed(difference: float) -> str:
    """A difference in bytes, for people."""
    return f"{'-' if difference < 0 else '+'}{size(abs(difference))}" if difference else "unchanged"
