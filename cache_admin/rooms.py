"""What the pages of the Redis rooms share: which role is asked for, its tabs, and its absence in words."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from redis.exceptions import MovedError, NoPermissionError, RedisError

from arcweb import servers
from cache_admin import connections
from cache_admin.connections import ROLES, SERVERS, Role
from cache_admin.keys.secrecy import PERMISSION, Rule
from cache_admin.server.capabilities import capabilities

View = Callable[..., HttpResponse]


def role_of(request: HttpRequest, default: Role = "cache") -> Role:
    """The role that the address names (?role=state), else the page's own default."""
    asked = request.GET.get("role", "")
    return next((role for role in ROLES if role == asked), default)


def context(request: HttpRequest, role: Role, title: str) -> dict[str, Any]:
    """The site's context with the tabs that lead to the same page of the other role."""
    return {
        **admin.site.each_context(request),
        "title": title,
        "role": role,
        "tabs": [{"role": other, "url": f"?role={other}", "current": other == role} for other in ROLES],
        "address": connections.address(role),
        "node_of_cluster": getattr(request, "redis_node", False),
    }


def redis_page(title: str, *, default: Role = "cache") -> Callable[[View], View]:
    """Decorates a view `(request, role, ...)`: a server that is away, or whose ACL forbids what the page
    cannot do without, or that is the wrong node of a Cluster, is told in words, within its timeout.

    The prober's knowledge is used first, so that a frozen server costs one timeout once, not on every page.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            role = role_of(request, default)
            known = servers.state_of(SERVERS[role])
            if known.up is False:
                return _away(request, role, title, known.sentence)
            try:
                request.redis_node = capabilities(role).mode == "cluster"  # type: ignore[attr-defined]
                return view(request, role, *args, **kwargs)
            except (NoPermissionError, MovedError) as error:
                return _away(request, role, title, connections.explain(role, error), answers=True)
            except RedisError as error:
                servers.suspect(SERVERS[role])
                return _away(request, role, title, connections.explain(role, error))

        return wrapped

    return decorate


def rule_of(request: HttpRequest, key: bytes, kind: str) -> Rule:
    """What this person may read of the key's value, on whatever page."""
    return Rule(key, kind, sees=request.user.has_perm(PERMISSION))


def _away(
    request: HttpRequest, role: Role, title: str, sentence: str, *, answers: bool = False
) -> HttpResponse:
    """answers: the server is there, and refuses."""
    shown = {
        **context(request, role, title),
        "sentence": sentence,
        "answers": answers,
        "server": servers.state_of(SERVERS[role]),
    }
    if getattr(request, "htmx", False):
        return render(request, "admin/cache_admin/_away.html", shown, status=503)
    return render(request, "admin/cache_admin/away.html", shown, status=503)


def link(name: str, role: Role, query: str = "") -> str:
    """The address of a page of these rooms ("redis_keys") for a role."""
    return f"{reverse(f'admin:{name}')}?role={role}{'&' if query else ''}{query}"
