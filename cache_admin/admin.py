"""The pages of the Redis rooms: each area registers its own."""

from cache_admin.keys import pages as keys_pages  # noqa: F401
from cache_admin.server import pages as server_pages  # noqa: F401
from cache_admin.structures import pages as structures_pages  # noqa: F401
from cache_admin.traffic import pages as traffic_pages  # noqa: F401
