"""The stack that Django's settings describe."""

from __future__ import annotations

from django.conf import settings

from arcweb.embedded.server import StackOptions
from arcweb.embedded.stack import Stack


def stack_from_settings(*, dies_with_parent: bool = False) -> Stack:
    """The embedded stack of this project's settings, not started. A role served elsewhere is left out."""
    layout = settings.ARC_LAYOUT
    addresses = {"cache": settings.REDIS_URL, "state": settings.REDIS_STATE_URL}
    return Stack(
        layout,
        StackOptions(
            server_user=settings.ARC_SERVER_USER,
            database_user=settings.POSTGRES_USER,
            database=settings.POSTGRES_DB,
            template_database=settings.ARC_TEMPLATE_DATABASE,
            cache_maxmemory=settings.REDIS_MAXMEMORY,
            cache_policy=settings.REDIS_MAXMEMORY_POLICY,
            roles=tuple(role for role, url in addresses.items() if str(layout.valkey_socket(role)) in url),
            dies_with_parent=dies_with_parent,
        ),
    )
