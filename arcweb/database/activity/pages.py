"""Registers the pages of sessions and locks."""

from __future__ import annotations

from arcweb.database.activity import lock_views, looks, views  # noqa: F401 - looks register themselves
from arcweb.registry import Page, register_page

SEE, CANCEL = "database.view_server", "database.cancel_statement"
ONE = "postgres/activity/<int:pid>/<int:started>/"

register_page(
    Page("postgres/activity/", views.activity, "database_activity", "Activity", "PostgreSQL", SEE, order=20)
)
register_page(
    Page("postgres/locks/", lock_views.lock_page, "database_locks", "Locks", "PostgreSQL", SEE, order=25)
)
for _path, _view, _name, _permission in (
    (ONE, views.session_page, "database_session", SEE),
    (f"{ONE}cancel/", views.cancel, "database_cancel", CANCEL),
    (f"{ONE}end/", views.end, "database_end", CANCEL),
):
    register_page(Page(_path, _view, _name, _name, "PostgreSQL", _permission, listed=False))
