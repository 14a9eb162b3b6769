"""The settings of a server, and changing one after a look at the difference."""

from __future__ import annotations

from itertools import groupby

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe
from redis import Redis

from cache_admin import connections, rooms
from cache_admin.asking import Question, confirmed
from cache_admin.connections import Role
from cache_admin.rooms import redis_page
from cache_admin.server import catalogue, configuration
from cache_admin.server.capabilities import capabilities
from cache_admin.server.catalogue import SETTINGS
from cache_admin.server.configuration import ConfigError
from cache_admin.server.eviction import POLICIES


@require_safe
@redis_page("Configuration")
def redis_config(request: HttpRequest, role: Role) -> HttpResponse:
    """Current against recommended, with the reason."""
    known = capabilities(role)
    why_not = known.why_not("CONFIG GET")
    found: list[configuration.Line] = []
    locked: list[configuration.Locked] = []
    if not why_not:
        with connections.client(role) as client:
            found, locked = configuration.lines(role, client), configuration.protected(client)
    return render(
        request,
        "admin/cache_admin/server/config.html",
        {
            **rooms.context(request, role, "Configuration"),
            "why_not": why_not,
            "set_why_not": known.why_not("CONFIG SET"),
            "rewrite_why_not": known.why_not("CONFIG REWRITE"),
            "groups": [
                (name, list(lines)) for name, lines in groupby(found, lambda line: line.setting.group)
            ],
            "others": [line for line in found if line.fits is False],
            "settings": len(found),
            "locked": locked,
            "embedded": _embedded(role),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@redis_page("Change a setting")
def redis_config_change(request: HttpRequest, role: Role) -> HttpResponse:
    """Three steps: type a value; see the difference and type the setting's name; it is set."""
    name = request.GET.get("name", "")
    setting = SETTINGS.get(name)
    if setting is None:
        why = catalogue.PROTECTED.get(name)
        raise Http404(
            f"{name} is not changed from here: {why}" if why else f"No setting {name!r} is changed here."
        )
    known = capabilities(role)
    why_not = known.why_not("CONFIG GET") or known.why_not("CONFIG SET")
    posted = request.POST
    step = posted.get("step", "") if request.method == "POST" else ""
    if step not in ("", "look", "set"):
        raise BadRequest("The step of a change is look or set.")
    back = rooms.link("redis_config", role)
    shown = {
        **rooms.context(request, role, f"Change {setting.name}"),
        "tabs": [],
        "setting": setting,
        "advice": setting.advice[role],
        "why_not": why_not,
        "rewrite_why_not": known.why_not("CONFIG REWRITE"),
        "embedded": _embedded(role),
        "back": back,
        "policies": POLICIES if setting.name == "maxmemory-policy" else {},
    }
    if why_not:
        return _change_page(request, shown, status=409 if step else 200)
    with connections.client(role) as client:
        current = configuration.read(client, [setting.name]).get(setting.name)
        if current is None:
            raise Http404(f"This server ({known.named}) has no setting {setting.name}.")
        value = " ".join(posted.get("value", "").split()) if step else current
        shown |= {"current": current, "value": value}
        if not step:
            return _change_page(request, shown)
        if wrong := catalogue.trouble(setting, value):
            return _change_page(request, shown | {"wrong": wrong}, status=400)
        if catalogue.same(setting, current, value):
            return _change_page(request, shown | {"wrong": "That is what it is already."}, status=400)
        used = float(client.info("memory").get("used_memory", 0)) if not known.why_not("INFO") else 0.0
        shown |= {"looking": True, "risk": catalogue.risk(role, setting.name, value, used=used)}
        if step == "look":
            return _change_page(request, shown | {"seen": current})
        shown["seen"] = posted.get("seen", "")
        if posted.get("typed", "").strip() != setting.name:
            return _change_page(request, shown | {"wrong": f"Type {setting.name} to confirm."}, status=400)
        try:
            now = configuration.change(role, client, setting, seen=shown["seen"], value=value)
        except ConfigError as error:
            return _change_page(request, shown | {"wrong": str(error), "seen": current}, status=409)
        messages.success(request, f"{setting.name} of the {role} role is {now or 'empty'} now.")
        if posted.get("keep"):
            _rewrite(request, role, client)
        else:
            messages.warning(request, "It lasts until the server restarts: it was not written to its file.")
    return HttpResponseRedirect(back)


@require_http_methods(["GET", "HEAD", "POST"])
@redis_page("Keep the settings")
def redis_config_rewrite(request: HttpRequest, role: Role) -> HttpResponse:
    """CONFIG REWRITE: what is set now outlasts a restart."""
    why_not = capabilities(role).why_not("CONFIG REWRITE")
    back = rooms.link("redis_config", role)
    again = (
        " The next start of this embedded server puts it in again; it wins over the environment until that "
        "is changed."
    )
    question = Question(
        "Keep the settings",
        f"Writes every present setting of the {role} role to the server's file, what others set meanwhile "
        f"too.{again if _embedded(role) else ''}",
        "",
        "Keep the settings",
        back,
        word="CONFIG REWRITE",
        tone="idle",
        leave="Leave the file",
        refused=why_not,
    )
    if asks := confirmed(request, role, question):
        return asks
    with connections.client(role) as client:
        _rewrite(request, role, client)
    return HttpResponseRedirect(back)


def _rewrite(request: HttpRequest, role: Role, client: Redis) -> None:
    try:
        configuration.rewrite(role, client)
    except ConfigError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The server's present settings are in its file, and outlast a restart.")


def _change_page(request: HttpRequest, shown: dict[str, object], *, status: int = 200) -> HttpResponse:
    return render(request, "admin/cache_admin/server/config_change.html", shown, status=status)


def _embedded(role: Role) -> bool:
    """Whether `manage.py embedded` runs that server, and writes its file at every start."""
    return bool(settings.ARC_EMBEDDED and connections.url(role) == settings.ARC_LAYOUT.redis_url(role))
