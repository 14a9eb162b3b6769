"""Connections to the two Redis roles, and what their failures mean in words."""

from __future__ import annotations

from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from django.conf import settings
from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from arcweb.panels import Server

Role = Literal["cache", "state"]
ROLES: tuple[Role, ...] = get_args(Role)
SERVERS: dict[Role, Server] = {"cache": "redis-cache", "state": "redis-state"}
CLIENT_NAME = "arcweb-admin"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: What sending and reading raise when the server ends the connection: one client too many is ended unread.
ENDED = (BrokenPipeError, ConnectionResetError)
VARIABLES = {"cache": "REDIS_URL", "state": "REDIS_STATE_URL"}


def url(role: Role) -> str:
    """redis-py's URL of the role, password included: never to be shown."""
    return str(settings.REDIS_URL if role == "cache" else settings.REDIS_STATE_URL)


def address(role: Role) -> str:
    """Where the role's server is, fit for a person's eyes."""
    return server_of(url(role))


def server_of(url: str) -> str:
    """The server behind redis-py's URL, its socket's path or host:port, without user and password."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    host = parts.hostname or "localhost"
    return f"{'localhost' if host in LOOPBACK else host}:{parts.port or 6379}"


def client(role: Role, *, timeout: float | None = None, **options: Any) -> Redis:
    """A client of that role, named arcweb-admin in CLIENT LIST. Close it, or use it in `with`.

    timeout: seconds for connecting and for each answer; default ARC_REDIS_TIMEOUT. There is no retry, so
    that a server which is away costs one timeout. options: passed to redis-py. Nothing connects before
    the first command, which raises redis.exceptions.RedisError.
    """
    seconds = settings.ARC_REDIS_TIMEOUT if timeout is None else timeout
    return Redis.from_url(
        url(role),
        **{
            "client_name": CLIENT_NAME,
            "socket_connect_timeout": seconds,
            "socket_timeout": seconds,
            "retry": Retry(NoBackoff(), 0),
            **options,
        },
    )


def ping(client: Redis) -> None:
    """Whether the server answers. Raises redis.exceptions.RedisError.

    One that cannot save its data refuses PING as it refuses writes, while it reads, tells and saves on
    demand as ever: that is no server that is away.
    """
    takes_changes(client)


def takes_changes(client: Redis) -> bool:
    """False: it answers, and refuses writes until it can save. Raises redis.exceptions.RedisError."""
    try:
        client.ping()
    except exceptions.ResponseError as error:
        if not cannot_save(error):
            raise
        return False
    return True


def cannot_save(error: BaseException) -> bool:
    """Whether this is the refusal of a server whose last snapshot or append-only file failed."""
    return isinstance(error, exceptions.ResponseError) and (
        getattr(error, "status_code", "") == "MISCONF" or str(error).startswith("MISCONF")
    )


def is_away(error: BaseException) -> bool:
    """Whether nothing answered: nobody took the connection, or nothing came in time.

    redis-py's ConnectionError is also what a server says that loads its data, refuses the login or has no
    place for another client. Such a server has data; so has one that took the connection and ended it.
    """
    if isinstance(error, exceptions.TimeoutError):
        return True
    if not isinstance(error, exceptions.ConnectionError) or error.status_code:
        return False
    return isinstance(error.__context__, OSError) and not isinstance(error.__context__, ENDED)


def is_wrong_type(error: exceptions.RedisError) -> bool:
    """Whether the key holds another type than the command reads: somebody replaced it."""
    return "WRONGTYPE" in f"{getattr(error, 'status_code', '')} {error}"


def explain(role: Role, error: exceptions.RedisError) -> str:
    """A sentence that says what is wrong with that role's server and how to mend it, without any secret."""
    who = f"Redis ({role} role at {address(role)})"
    if isinstance(error, exceptions.AuthenticationError):
        return (
            f"{who} refuses the login ({error}): {VARIABLES[role]} must hold the server's user and password."
        )
    if isinstance(error, exceptions.BusyLoadingError):
        return f"{who} is loading its data from disk and will answer when that is done."
    if isinstance(error, exceptions.NoPermissionError):
        return f"{who} forbids this by its ACL ({error}); allow it for the user in {VARIABLES[role]}."
    if isinstance(error, exceptions.MovedError):
        return (
            f"{who} is one node of a Cluster, and what this page needs is on another, "
            f"{error.host}:{error.port}: look at it there, by an instance of this site with that node in "
            f"{VARIABLES[role]}."
        )
    if isinstance(error, exceptions.TimeoutError):
        return (
            f"{who} did not answer in time: it is frozen, overloaded or behind a firewall that drops packets."
        )
    if isinstance(error, exceptions.ConnectionError) and (
        error.status_code or isinstance(error.__context__, ENDED)
    ):
        return (
            f"{who} ended the connection ({error}): it has no place for another client (maxclients), or has "
            "just stopped. Close clients that nobody needs, or raise maxclients, then try again."
        )
    if isinstance(error, exceptions.ConnectionError):
        mend = (
            "`make run` or `manage.py embedded start` starts it"
            if settings.ARC_EMBEDDED
            else f"start it, or correct {VARIABLES[role]}"
        )
        return f"{who} cannot be reached ({error}); {mend}."
    if cannot_save(error) and "AOF" in str(error):
        return (
            f"{who} cannot write its append-only file and takes no changes until it can: see whether its "
            "disk is full and its log for the reason; it tries again by itself every second."
        )
    if cannot_save(error):
        return (
            f"{who} could not save its data and takes no changes until it can: see whether its disk is full "
            "and its log for the reason, mend that, then let it save (BGSAVE)."
        )
    return f"{who} answered with an error: {error}"
