"""{% load servers %}{% servers_away as gone %}: the servers that are known to be away, from memory."""

from __future__ import annotations

from django import template

from arcweb import servers
from arcweb.servers import ServerState

register = template.Library()


@register.simple_tag
def servers_away() -> list[ServerState]:
    """Each with title, lasting ("12 s"), reason, effect, since; [] while all is well or nobody looks."""
    return servers.away()
