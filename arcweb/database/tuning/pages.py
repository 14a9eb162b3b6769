"""The addresses of the settings."""

from __future__ import annotations

from arcweb.database.tuning import judged, views  # noqa: F401 - the look registers itself
from arcweb.registry import Group, Page, register_page, register_shortcut

SEE, CHANGE = "database.view_server", "database.change_settings"
GROUP: Group = "PostgreSQL"

for _page in (
    Page("postgres/tuning/", views.database_tuning, "database_tuning", "Settings", GROUP, SEE, order=50),
    Page(
        "postgres/tuning/reload/",
        views.database_reload,
        "database_reload",
        "Reload",
        GROUP,
        CHANGE,
        listed=False,
    ),
    Page(
        "postgres/tuning/restart/",
        views.database_restart,
        "database_restart",
        "Restart PostgreSQL",
        GROUP,
        CHANGE,
        listed=False,
    ),
    Page(
        "postgres/tuning/<slug:name>/",
        views.database_setting,
        "database_setting",
        "Change a setting",
        GROUP,
        CHANGE,
        listed=False,
    ),
):
    register_page(_page)
register_shortcut("database_restart")
