"""Jobs on keys: counting and deleting by pattern, and the survey of big keys."""

from __future__ import annotations

from typing import Any, cast

from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from arcweb.jobs.context import JobContext
from arcweb.jobs.exceptions import JobFailed, RetryLater
from arcweb.jobs.registry import handler
from cache_admin import connections
from cache_admin.connections import Role
from cache_admin.keys import bigkeys, mass
from cache_admin.keys.kinds import BIG_KEYS, COUNT_KEYS, DELETE_KEYS, why_not_delete
from cache_admin.keys.names import read_pattern

#: Seconds for one answer: nobody waits at a page.
TIMEOUT = 5.0
RETRY_AFTER = 15
CANNOT_SAVE = "The server takes no changes until it has saved its data: its page says how that is mended."


def _role(context: JobContext) -> Role:
    return cast("Role", context.params["role"])


def _client(context: JobContext) -> Redis:
    return connections.client(_role(context), timeout=TIMEOUT)


def _failed(context: JobContext, error: RedisError) -> Exception:
    words = connections.explain(_role(context), error)
    return JobFailed(words) if isinstance(error, NoPermissionError) else RetryLater(RETRY_AFTER, words)


@handler(COUNT_KEYS, label="Count Redis keys", unit="keys looked at")
def run_count(context: JobContext) -> dict[str, Any]:
    """params: {"role", "pattern"}. Result: `mass.Count`."""
    try:
        with _client(context) as client:
            pattern = read_pattern(context.params["pattern"])
            return mass.count(client, pattern, context.progress, context.wait).as_json()
    except RedisError as error:
        raise _failed(context, error) from error


@handler(DELETE_KEYS, label="Delete Redis keys", unit="keys looked at", permission="cache_admin.delete_keys")
def run_delete(context: JobContext) -> dict[str, Any]:
    """params: {"role", "pattern", "confirmed": keys}. Result: {"deleted"}. Deletes in one run alone: whoever
    confirmed the number confirmed it for that."""
    begun = False
    try:
        with _client(context) as client:
            if not connections.takes_changes(client):  # nor does one that is away spend a confirmation
                raise RetryLater(RETRY_AFTER, CANNOT_SAVE)
            if why_not := why_not_delete(context.id):
                raise JobFailed(why_not)
            begun = True
            pattern = read_pattern(context.params["pattern"])
            confirmed = int(context.params["confirmed"])
            return {"deleted": mass.delete(client, pattern, confirmed, context.progress, context.wait)}
    except mass.MoreThanConfirmedError as error:
        raise JobFailed(str(error)) from error
    except RedisError as error:
        failed = _failed(context, error)
        raise (JobFailed(f"{failed} Count again what is left.") if begun else failed) from error


@handler(BIG_KEYS, label="Measure Redis keys", unit="keys looked at")
def run_big_keys(context: JobContext) -> dict[str, Any]:
    """params: {"role"}. Result: {"keys", "bytes", "_survey": `bigkeys.Survey`}."""
    try:
        with _client(context) as client:
            found = bigkeys.survey(client, context.progress, context.wait)
    except RedisError as error:
        raise _failed(context, error) from error
    return {"keys": found.keys, "bytes": found.bytes, "_survey": found.as_json()}
