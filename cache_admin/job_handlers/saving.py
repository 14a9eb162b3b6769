"""Bringing a server's data to disk."""

from __future__ import annotations

from typing import Any

from redis.exceptions import RedisError

from arcweb.events import record
from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed
from arcweb.jobs.registry import handler
from cache_admin import connections
from cache_admin.server.saving import JOB_KIND, SaveError, run


@handler(JOB_KIND, label="Save Redis data", max_attempts=2)
def run_save(context: JobContext) -> dict[str, Any]:
    """params: {"role", "command"}. Twice is harmless: one under way is followed, a second only costs."""
    role, command = context.params["role"], context.params["command"]

    def tell(words: str) -> None:
        context.progress(0, message=words)

    try:
        return run(role, command, tell, context.wait)
    except SaveError as error:
        raise JobFailed(str(error)) from error
    except RedisError as error:
        words = connections.explain(role, error)
        record(
            "redis.save_failed",
            object_type="redis.server",
            object_id=role,
            data={"role": role, "command": command},
            note=words,
        )
        raise JobFailed(words) from error
