"""Registers the page of roles and safety."""

from arcweb.database.safety import looks, views  # noqa: F401 - looks register themselves
from arcweb.registry import Page, register_page

register_page(
    Page(
        "postgres/safety/",
        views.safety,
        "database_safety",
        "Roles and safety",
        "PostgreSQL",
        "database.view_safety",
        order=80,
    )
)
