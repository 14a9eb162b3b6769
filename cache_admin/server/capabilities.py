"""What a server lets us do: asked of the server itself, without doing any of it.

Its ACL is asked by ACL DRYRUN; where that is forbidden too, by queueing each command in a transaction that
is then discarded: the server refuses what its ACL forbids, or does not know, when it is queued.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis import Redis, exceptions

from cache_admin import connections
from cache_admin.connections import VARIABLES, Role

#: Seconds that an answer is believed: an ACL may change under us.
BELIEVED = 60
#: What is asked for, and words that make the command complete (it is never run).
PROBES: Mapping[str, tuple[str, ...]] = {
    "INFO": (),
    "CONFIG GET": ("maxmemory",),
    "CONFIG SET": ("maxmemory", "0"),
    "CONFIG REWRITE": (),
    "CONFIG RESETSTAT": (),
    "CLIENT LIST": (),
    "CLIENT KILL": ("ID", "1"),
    "MONITOR": (),
    "MEMORY USAGE": ("arcweb:probe",),
    "SLOWLOG": ("GET", "1"),
    "SLOWLOG LEN": (),
    "SLOWLOG RESET": (),
    "COMMANDLOG": ("GET", "1", "slow"),
    "COMMANDLOG LEN": ("slow",),
    "COMMANDLOG RESET": ("slow",),
    "LATENCY": ("LATEST",),
    "ACL": ("LIST",),
    "MODULE LIST": (),
    "DBSIZE": (),
    "SCAN": ("0",),
    "EVAL": ("return 1", "0"),
    "UNLINK": ("arcweb:probe",),
    "FLUSHDB": (),
    "LASTSAVE": (),
    "SAVE": (),
    "BGSAVE": (),
    "BGREWRITEAOF": (),
    "PUBSUB": ("CHANNELS", "*"),
    "PSUBSCRIBE": ("*",),
    "PUBLISH": ("arcweb:probe", ""),
    "CLUSTER": ("INFO",),
    "SENTINEL": ("MASTERS",),
}
#: Those that may be called to learn whether they may be called.
READS = frozenset(
    {
        "INFO", "CONFIG GET", "CLIENT LIST", "SLOWLOG GET", "SLOWLOG LEN", "COMMANDLOG GET", "COMMANDLOG LEN",
        "LATENCY", "MEMORY USAGE", "DBSIZE", "SCAN", "LASTSAVE", "PUBSUB",
    }
)  # fmt: skip
#: Where a command that a server does not know is to be had.
SINCE = {"COMMANDLOG": "Valkey has it from 8.1 on; SLOWLOG shows the slow commands here"}
#: What a field of INFO server is called that holds the real version, and whose it is.
PRODUCTS = {
    "valkey_version": "Valkey",
    "dragonfly_version": "Dragonfly",
    "redict_version": "Redict",
    "keydb_version": "KeyDB",
}


@dataclass(frozen=True)
class Capabilities:
    """What is known of the server of a role."""

    role: Role
    product: str  #: "Redis", "Valkey"; "Redis" where the server keeps it to itself
    version: str  #: the real one, "9.1.2"; "" where it is not told
    mode: str = "standalone"  #: or "cluster", "sentinel"
    user: str = "default"  #: the server's user that we are
    replica: bool = False
    modules: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)  #: command → why it may not be used

    def why_not(self, command: str) -> str:
        """Why that command ("MONITOR", "CONFIG SET") may not be used here: a sentence; "" if it may be.

        A subcommand that is not probed itself ("SLOWLOG GET") stands as its command does. Raises
        KeyError for a command that is not probed: add it to PROBES.
        """
        name = command.upper()
        if name not in PROBES:
            name = name.partition(" ")[0]
        if name not in PROBES:
            raise KeyError(f"{command} is not probed: add it to cache_admin.server.capabilities.PROBES")
        return self.reasons.get(name, "")

    @property
    def named(self) -> str:
        """ "Valkey 9.1.2"."""
        return f"{self.product} {self.version}".strip()


_known: dict[Role, tuple[float, str, Capabilities]] = {}


def capabilities(role: Role) -> Capabilities:
    """What the server of that role can do, as of the last minute. Raises redis.exceptions.RedisError."""
    address = connections.url(role)  # tests and restarts move a role
    found = _known.get(role)
    if found is not None and found[1] == address and time.monotonic() - found[0] < BELIEVED:
        return found[2]
    with connections.client(role) as client:
        fresh = probe(role, client)
    _known[role] = (time.monotonic(), address, fresh)
    return fresh


def forget() -> None:
    """Ask anew at the next call: the ACL was changed."""
    _known.clear()


def probe(role: Role, client: Redis) -> Capabilities:
    """Ask the server behind `client`. Raises redis.exceptions.RedisError where it cannot be asked at all."""
    connections.ping(client)
    info = _section(client, "server")
    product, version = identify(info, client)
    mode = str(info.get("redis_mode", info.get("server_mode", "standalone")))
    user = _user(client)
    refused = _refused(client, user)
    reasons = {
        command: _reason(role, command, answer, user, f"{product} {version}".strip())
        for command, answer in refused.items()
    }
    if mode != "cluster":
        reasons.setdefault("CLUSTER", "This server is not part of a cluster (cluster-enabled is no).")
    if mode != "sentinel":
        reasons["SENTINEL"] = "This server is no Sentinel: those are processes of their own."
    if info.get("config_file", "unknown") == "":
        reasons.setdefault(
            "CONFIG REWRITE",
            "The server was started without a configuration file, so that there is none to write to: "
            "what is set here lasts until it restarts.",
        )
    return Capabilities(
        role=role,
        product=product,
        version=version,
        mode=mode,
        user=user,
        replica=_section(client, "replication").get("role") == "slave",
        modules=() if "MODULE LIST" in reasons else _modules(client),
        reasons=reasons,
    )


def identify(info: Mapping[str, Any], client: Redis | None = None) -> tuple[str, str]:
    """Product and real version by INFO server; without that, by HELLO, which every user may send."""
    for name, product in PRODUCTS.items():
        if name in info:
            return product, str(info[name])
    if "redis_version" in info:
        return str(info.get("server_name", "redis")).capitalize(), str(info["redis_version"])
    if client is None:
        return "Redis", ""
    try:
        words = client.execute_command("HELLO")
    except exceptions.ResponseError:
        return "Redis", ""
    pairs = words if isinstance(words, dict) else dict(zip(words[::2], words[1::2], strict=False))
    told = {_text(name): _text(value) for name, value in pairs.items()}
    return told.get("server", "redis").capitalize(), told.get("version", "")


def _section(client: Redis, name: str) -> dict[str, Any]:
    try:
        return dict(client.info(name))
    except exceptions.ResponseError:
        return {}


def _user(client: Redis) -> str:
    try:
        return _text(client.execute_command("ACL WHOAMI"))
    except exceptions.ResponseError:  # forbidden, or a server before ACLs
        return str(client.get_connection_kwargs().get("username") or "default")


def _modules(client: Redis) -> tuple[str, ...]:
    try:
        found = client.module_list()
    except exceptions.ResponseError:
        return ()
    return tuple(sorted(_text(module.get(b"name") or module.get("name", "")) for module in found))


def _refused(client: Redis, user: str) -> dict[str, str]:
    """Command → what the server says against it; commands that may be used are missing."""
    asked = [(*command.split(), *words) for command, words in PROBES.items()]
    answers = _tried(client, user, asked)
    if answers is None:
        answers = _queued(client, asked)
    return {command: answer for command, answer in zip(PROBES, answers, strict=True) if answer}


def _tried(client: Redis, user: str, asked: Sequence[Sequence[str]]) -> list[str] | None:
    """By ACL DRYRUN: what is said against each, "" for nothing; None where DRYRUN is not to be had."""
    with client.pipeline(transaction=False) as pipe:
        for words in asked:
            pipe.execute_command("ACL DRYRUN", user, *words)
        answers = pipe.execute(raise_on_error=False)
    first = answers[0]
    if isinstance(first, exceptions.ResponseError) and "not found" not in str(first):
        return None
    return ["" if answer in (b"OK", "OK", True) else _text(answer) for answer in answers]


def _queued(client: Redis, asked: Sequence[Sequence[str]]) -> list[str]:
    """By a transaction that is discarded. A command that no transaction may hold counts as allowed."""
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        # Nothing may follow before MULTI is known to stand: without it the rest would be carried out.
        if not _sent(connection, [("MULTI",)])[0].endswith("OK"):
            return [_called(client, words) for words in asked]
        return [
            "" if "transaction" in answer.lower() or answer == "QUEUED" else answer
            for answer in _sent(connection, asked)
        ]
    finally:
        connection.disconnect()  # which discards the transaction, whatever became of it
        pool.release(connection)


def _sent(connection: Any, commands: Sequence[Sequence[str]]) -> list[str]:
    """The answers to these commands in one round trip, errors in words like the others."""
    connection.send_packed_command(connection.pack_commands(commands))
    answers = []
    for _ in commands:
        try:
            answers.append(_text(connection.read_response()))
        except exceptions.ResponseError as error:
            answers.append(str(error))
    return answers


def _called(client: Redis, words: Sequence[str]) -> str:
    """By calling it, where that only reads; others count as allowed until they are refused."""
    if " ".join(words[:2]) not in READS and words[0] not in READS:
        return ""
    try:
        client.execute_command(*words)
    except exceptions.ResponseError as error:
        return str(error)
    return ""


def _reason(role: Role, command: str, answer: str, user: str, product: str) -> str:
    if "not found" in answer or "unknown" in answer.lower():
        more = (
            f": {SINCE[command.partition(' ')[0]]}" if command.partition(" ")[0] in SINCE else ", or hides it"
        )
        return f"{product} does not know {command}{more}."
    rule = "+" + "|".join(command.lower().split())
    return (
        f"The server's ACL forbids {command} to the user {user}: allow it there "
        f"({rule}), or name another user in {VARIABLES[role]}."
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
