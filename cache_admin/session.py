"""One connection on which the console runs any command and gets its reply as the server sent it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redis._parsers import _RESP2Parser
from redis.exceptions import ResponseError

from cache_admin.connections import Role, client
from cache_admin.console import Reply, Status

CONNECT_SECONDS = 2.0
#: These answer until they are interrupted.
STREAMS = frozenset({b"MONITOR", b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE"})


class StatusKeepingParser(_RESP2Parser):
    """Tells a status (+OK) from a string that says the same; redis-py makes both bytes."""

    def _read_response(self, *args: Any, **kwargs: Any) -> Any:
        buffer = self._buffer
        if buffer is None:  # not connected: redis-py says so
            return super()._read_response(*args, **kwargs)
        start = buffer.get_pos()
        reply = super()._read_response(*args, **kwargs)
        end = buffer.get_pos()
        buffer.rewind(start)
        kind = buffer.read(1)
        buffer.rewind(end)
        return Status(reply) if kind == b"+" else reply


class Session:
    """Commands of one connection: SELECT and MULTI hold until they are undone. Use it in `with`."""

    def __init__(self, role: Role, *, timeout: float | None) -> None:
        """timeout: seconds for an answer; None waits, as for BLPOP."""
        self._client = client(
            role,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=timeout,
            max_connections=1,  # so that all commands share it
            parser_class=StatusKeepingParser,
            protocol=2,  # the replies that the documentation of Redis shows
        )
        # The replies of the server, not what redis-py makes of them.
        self._client.response_callbacks.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def run(self, words: list[bytes]) -> Reply:
        """The reply, a refusal of the server included. Raises redis.exceptions.RedisError without one."""
        try:
            reply: Reply = self._client.execute_command(*words)
        except ResponseError as refusal:
            return refusal
        return reply

    def stream(self, words: list[bytes]) -> Iterator[Reply]:
        """The replies of MONITOR and of the SUBSCRIBE family until the caller stops."""
        if words[0].upper() == b"MONITOR":
            with self._client.monitor() as monitor:
                for event in monitor.listen():
                    yield Status(f"{event['time']:.6f} [{event['db']}] {event['command']}".encode())
        else:
            with self._client.pubsub() as channels:
                channels.execute_command(*words)
                while True:
                    yield channels.parse_response(block=True)

    def interrupt(self) -> None:
        """Drop the connection, whose reply nobody waits for any more; the next command makes another."""
        self._client.connection_pool.disconnect()
