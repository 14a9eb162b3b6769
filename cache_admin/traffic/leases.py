"""Watching a server for a short while: MONITOR, or the messages of channels.

A lease has a connection and a thread of its own, which keep what comes within bounds; pages ask for it by
the lease's token. It ends by itself: when its time is over, when nobody has asked for UNWATCHED seconds,
when more came than it may take, when the server closes it, and with its process. Leases live in the memory
of one process (the web has one); that a server has one MONITOR at most holds for all processes, by a lock
in Redis (state role).
"""

from __future__ import annotations

import atexit
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from redis import exceptions

from arcweb.events.sentences import describe
from cache_admin import connections
from cache_admin.connections import Role, client
from cache_admin.console import QuotingError, split_line
from cache_admin.traffic import words
from cache_admin.traffic.resp import Lines, ProtocolError, Refusal, Replies, Text

logger = logging.getLogger(__name__)
describe("redis.monitored", "watched every command of Redis ({object}) for up to {seconds} s")
describe("redis.listened", "listened to channels of Redis ({role} role) for up to {seconds} s")

Kind = Literal["monitor", "messages"]
#: Seconds that a lease may be asked for.
SECONDS = (10, 20, 30)
UNWATCHED = 5.0
#: Lines kept of each second, and of a lease as a whole; the others are counted.
MOST_A_SECOND = 40
MOST_LINES = 800
#: Bytes kept of a command or message, and bytes received after which a lease ends: a server that sends
#: faster than it is read keeps the rest in its own memory.
LONGEST = 4096
MOST_BYTES = 64 * 1024 * 1024
#: Subscriptions of this process at once.
MOST_LEASES = 8
#: Seconds that an ended lease can still be looked at.
KEPT_AFTER_END = 60.0
AT_ONCE = 64 * 1024  # bytes read from a socket
#: Seconds between two looks of a thread at whether it should end.
LOOK_EVERY = 0.25
NAMES: dict[Kind, str] = {"monitor": "arcweb-monitor", "messages": "arcweb-channels"}


class BusyError(Exception):
    """The lease cannot be had now; the message is a sentence."""


@dataclass(frozen=True)
class Line:
    """A command or a message."""

    number: int
    at: datetime
    source: str  #: whose command it is, or the channel of a message
    text: str


class Lease:
    """One connection that is watched. Made by `monitor` and `messages`; begin() starts it."""

    def __init__(self, kind: Kind, role: Role, user_id: int, seconds: int, pattern: bytes = b"") -> None:
        self.token = secrets.token_urlsafe(18)
        self.kind = kind
        self.role = role
        self.user_id = user_id
        self.seconds = seconds
        self.pattern = pattern
        self.lines: list[Line] = []
        self.dropped = 0
        self.received = 0
        self.ended = ""  #: why, in a sentence, once it has
        self._end_at = self._watched_at = time.monotonic()
        self._ended_at = 0.0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._second, self._in_second = 0, 0
        self._on_end: list[Callable[[], object]] = []

    @property
    def left(self) -> float:
        """Seconds until its time is over."""
        return 0.0 if self.ended else max(0.0, self._end_at - time.monotonic())

    @property
    def old(self) -> bool:
        """Whether it ended so long ago that nobody needs it."""
        return bool(self.ended) and time.monotonic() - self._ended_at > KEPT_AFTER_END

    def watched(self) -> None:
        """Somebody looks: it goes on."""
        self._watched_at = time.monotonic()

    def stop(self) -> None:
        """End it now; returns when its connection is closed, or after a second."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def on_end(self, act: Callable[[], object]) -> None:
        self._on_end.append(act)

    def begin(self) -> None:
        """Connect, and read in a thread until the end. Raises redis.exceptions.RedisError, BusyError."""
        try:
            redis = client(self.role, client_name=NAMES[self.kind], protocol=2)
            self._on_end.append(redis.close)
            connection = redis.connection_pool.get_connection()
            # redis-py reads a reply as a whole, and nothing but replies; here the stream itself is read.
            sock = connection._sock  # noqa: SLF001
            self._ask(connection)
            first = self._answer(sock)
            self._watched_at = time.monotonic()
            self._end_at = self._watched_at + self.seconds
            name = f"lease-{self.kind}"
            # A daemon: the end of the process must not wait for it; the server sees the socket close.
            self._thread = threading.Thread(target=self._run, args=(sock, first), name=name, daemon=True)
            self._thread.start()
        except BaseException:
            self.give_up()
            raise

    def give_up(self) -> None:
        """Let go of what it holds before it has begun."""
        self._end("It could not begin.")

    def _ask(self, connection: Any) -> None:
        if self.kind == "monitor":
            connection.send_command("MONITOR")
        else:
            connection.send_command("PSUBSCRIBE", self.pattern)

    def _answer(self, sock: Any) -> bytes:
        """The beginning of the answer, which tells a refusal."""
        try:
            first: bytes = sock.recv(AT_ONCE)
        except TimeoutError as error:
            raise exceptions.TimeoutError("no answer to " + self.kind) from error
        except OSError as error:
            raise exceptions.ConnectionError(str(error)) from error
        if first.startswith(b"-"):
            sentence = first[1:].split(b"\r\n")[0].decode(errors="replace")
            code, _, rest = sentence.partition(" ")
            raise (
                exceptions.NoPermissionError(rest) if code == "NOPERM" else exceptions.ResponseError(sentence)
            )
        if not first:
            raise exceptions.ConnectionError("the server closed the connection")
        return first

    def _run(self, sock: Any, first: bytes) -> None:
        take = self._monitored() if self.kind == "monitor" else self._messaged()
        ended = "The lease broke off by a mistake of this program; see the web's log."
        try:
            take(first)
            ended = self._read(sock, take)
        except ProtocolError as error:
            ended = f"The server sent what cannot be understood: {error}"
        except OSError as error:
            ended = f"The connection broke: {error}"
        except Exception:
            logger.exception("A lease of %s broke off", self.kind)
        finally:
            self._end(ended)

    def _read(self, sock: Any, take: Callable[[bytes], None]) -> str:
        """Until the end; why it ended."""
        while True:
            now = time.monotonic()
            if self._stopped.is_set():
                return "It was stopped."
            if now >= self._end_at:
                return f"Its {self.seconds} s are over."
            if now - self._watched_at > UNWATCHED:
                return f"Nobody had looked for {UNWATCHED:g} s."
            if self.received > MOST_BYTES:
                return f"More than {MOST_BYTES // 1024**2} MB came: this server is too busy to be watched."
            sock.settimeout(max(0.01, min(LOOK_EVERY, self._end_at - now)))
            try:
                data: bytes = sock.recv(AT_ONCE)
            except TimeoutError:
                continue
            if not data:
                return "The server closed the connection."
            self.received += len(data)
            take(data)

    def _end(self, sentence: str) -> None:
        while self._on_end:
            with suppress(exceptions.RedisError, exceptions.LockError, OSError):
                self._on_end.pop()()
        self._ended_at = time.monotonic()
        self.ended = self.ended or sentence

    def _full(self) -> bool:
        """Whether no more lines are kept of this second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
        return self._in_second >= MOST_A_SECOND or len(self.lines) >= MOST_LINES

    def _keep(self, at: datetime, source: str, text: str) -> None:
        if self._full():
            self.dropped += 1
            return
        self._in_second += 1
        self.lines.append(Line(len(self.lines) + 1, at, source, text))

    def _monitored(self) -> Callable[[bytes], None]:
        lines = Lines(LONGEST)

        def take(data: bytes) -> None:
            if self._full():
                self.dropped += lines.skip(data)
                return
            for line in lines.feed(data):
                if line.raw != b"+OK":
                    self._keep(*monitored(line))

        return take

    def _messaged(self) -> Callable[[bytes], None]:
        replies = Replies(LONGEST)

        def take(data: bytes) -> None:
            for reply in replies.feed(data):
                if isinstance(reply, Refusal):
                    raise ProtocolError(reply.words)
                if isinstance(reply, list) and len(reply) == 4:
                    _kind, _pattern, channel, message = reply
                    if isinstance(channel, Text) and isinstance(message, Text):
                        self._keep(datetime.now(UTC), words.word(channel.raw), said(message, channel.raw))

        return take


def monitored(line: Text) -> tuple[datetime, str, str]:
    """When, by whom and what, of a line of MONITOR: `+1755.12 [0 127.0.0.1:4711] "GET" "key"`."""
    shown = line.raw.decode("ascii", "replace")
    head, _, rest = shown.removeprefix("+").partition("] ")
    at, _, place = head.partition(" [")
    database, _, address = place.partition(" ")
    cut = line.size > len(line.raw)
    if cut:  # the last word is not whole: without it
        rest = rest[: rest.rfind(' "')] if ' "' in rest else rest.partition(" ")[0]
    try:
        command = split_line(rest)
    except QuotingError:
        command = []
    text = " ".join(words.command(command)) + (f" … ({line.size:,} bytes)" if cut else "")
    try:
        moment = datetime.fromtimestamp(float(at), UTC)
    except ValueError:
        moment = datetime.now(UTC)
    # Of a Unix socket the server tells its path, which is the same for everybody.
    place = "Unix socket" if address.startswith("unix:") else address or "unknown"
    return moment, f"db {database} · {place}", text or "(a command that cannot be shown)"


def said(message: Text, channel: bytes) -> str:
    """A message for people; of Celery's own its size alone."""
    if words.of_celery(channel):
        return f"({message.size:,} bytes)"
    cut = message.size > len(message.raw)
    return words.word(message.raw) + (f" ({message.size:,} bytes in all)" if cut else "")


_leases: dict[str, Lease] = {}
_guard = threading.Lock()


def monitor(role: Role, user_id: int, seconds: int) -> Lease:
    """A lease of MONITOR that has not begun; nobody else can have one of that server until it ends.

    Raises BusyError, and redis.exceptions.RedisError while the state role is away.
    """
    lease = Lease("monitor", role, user_id, _allowed(seconds))
    state = client("state")
    lease.on_end(state.close)
    name = f"arcweb:live:monitor:{connections.address(role)}"
    lock = state.lock(name, timeout=seconds + 2 * UNWATCHED, thread_local=False)
    try:
        taken = lock.acquire(blocking=False)
    except exceptions.RedisError:
        lease.give_up()
        raise
    if not taken:
        lease.give_up()
        raise BusyError("Somebody watches the commands of this server already; a lease lasts 30 s at most.")
    lease.on_end(lock.release)
    return _kept(lease)


def messages(role: Role, user_id: int, seconds: int, pattern: bytes) -> Lease:
    """A subscription that has not begun. Raises BusyError."""
    lease = Lease("messages", role, user_id, _allowed(seconds), pattern)
    return _kept(lease)


def find(token: str, user_id: int) -> Lease | None:
    """A lease of that user by its token, in this process."""
    lease = _leases.get(token)
    return lease if lease is not None and lease.user_id == user_id else None


def running() -> list[Lease]:
    """Those of this process that have not ended."""
    return [lease for lease in list(_leases.values()) if not lease.ended]


def _kept(lease: Lease) -> Lease:
    """In the list of leases, in the place of the user's last one of that kind."""
    with _guard:
        for token in [token for token, other in _leases.items() if other.old]:
            del _leases[token]
        others = running()
    _stop(other for other in others if other.user_id == lease.user_id and other.kind == lease.kind)
    with _guard:
        if len(running()) >= MOST_LEASES:
            lease.give_up()
            raise BusyError(f"{MOST_LEASES} leases are running already; wait until one ends, 30 s at most.")
        _leases[lease.token] = lease
    return lease


@atexit.register
def _stop_all() -> None:
    """At the end of the process, so that no lock outlives it."""
    _stop(running())


def _stop(leases: Iterable[Lease]) -> None:
    for lease in leases:
        lease.stop()


def _allowed(seconds: int) -> int:
    if seconds not in SECONDS:
        raise BusyError("A lease lasts 10, 20 or 30 seconds.")
    return seconds
