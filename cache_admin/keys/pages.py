"""The pages of keys, as the site lists them."""

from __future__ import annotations

from arcweb.registry import Page, register_page, register_shortcut
from cache_admin.keys import (
    actions,
    bigkeys_views,
    download_views,
    element_views,
    now,
    pattern_views,
    views,
)

VIEW, CHANGE, DELETE = (f"cache_admin.{verb}_keys" for verb in ("view", "change", "delete"))
#: No key has the address "delete", which is the page of patterns: it is no base64 that code_of() writes.
KEY = "redis/keys/<str:code>/"

register_page(Page("redis/keys/", views.browse, "redis_keys", "Keys", "Redis", VIEW, order=20))
register_page(
    Page("redis/bigkeys/", bigkeys_views.page, "redis_bigkeys", "Big keys", "Redis", VIEW, order=25)
)
for path, view, name, title, permission in (
    ("redis/keys/delete/", pattern_views.page, "redis_delete_keys", "Delete keys by pattern", DELETE),
    (KEY, views.key_page, "redis_key", "Key", VIEW),
    (f"{KEY}download/", download_views.download, "redis_key_download", "Download a value", VIEW),
    (f"{KEY}now/", now.now, "redis_key_now", "What has become of a key", VIEW),
    (f"{KEY}element/", element_views.change_element, "redis_key_element", "Change an element", CHANGE),
    (f"{KEY}value/", actions.change_value, "redis_key_value", "Change a value", CHANGE),
    (f"{KEY}expiry/", actions.change_expiry, "redis_key_expiry", "Change an expiry", CHANGE),
    (f"{KEY}rename/", actions.rename, "redis_key_rename", "Rename a key", CHANGE),
    (f"{KEY}delete/", actions.delete, "redis_key_delete", "Delete a key", DELETE),
):
    register_page(Page(path, view, name, title, "Redis", permission, listed=False))
register_shortcut("redis_delete_keys")
