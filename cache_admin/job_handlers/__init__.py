"""What the job ledger runs for the Redis rooms: a module an area."""

from cache_admin.job_handlers import keys, saving  # noqa: F401 - each registers its handlers
