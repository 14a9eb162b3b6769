"""The addresses of what people build with Redis: sessions, locks, limits, leaderboards."""

from __future__ import annotations

from arcweb.registry import Group, Page, register_page
from cache_admin.structures import leaderboard_views, limit_views, lock_views, session_views

VIEW = "cache_admin.view_keys"
GROUP: Group = "Redis"
register_page(
    Page(
        "redis/sessions/",
        session_views.sessions_page,
        "redis_sessions",
        "Stored sessions",
        GROUP,
        VIEW,
        order=30,
    )
)
register_page(Page("redis/locks/", lock_views.locks_page, "redis_locks", "Locks", GROUP, VIEW, order=75))
register_page(
    Page("redis/limits/", limit_views.limits_page, "redis_limits", "Rate limits", GROUP, VIEW, order=80)
)
register_page(
    Page(
        "redis/leaderboards/",
        leaderboard_views.leaderboards_page,
        "redis_leaderboards",
        "Leaderboards",
        GROUP,
        VIEW,
        order=85,
    )
)
for path, view, name, title, permission in (
    ("leaderboards/board/", leaderboard_views.leaderboard_page, "redis_leaderboard", "Leaderboard", VIEW),
    (
        "leaderboards/change/",
        leaderboard_views.change,
        "redis_leaderboard_change",
        "Change a leaderboard",
        "cache_admin.change_leaderboard",
    ),
    ("limits/reset/", limit_views.reset, "redis_limit_reset", "Reset a limit", "cache_admin.reset_limit"),
    (
        "locks/release/",
        lock_views.release,
        "redis_lock_release",
        "Release a lock",
        "cache_admin.release_lock",
    ),
    (
        "sessions/delete/",
        session_views.delete,
        "redis_session_delete",
        "Delete a session",
        "cache_admin.delete_keys",
    ),
):
    register_page(Page(f"redis/{path}", view, name, title, GROUP, permission, listed=False))
