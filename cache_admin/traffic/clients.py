"""Who is connected to a server: CLIENT LIST in words, and the end of one connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from redis import Redis

from arcweb.charts import size
from arcweb.events.sentences import describe
from arcweb.servers import duration
from cache_admin.masking import text

describe("redis.client_killed", "ended the connection {id} ({object}) of Redis ({role} role)")

#: A value ends where the next field begins: paths of sockets may hold spaces.
FIELD = re.compile(rb"([a-z][a-z-]*)=(.*?)(?= [a-z][a-z-]*=|$)")
#: The letters of `flags`, as the documentation of CLIENT LIST has them, but N (normal) and U (Unix socket).
FLAGS = {
    "A": "to be closed at once",
    "b": "waits for a blocking command",
    "c": "closes after its reply",
    "d": "a watched key changed: its transaction will fail",
    "e": "is left out of eviction",
    "i": "waits for a disk operation",
    "M": "a primary",
    "O": "runs MONITOR",
    "P": "listens to channels",
    "r": "reads only, of a cluster's replica",
    "S": "a replica",
    "t": "caches keys (tracking)",
    "R": "its tracking target is gone",
    "B": "caches keys by broadcast",
    "T": "does not touch the age of keys",
    "u": "closed until it is unblocked",
    "x": "within a transaction",
}
#: What this project's connections are for, and what happens to people when one is ended.
OURS = {
    "arcweb-admin": (
        "pages of this control room, samples, probes",
        "The page or probe that uses it fails once; the next opens another.",
    ),
    "arcweb-cache": (
        "cache and sessions of the web process",
        "The next request opens another. Nobody is logged out: sessions stand in PostgreSQL too.",
    ),
    "arcweb-celery": (
        "a line to Celery's queues",
        "It connects again within seconds. A task that was just being acknowledged may come twice: harmless.",
    ),
    "arcweb-beat": (
        "beat's sign of life",
        "The next sign, within two seconds, opens another.",
    ),
    "arcweb-monitor": ("a lease of MONITOR of the page Live", "The lease ends at once for whoever watches."),
    "arcweb-channels": ("a subscription of the page Live", "The lease ends at once for whoever watches."),
}
OTHER_OF_OURS = ("a part of this project", "It connects again by itself when it needs to.")


@dataclass(frozen=True)
class Client:
    """A connection. age and idle: seconds; memory: bytes, None where the server does not say."""

    id: int
    name: str
    address: str
    age: int
    idle: int
    command: str
    database: int
    user: str
    flags: str
    memory: int | None
    library: str
    own: bool = field(default=False, compare=False)  #: the connection by which this was asked

    @property
    def blocked(self) -> bool:
        return "b" in self.flags

    @property
    def watching(self) -> bool:
        return "O" in self.flags

    @property
    def listening(self) -> bool:
        return "P" in self.flags

    @property
    def of_the_server(self) -> bool:
        """Whether it belongs to replication."""
        return bool({"M", "S"} & set(self.flags)) and not self.watching

    @property
    def ours(self) -> tuple[str, str] | None:
        """What it is for and what its end breaks, where it is one of this project's."""
        if not self.name.startswith("arcweb-"):
            return None
        return OURS.get(self.name, OTHER_OF_OURS)

    @property
    def purpose(self) -> str:
        return self.ours[0] if self.ours else ""

    @property
    def breaks(self) -> str:
        """What ending it means, in a sentence."""
        if self.ours:
            return self.ours[1]
        if self.of_the_server:
            return "It belongs to replication: the copy falls behind until it has connected again."
        if self.blocked:
            return "Its blocking command is broken off; most libraries connect again by themselves."
        return "What it is doing is broken off; most libraries connect again by themselves."

    @property
    def words(self) -> str:
        """What a filter looks at."""
        words = (self.id, self.name, self.address, self.user, self.library, self.command)
        return " ".join(map(str, words)).casefold()

    @property
    def flags_in_words(self) -> list[str]:
        return [FLAGS.get(flag, f"flag {flag}") for flag in self.flags if flag not in "NU"]

    @property
    def lasting(self) -> str:
        return duration(self.age)

    @property
    def idling(self) -> str:
        return duration(self.idle)

    @property
    def space(self) -> str:
        return "unknown" if self.memory is None else size(self.memory)


#: Characters of a name that are shown, and the largest id.
LONGEST_NAME = 120
LAST_ID = 2**63 - 1

#: What the list may be reduced to.
KINDS: dict[str, tuple[str, Callable[[Client], bool]]] = {
    "": ("all", lambda _client: True),
    "ours": ("of this project", lambda client: client.ours is not None),
    "foreign": ("of others", lambda client: client.ours is None),
    "blocked": ("blocked", lambda client: client.blocked),
    "listening": ("listening to channels", lambda client: client.listening),
    "watching": ("running MONITOR", lambda client: client.watching),
}
#: What it may be ordered by, each with what stands first.
ORDERS: dict[str, tuple[str, Callable[[Client], Any]]] = {
    "idle": ("least idle first", lambda client: (client.idle, -client.id)),
    "age": ("newest first", lambda client: (client.age, -client.id)),
    "memory": ("most memory first", lambda client: (-(client.memory or 0), client.id)),
    "name": ("name", lambda client: (client.name or "~", client.address, client.id)),
    "command": ("command", lambda client: (client.command, client.id)),
}


def listed(server: Redis) -> list[Client]:
    """Every connection, this one marked. Raises redis.exceptions.RedisError."""
    own = int(server.client_id())
    return parse(raw_list(server), own)


def find(server: Redis, client_id: int) -> Client | None:
    """One connection by its id."""
    if not 0 < client_id <= LAST_ID:
        return None
    own = int(server.client_id())
    return next(iter(parse(raw_list(server, "ID", client_id), own)), None)


def raw_list(server: Redis, *words: str | int) -> bytes:
    """CLIENT LIST as the server sends it: redis-py's reading of it fails on spaces in paths."""
    raw: Any = server.execute_command("CLIENT", "LIST", *words)
    return bytes(raw)


def parse(raw: bytes, own: int = 0) -> list[Client]:
    return [_client(line, own) for line in raw.split(b"\n") if line.strip()]


def chosen(clients: Iterable[Client], kind: str, words: str, order: str) -> list[Client]:
    """Those of a kind in whose name, address, user, library or command the words stand, in that order."""
    wanted, key, sought = KINDS[kind][1], ORDERS[order][1], words.casefold()
    return sorted(
        (client for client in clients if wanted(client) and sought in client.words),
        key=key,
    )


def kill(server: Redis, client_id: int) -> bool:
    """End a connection, never the one that asks; whether it was still there."""
    ended: Any = server.execute_command("CLIENT", "KILL", "ID", client_id, "SKIPME", "yes")
    return int(ended) > 0


def _client(line: bytes, own: int) -> Client:
    found = {name.decode(): text(value) for name, value in FIELD.findall(line.rstrip(b"\r"))}

    def number(name: str) -> int:
        digits = found.get(name, "")
        return int(digits) if digits.lstrip("-").isdigit() else 0

    library = " ".join(filter(None, (found.get("lib-name", ""), found.get("lib-ver", ""))))
    return Client(
        id=number("id"),
        name=found.get("name", "")[:LONGEST_NAME],
        # Of a Unix socket the server tells its own path, which is the same for everybody.
        address="Unix socket" if "U" in found.get("flags", "") else found.get("addr", "unknown"),
        age=number("age"),
        idle=number("idle"),
        command=found.get("cmd", "unknown").replace("|", " "),
        database=number("db"),
        user=found.get("user", ""),
        flags=found.get("flags", ""),
        memory=number("tot-mem") if "tot-mem" in found else None,
        library=library,
        own=number("id") == own,
    )
