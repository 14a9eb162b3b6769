"""The page of the server itself, and its part of the verdict."""

from __future__ import annotations

from arcweb.database.overview import looks, views
from arcweb.registry import Page, register_page

register_page(
    Page(
        "postgres/",
        views.database_overview,
        "database_overview",
        "Server",
        "PostgreSQL",
        "database.view_server",
        order=10,
    )
)

__all__ = ["looks"]
