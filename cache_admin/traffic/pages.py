"""Registers the pages about what goes on at a server."""

from __future__ import annotations

from arcweb.registry import Page, register_page, register_shortcut
from cache_admin.traffic import client_views, live_views, queue_views, slow_views

SEE, WATCH = "cache_admin.view_server", "cache_admin.watch_live"

register_page(
    Page("redis/clients/", client_views.client_list, "redis_clients", "Clients", "Redis", SEE, order=40)
)
register_page(
    Page("redis/slow/", slow_views.slow_commands, "redis_slow", "Slow commands", "Redis", SEE, order=50)
)
register_page(Page("redis/live/", live_views.live, "redis_live", "Live", "Redis", WATCH, order=60))
register_page(Page("redis/queues/", queue_views.queue_list, "redis_queues", "Queues", "Redis", SEE, order=70))

for _path, _view, _name, _permission in (
    (
        "clients/<int:client_id>/kill/",
        client_views.client_kill,
        "redis_client_kill",
        "cache_admin.kill_client",
    ),
    ("slow/reset/", slow_views.slow_reset, "redis_slow_reset", "cache_admin.reset_statistics"),
    ("slow/threshold/", slow_views.slow_threshold, "redis_slow_threshold", "cache_admin.change_config"),
    ("live/monitor/", live_views.monitor_start, "redis_monitor", WATCH),
    ("live/subscribe/", live_views.subscribe_start, "redis_subscribe", WATCH),
    ("live/publish/", live_views.publish, "redis_publish", "cache_admin.publish"),
    ("live/lease/<str:token>/", live_views.lease_lines, "redis_lease", WATCH),
    ("live/lease/<str:token>/stop/", live_views.lease_stop, "redis_lease_stop", WATCH),
    ("queues/<str:queue>/purge/", queue_views.queue_purge, "redis_queue_purge", "cache_admin.purge_queue"),
):
    register_page(Page(f"redis/{_path}", _view, _name, _name, "Redis", _permission, listed=False))
register_shortcut("redis_slow_reset", "Empty the log of slow commands")
