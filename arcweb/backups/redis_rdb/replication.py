"""The RDB of a server elsewhere, fetched as its replicas fetch it. No Django.

PSYNC ? -1, or SYNC where that alone is known; newlines while the server makes its snapshot; then $<length>
and so many bytes, or, where it writes the snapshot to the socket and not to its disk, $EOF:<40 bytes> and all
bytes until these come again. With `rdb-only` the server sends nothing after it. Sources: replication.c of
Redis and Valkey, and `redis-cli --rdb`.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from arcweb.backups.exceptions import BackupError
from arcweb.backups.redis_rdb.saving import NotAllowedError, Tell

#: Seconds without a byte, while servers send a newline every second: their own default (repl-timeout).
SILENCE = 60.0
#: Seconds between two looks whether the work is to stop, while nothing comes.
LOOK = 0.5
#: Seconds until the first byte of the snapshot, and until its last: as in saving.PATIENCE.
PATIENCE = 4 * 3600.0
MARK = 40
LONGEST_LINE = 1024
PART = 256 * 1024
BULK = re.compile(rb"\$(?:(\d{1,19})|EOF:([0-9a-zA-Z]{40}))")
LIKE_A_REPLICA = (
    "A copy over the network needs what a replica needs: ACL SETUSER {user} +psync +sync +replconf"
)


class Line(Protocol):
    """What is used of a socket."""

    def recv(self, size: int, /) -> bytes: ...
    def settimeout(self, seconds: float | None, /) -> None: ...


class Snapshot:
    """The RDB as it comes; `size` is None where the server does not say it before."""

    def __init__(
        self,
        line: Line,
        *,
        silence: float = SILENCE,
        patience: float = PATIENCE,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self._line = line
        self._look = look
        self._silence = silence
        self._until = time.monotonic() + patience
        self._ready = bytearray()
        self._mark = b""
        self.size: int | None = None
        self._left = 0
        self.whole = False

    def begin(self, first: bytes) -> None:
        """first: the line that says how the data comes."""
        found = BULK.fullmatch(first)
        if first.startswith(b"-"):
            raise BackupError(f"The server made no snapshot: {_words(first)}. Its log says why.")
        if found is None:
            raise BackupError(
                f"The server answered a replica's request with {first[:80]!r}, which this program does not "
                "know."
            )
        if found[1] is None:
            self._mark = found[2]
        else:
            self.size = self._left = int(found[1])
            self.whole = not self._left

    def line(self) -> bytes:
        """The next line that is not empty, without its end. Only before the data."""
        while True:
            end = self._ready.find(b"\n")
            if end < 0:
                if len(self._ready) > LONGEST_LINE:
                    raise BackupError("The server's answer to a replica's request is no line.")
                self._receive()
                continue
            found = bytes(self._ready[:end]).strip()
            del self._ready[: end + 1]
            if found:  # an empty line is a sign of life
                return found

    def read(self, size: int = -1) -> bytes:
        """Raises BackupError when the server ends or falls silent before the data are whole."""
        if self.whole:
            return b""
        if self._mark:
            return self._read_to_mark()
        if not self._ready:
            self._receive()
        found = bytes(self._ready[: min(self._left, size if size > 0 else PART)])
        del self._ready[: len(found)]
        self._left -= len(found)
        self.whole = not self._left
        return found

    def _read_to_mark(self) -> bytes:
        while True:
            place = self._ready.find(self._mark)
            if place >= 0:
                self.whole = True
                return bytes(self._ready[:place])
            sure = len(self._ready) - MARK  # what stands there cannot be a beginning of the mark
            if sure > 0:
                found = bytes(self._ready[:sure])
                del self._ready[:sure]
                return found
            self._receive()

    def _receive(self) -> None:
        silent_at, part = time.monotonic() + self._silence, None
        while part is None:
            self._look()
            now = time.monotonic()
            if now >= self._until:
                raise BackupError("The server did not send its snapshot in time; nothing was kept of it.")
            if now >= silent_at:
                raise BackupError(
                    f"The server has sent nothing for {self._silence:.0f} s in the middle of its snapshot; "
                    "nothing was kept of it."
                )
            self._line.settimeout(min(LOOK, silent_at - now, self._until - now))
            try:
                part = self._line.recv(PART)
            except TimeoutError:
                continue
            except OSError as error:
                raise BackupError(f"The connection broke in the middle of the snapshot: {error}.") from error
        if not part:
            raise BackupError(
                "The server ended the connection before its snapshot was whole. Its log says why: a full "
                "disk, no memory for the copy of its process, or client-output-buffer-limit replica."
            )
        self._ready += part


@contextmanager
def snapshot(
    client: Redis,
    *,
    version: str,
    user: str,
    tell: Tell,
    check: Callable[[], None] = lambda: None,
    silence: float = SILENCE,
    patience: float = PATIENCE,
) -> Iterator[Snapshot]:
    """A snapshot that the server makes for us, as it comes. client: of protocol 2, of which a connection is
    used up.

    version: the server's own, "" where it is not known. user: the server's, for the sentence that says what
    it needs. check: asked while the server is waited for; may raise to stop the work. Raises BackupError in
    words (NotAllowedError where the ACL forbids it) and redis.exceptions.RedisError.
    """
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        _told(connection, "REPLCONF", "capa", "eof")
        _told(connection, "REPLCONF", "rdb-only", "1")
        if version:
            # Valkey 9 writes for an unknown replica what Redis 7 can read, and breaks off at data that this
            # cannot hold, such as a field of a hash with a time to live.
            _told(connection, "REPLCONF", "version", version)
        sock: socket.socket = connection._sock  # noqa: SLF001 - redis-py reads nothing but replies
        coming = Snapshot(sock, silence=silence, patience=patience, look=check)
        coming.begin(_asked(connection, coming, user, tell))
        yield coming
    finally:
        connection.disconnect()  # the server then stops making a snapshot that nobody else wants
        pool.release(connection)


def _told(connection: Any, *words: str) -> None:
    """What a server may be told; one that does not know it, or forbids it, sends its data all the same."""
    connection.send_command(*words)
    try:
        connection.read_response()
    except ResponseError:
        return


def _asked(connection: Any, coming: Snapshot, user: str, tell: Tell) -> bytes:
    """The line that says how the data comes."""
    refused: list[str] = []
    tell("the server makes a snapshot for us")
    for words in (("PSYNC", "?", "-1"), ("SYNC",)):
        try:
            connection.send_command(*words)
            answer = coming.line()
        except (RedisConnectionError, RedisTimeout) as error:
            raise BackupError(f"The connection broke before the snapshot began: {error}.") from error
        if answer.startswith(b"+FULLRESYNC"):
            return coming.line()
        if answer.startswith(b"$"):
            return answer
        refused.append(_words(answer))
    reasons = ", ".join(dict.fromkeys(refused))
    if any(one.startswith("NOPERM") for one in refused):
        raise NotAllowedError(
            f"The server's ACL forbids replication ({reasons}). {LIKE_A_REPLICA.format(user=user)}"
        ) from NoPermissionError(reasons)
    raise BackupError(f"The server sends no snapshot: {reasons}.")


def _words(answer: bytes) -> str:
    return answer.removeprefix(b"-").decode("utf-8", "replace")[:200]
