"""Registers the page of replication."""

from __future__ import annotations

from arcweb.database.replication import looks, views  # noqa: F401 - looks register themselves
from arcweb.registry import Page, register_page

register_page(
    Page(
        "postgres/replication/",
        views.replication,
        "database_replication",
        "Replication",
        "PostgreSQL",
        "database.view_server",
        order=70,
    )
)
