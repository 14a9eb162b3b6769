"""The pages of the servers themselves."""

from __future__ import annotations

from arcweb.registry import Group, Page, register_page, register_shortcut
from cache_admin.server import config_views, eviction_views, views

SEE = "cache_admin.view_server"
GROUP: Group = "Redis"

for _page in (
    Page("redis/", views.redis_overview, "redis_overview", "Servers", GROUP, SEE, order=10),
    Page("redis/save/", views.redis_save, "redis_save", "Save", GROUP, "cache_admin.save_data", listed=False),
    Page(
        "redis/flush/",
        views.redis_flush,
        "redis_flush",
        "Empty the cache",
        GROUP,
        "cache_admin.flush_cache",
        listed=False,
    ),
    Page(
        "redis/eviction/", eviction_views.redis_eviction, "redis_eviction", "Eviction", GROUP, SEE, order=90
    ),
    Page("redis/config/", config_views.redis_config, "redis_config", "Configuration", GROUP, SEE, order=95),
    Page(
        "redis/config/change/",
        config_views.redis_config_change,
        "redis_config_change",
        "Change a setting",
        GROUP,
        "cache_admin.change_config",
        listed=False,
    ),
    Page(
        "redis/config/rewrite/",
        config_views.redis_config_rewrite,
        "redis_config_rewrite",
        "Keep the settings",
        GROUP,
        "cache_admin.change_config",
        listed=False,
    ),
):
    register_page(_page)
register_shortcut("redis_flush")
register_shortcut("redis_config_rewrite", "Keep the settings over restarts")
