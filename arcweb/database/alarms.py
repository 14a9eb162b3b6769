"""The alarms of the PostgreSQL rooms: each area registers its own."""

from arcweb.database.storage import alarms as storage_alarms  # noqa: F401
