"""The pages of the PostgreSQL rooms: each area registers its own."""

from arcweb.database.storage import pages as storage_pages  # noqa: F401
