"""The page Clients."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from arcweb.events import record
from arcweb.panels import Row
from cache_admin import connections
from cache_admin.asking import Question, confirmed
from cache_admin.connections import Role
from cache_admin.rooms import context, link, redis_page
from cache_admin.server.capabilities import capabilities
from cache_admin.traffic import clients

TITLE = "Clients"
MOST_SHOWN = 300
LONGEST_WORDS = 100


@require_safe
@redis_page(TITLE)
def client_list(request: HttpRequest, role: Role) -> HttpResponse:
    """Everybody who is connected: `kind`, `q` and `order` reduce and order the table."""
    shown: dict[str, Any] = context(request, role, TITLE)
    kind, order = request.GET.get("kind", ""), request.GET.get("order", "idle")
    if kind not in clients.KINDS or order not in clients.ORDERS:
        raise BadRequest("There is no such kind or order of clients; choose one from the form.")
    words = request.GET.get("q", "").strip()[:LONGEST_WORDS]
    may = capabilities(role)
    shown |= {
        "kind": kind,
        "order": order,
        "words": words,
        "kinds": {name: title for name, (title, _) in clients.KINDS.items()},
        "orders": {name: title for name, (title, _) in clients.ORDERS.items()},
        "why_not": may.why_not("CLIENT LIST"),
        "why_no_kill": may.why_not("CLIENT KILL"),
    }
    if not shown["why_not"]:
        with connections.client(role) as server:
            everybody = clients.listed(server)
            most: Any = server.info("clients").get("maxclients")
        found = clients.chosen(everybody, kind, words, order)
        shown |= {
            "clients": found[:MOST_SHOWN],
            "found": len(found),
            "total": len(everybody),
            "blocked": sum(client.blocked for client in everybody),
            "watching": sum(client.watching for client in everybody),
            "most": most,
        }
    return render(request, "admin/cache_admin/traffic/clients.html", shown)


@require_http_methods(["GET", "HEAD", "POST"])
@redis_page("End a connection")
def client_kill(request: HttpRequest, role: Role, client_id: int) -> HttpResponse:
    """End one connection: GET asks, POST wants its id typed."""
    if why_not := capabilities(role).why_not("CLIENT KILL"):
        raise BadRequest(why_not)
    back = link("redis_clients", role)
    with connections.client(role) as server:
        client = clients.find(server, client_id)
        if client is None or client.own:
            raise Http404(f"No client of this server has the id {client_id}; it is gone already.")
        question = _question(client, role, back)
        if asks := confirmed(request, role, question):
            return asks
        data = {"role": role, "id": client.id, "command": client.command, "database": client.database}
        record("redis.client_killed", label=client.name or "unnamed", data=data)
        if clients.kill(server, client_id):
            messages.success(request, f"The connection {client_id} is ended. {client.breaks}")
        else:
            messages.warning(request, f"The connection {client_id} had gone by itself.")
    return redirect(back)


def _question(client: clients.Client, role: Role, back: str) -> Question:
    purpose = f"It is one of this project's: {client.purpose}. " if client.ours else ""
    return Question(
        title=f"End the connection {client.id}",
        sentence=f"{purpose}{client.breaks}",
        facts=(
            Row("Name", client.name or "unnamed"),
            Row("Address", client.address, mono=True),
            Row("User, database", f"{client.user or 'unknown'}, {client.database}"),
            Row("Last command", f"{client.command}, {client.idling} ago", mono=True),
            Row("Connected for", client.lasting),
            Row("State", ", ".join(client.flags_in_words) or "nothing special"),
        ),
        wanted=str(client.id),
        button="End this connection",
        back=back,
    )
