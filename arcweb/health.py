"""Whether the servers that ARC Web stands on answer, each within two seconds, frozen or not.

Each check returns a HealthResult whose sentence says what is wrong and what to do. Nothing here raises
for a sick server, and nothing shows a secret.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connections
from kombu.exceptions import OperationalError as BrokerError
from psycopg import OperationalError
from redis.exceptions import NoPermissionError, RedisError

from arcweb.celery import app as celery_app
from arcweb.libpq import ask, conninfo
from cache_admin import connections as redis_connections
from cache_admin.connections import ROLES, Role

#: Seconds for a whole check. The steps inside have shorter limits, so that their threads end as well.
DEADLINE = 2.0
STEP_SECONDS = 0.9
#: Seconds in which workers answer a ping. All of it is waited for, to count them.
PING_SECONDS = 1.0


@dataclass(frozen=True)
class HealthResult:
    """name: postgres, redis-cache, redis-state or celery. facts: what was measured, fit for JSON."""

    name: str
    ok: bool
    sentence: str
    facts: dict[str, Any] = field(default_factory=dict)


def check_postgres() -> HealthResult:
    """PostgreSQL accepts the application's login, answers a query and takes writes."""
    return _within_deadline("postgres", _probe_postgres, f"{_postgres_name()} did not answer")


def check_redis(role: Role) -> HealthResult:
    """That role's server accepts the password, answers, and can take writes."""
    who = f"Redis ({role} role at {redis_connections.address(role)}) did not answer"
    return _within_deadline(f"redis-{role}", lambda: _probe_redis(role), who)


def check_celery() -> HealthResult:
    """Every queue has a worker that answers. Facts: workers; for each queue its workers and waiting tasks."""
    # Loaded before the clock runs: imports are no fault of the broker's.
    with celery_app.connection_for_write() as connection:
        _ = connection.transport
    return _within_deadline("celery", _probe_celery, "The broker (Redis, state role) did not answer Celery")


Answer = queue.SimpleQueue[HealthResult | Exception]
#: What `manage.py health` knows, by the name it is called.
CHECKS: dict[str, list[Callable[[], HealthResult]]] = {
    "postgres": [check_postgres],
    "redis": [lambda role=role: check_redis(role) for role in ROLES],  # type: ignore[misc]
    "celery": [check_celery],
}


def register_health(name: str, check: Callable[[], HealthResult]) -> None:
    """Add a check to those of that name, in an app's `ready`. It keeps DEADLINE itself, and never raises."""
    known = CHECKS.setdefault(name, [])
    if check not in known:
        known.append(check)


def check_all(names: Sequence[str] | None = None) -> list[HealthResult]:
    """The checks of those names (keys of CHECKS; default all), run at once, in the time of the slowest."""
    checks = [check for name in (CHECKS if names is None else names) for check in CHECKS[name]]
    return [_result(answer) for answer in [_start(check) for check in checks]]


def _start(check: Callable[[], HealthResult]) -> Answer:
    answer: Answer = queue.SimpleQueue()

    def work() -> None:
        try:
            answer.put(check())
        except Exception as error:  # noqa: BLE001 - handed to the thread that asked
            answer.put(error)

    threading.Thread(target=work, daemon=True).start()
    return answer


def _result(answer: Answer, timeout: float | None = None) -> HealthResult:
    result = answer.get(timeout=timeout)
    if isinstance(result, Exception):
        raise result
    return result


def _within_deadline(name: str, probe: Callable[[], HealthResult], late: str) -> HealthResult:
    """What the probe says, or that it came late. Only name resolution keeps a thread beyond the deadline."""
    try:
        return _result(_start(probe), DEADLINE)
    except queue.Empty:
        return HealthResult(
            name,
            ok=False,
            sentence=f"{late} within {DEADLINE:g} s: it is frozen, overloaded or unreachable, or its "
            "host name does not resolve.",
        )


# --- PostgreSQL --------------------------------------------------------------------------------

POSTGRES_FACTS = """
    SELECT current_setting('server_version'),
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
           current_setting('max_connections'),
           pg_is_in_recovery(),
           (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
           to_regclass('agents.memories') IS NOT NULL
"""


def _probe_postgres() -> HealthResult:
    started = time.monotonic()
    who = _postgres_name()
    try:
        values = ask(conninfo(_database()), POSTGRES_FACTS, started + 2 * STEP_SECONDS)
    except TimeoutError:
        return HealthResult("postgres", ok=False, sentence=silent_postgres(2 * STEP_SECONDS))
    except OperationalError as error:
        return HealthResult("postgres", ok=False, sentence=explain_postgres(str(error)))
    version, used, limit, standby, vector, migrated = values
    facts = {
        "version": version,
        "connections": int(used or 0),
        "max_connections": int(limit or 0),
        "standby": standby == "t",
        "pgvector": vector,
        "migrated": migrated == "t",
        "milliseconds": _since(started),
    }
    if facts["standby"]:
        return HealthResult(
            "postgres",
            False,
            f"{who} is a standby and takes no writes: POSTGRES_HOST must be the primary.",
            facts,
        )
    if vector is None:
        return HealthResult(
            "postgres",
            ok=False,
            sentence=f"{who} lacks the extension vector: a superuser must run CREATE EXTENSION vector in it.",
            facts=facts,
        )
    sentence = (
        f"{who} answers in {facts['milliseconds']:g} ms: version {version} with pgvector {vector}, "
        f"{used} of {limit} connections in use."
    )
    if not facts["migrated"]:
        sentence += " It has no tables yet: `make migrate-postgres` makes them."
    return HealthResult("postgres", ok=True, sentence=sentence, facts=facts)


def _database() -> dict[str, Any]:
    return connections["default"].settings_dict


def _postgres_name() -> str:
    database = _database()
    return f"PostgreSQL (database {database['NAME']} at {database['HOST'] or 'the local socket'})"


def silent_postgres(seconds: float) -> str:
    """A sentence for a PostgreSQL that did not answer in that time."""
    return (
        f"{_postgres_name()} did not answer within {seconds:g} s: it is frozen, overloaded or behind a "
        "firewall that drops packets."
    )


def explain_postgres(message: str) -> str:
    """libpq's message, which names no password, and what to do. Other than English texts stay as they are."""
    start = (
        "`make run` or `manage.py embedded start` starts it"
        if settings.ARC_EMBEDDED
        else "start it, or correct POSTGRES_HOST and POSTGRES_PORT"
    )
    advice = {
        "Connection refused": f"nothing listens there; {start}",
        "No such file or directory": f"it is not running; {start}",
        "could not translate host name": "correct POSTGRES_HOST",
        "password authentication failed": "POSTGRES_PASSWORD must be the one of the role in POSTGRES_USER",
        "no password supplied": "set POSTGRES_PASSWORD",
        "does not exist": "create it with arcweb/embedded/init.sql, or correct POSTGRES_DB and POSTGRES_USER",
        "no pg_hba.conf entry": "the server's pg_hba.conf must allow this machine",
        "SSL": "POSTGRES_SSLMODE must match what the server offers",
        "starting up": "it will answer when it has recovered",
        "too many": "raise max_connections, or close sessions that are idle",
        "remaining connection slots": "raise max_connections, or close sessions that are idle",
    }
    # libpq adds guesses in lines that begin with a tab.
    reason = " ".join(line.strip() for line in message.splitlines() if not line.startswith("\t"))
    todo = next((text for sign, text in advice.items() if sign in reason), "see the server's log")
    return f"{_postgres_name()} cannot be used ({reason}): {todo}."


# --- Redis -------------------------------------------------------------------------------------


def _probe_redis(role: Role) -> HealthResult:
    name = f"redis-{role}"
    started = time.monotonic()
    with redis_connections.client(role, timeout=STEP_SECONDS) as client:
        try:
            redis_connections.ping(client)
            facts: dict[str, Any] = {"milliseconds": _since(started)}
            try:
                info = client.info()
            except NoPermissionError:
                info = {}
        except RedisError as error:
            return HealthResult(name, ok=False, sentence=redis_connections.explain(role, error))
    who = f"Redis ({role} role at {redis_connections.address(role)})"
    if not info:
        return HealthResult(
            name, True, f"{who} answers; its ACL forbids INFO, so whether it takes writes is unknown.", facts
        )
    facts |= {
        "server": "valkey" if info.get("server_name") == "valkey" else "redis",
        "version": info.get("valkey_version") or info.get("redis_version"),
        "used_bytes": info.get("used_memory"),
        "max_bytes": info.get("maxmemory"),
        "policy": info.get("maxmemory_policy"),
        "clients": info.get("connected_clients"),
        "append_only": bool(info.get("aof_enabled")),
    }
    if trouble := _redis_trouble(info):
        return HealthResult(name, ok=False, sentence=f"{who} {trouble}", facts=facts)
    limit = f"of {_megabytes(facts['max_bytes'])}" if facts["max_bytes"] else "without a limit"
    sentence = (
        f"{who} answers in {facts['milliseconds']:g} ms: {facts['server']} {facts['version']}, "
        f"{_megabytes(facts['used_bytes'])} used {limit}, policy {facts['policy']}."
    )
    if role == "state" and facts["policy"] not in ("noeviction", None):
        sentence += " That policy may evict queued tasks and locks: set maxmemory-policy noeviction."
    return HealthResult(name, ok=True, sentence=sentence, facts=facts)


def _redis_trouble(info: dict[str, Any]) -> str:
    """Why a server that answers would refuse writes, by its INFO; "" when nothing says so."""
    if info.get("role") not in ("master", None):
        return "is a replica and takes no writes: its URL must lead to the primary."
    if info.get("aof_last_write_status") == "err":
        return "cannot write its append-only file and refuses writes: see whether its disk is full."
    if info.get("rdb_last_bgsave_status") == "err":
        return "could not save its data and may refuse writes: see whether its disk is full, then run BGSAVE."
    full = 0 < info.get("maxmemory", 0) <= info.get("used_memory", 0)
    if full and info.get("maxmemory_policy") == "noeviction":
        return "is full and refuses writes: raise maxmemory, or delete keys."
    return ""


def _megabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1024**2:.1f} MiB"


# --- Celery ------------------------------------------------------------------------------------


def _probe_celery() -> HealthResult:
    broker = _ping_broker()
    if broker is not None:
        return HealthResult(
            "celery",
            ok=False,
            sentence=f"Celery cannot be asked, because its broker cannot be used. {broker}",
        )
    try:
        with celery_app.connection_for_write() as connection:
            replies = celery_app.control.broadcast(
                "active_queues", reply=True, timeout=PING_SECONDS, connection=connection
            )
            # Not passive: Kombu looks for the queue without its key prefix and would find none. On Redis
            # a declaration writes nothing.
            waiting = {
                name: connection.default_channel.queue_declare(name).message_count
                for name in settings.CELERY_TASK_QUEUES
            }
    except (BrokerError, RedisError) as error:
        return HealthResult(
            "celery", ok=False, sentence=f"The broker (Redis, state role) failed Celery: {error}"
        )
    serving = {name: queues for reply in replies or () for name, queues in reply.items()}
    return _told_by_workers(serving, waiting)


def _told_by_workers(serving: dict[str, Any], waiting: dict[str, int]) -> HealthResult:
    """serving: what each worker answered: its queues as Celery describes them. waiting: tasks by queue."""
    workers = sorted(serving)
    queues = {
        queue: {
            "workers": [name for name in workers if queue in _queue_names(serving[name])],
            "waiting": count,
        }
        for queue, count in waiting.items()
    }
    facts = {"workers": workers, "queues": queues}
    queued = f"waiting tasks: {', '.join(f'{count} in {queue}' for queue, count in waiting.items())}"
    if not workers:
        return HealthResult(
            "celery",
            ok=False,
            sentence=f"No Celery worker answered within {PING_SECONDS:g} s; {queued}. `make run` runs them; "
            "by hand it is `celery -A arcweb worker`. If one runs, its log says what keeps it.",
            facts=facts,
        )
    found = "1 Celery worker answers" if len(workers) == 1 else f"{len(workers)} Celery workers answer"
    found += f" ({', '.join(workers)})"
    if idle := [queue for queue, fact in queues.items() if not fact["workers"]]:
        return HealthResult(
            "celery",
            ok=False,
            sentence=f"{found}, but none serves the queue {' or '.join(idle)}; {queued}. `make run` "
            f"runs one; by hand it is `celery -A arcweb worker --queues {','.join(idle)}`.",
            facts=facts,
        )
    return HealthResult("celery", ok=True, sentence=f"{found}; {queued}.", facts=facts)


def _queue_names(queues: Any) -> set[str]:
    """The names in a worker's answer; none when it answered with an error instead of a list."""
    return {queue["name"] for queue in queues} if isinstance(queues, list) else set()


def _ping_broker() -> str | None:
    """None when the broker answers, else the sentence: Celery itself would retry beyond the deadline."""
    with redis_connections.client("state", timeout=STEP_SECONDS / 2) as client:
        try:
            client.ping()
        except RedisError as error:
            return redis_connections.explain("state", error)
    return None


def _since(started: float) -> float:
    """Milliseconds since that time.monotonic()."""
    return round((time.monotonic() - started) * 1000, 1)
