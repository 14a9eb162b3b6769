"""The long work of the PostgreSQL rooms: each area's module declares its handlers."""

from arcweb.database.job_handlers import partitions, storage  # noqa: F401
