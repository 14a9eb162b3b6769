"""The pages of the Redis rooms: each area registers its own."""

from cache_admin.server import pages as server_pages  # noqa: F401
