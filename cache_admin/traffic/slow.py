"""What takes long on a server: its logs by shape of command, statistics by command, latency in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis import Redis

from arcweb.charts import quantity, size
from arcweb.events.sentences import describe
from cache_admin.traffic import words

describe("redis.slow_log_emptied", "emptied the log of {log} ({entries} entries) of Redis ({role} role)")

#: Entries of a log that are read; Redis keeps 128 unless told otherwise.
MOST_ENTRIES = 512
MOST_COMMANDS = 60
#: The server itself keeps 32 words of a command, the last of them "... (17 more arguments)".
MORE = "more arguments)"
#: Commands whose second word belongs to the name, and commands without keys.
CONTAINERS = """
    ACL CLIENT CLUSTER COMMAND COMMANDLOG CONFIG DEBUG FUNCTION LATENCY MEMORY MODULE OBJECT PUBSUB SCRIPT
    SENTINEL SLOWLOG XGROUP XINFO
"""
KEYLESS = """
    ACL AUTH BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND COMMANDLOG CONFIG DBSIZE DEBUG ECHO EXEC FLUSHALL
    FLUSHDB FUNCTION HELLO INFO KEYS LASTSAVE LATENCY MODULE MULTI PING PSUBSCRIBE PUBLISH PUBSUB RANDOMKEY
    SAVE SCAN SCRIPT SELECT SENTINEL SLOWLOG SUBSCRIBE SWAPDB TIME WAIT XREAD XREADGROUP
"""
#: Commands whose first key is not their first argument; 0: they have none.
FIRST_KEY = {
    **dict.fromkeys(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"), 3),
    **dict.fromkeys(("BITOP", "OBJECT", "MEMORY", "XGROUP", "XINFO"), 2),
    **dict.fromkeys(KEYLESS.split(), 0),
}


@dataclass(frozen=True)
class Log:
    """One of the server's logs of commands that were out of the ordinary."""

    name: str  #: as COMMANDLOG has it
    title: str
    setting: str  #: its threshold
    unit: str  #: of the threshold and of the entries: "µs" or "bytes"
    most_setting: str


SLOW = Log("slow", "slow commands", "slowlog-log-slower-than", "µs", "slowlog-max-len")
LOGS = {
    log.name: log
    for log in (
        SLOW,
        Log(
            "large-request",
            "large requests",
            "commandlog-request-larger-than",
            "bytes",
            "commandlog-large-request-max-len",
        ),
        Log(
            "large-reply",
            "large replies",
            "commandlog-reply-larger-than",
            "bytes",
            "commandlog-large-reply-max-len",
        ),
    )
}
#: Settings that may be changed here, each with what its number means and a sound one.
SETTINGS = {
    "slowlog-log-slower-than": (
        "Microseconds from which a command is written down; 0 writes down each, -1 none.",
        10_000,
    ),
    "commandlog-request-larger-than": (
        "Bytes from which a request is written down; -1 writes down none.",
        1_048_576,
    ),
    "commandlog-reply-larger-than": (
        "Bytes from which a reply is written down; -1 writes down none.",
        1_048_576,
    ),
    "latency-monitor-threshold": (
        "Milliseconds from which the server remembers what held it up; 0 remembers nothing.",
        100,
    ),
}
LEAST = {"latency-monitor-threshold": 0}
LARGEST = 10**12


@dataclass(frozen=True)
class Entry:
    """A command of a log. value: microseconds, or bytes."""

    at: datetime
    value: int
    words: list[bytes]
    client: str


@dataclass(frozen=True)
class Group:
    """Commands of one shape."""

    name: str
    arguments: int
    prefix: str  #: what their first keys have in common; "" where they have none
    count: int
    worst: int
    total: int
    last: datetime
    example: str
    clients: list[str]
    unit: str

    @property
    def worst_in_words(self) -> str:
        return amount(self.worst, self.unit)

    @property
    def total_in_words(self) -> str:
        return amount(self.total, self.unit)


@dataclass(frozen=True)
class Command:
    """A line of INFO commandstats since the server's start, or CONFIG RESETSTAT."""

    name: str
    calls: int
    microseconds: int
    each: float  #: microseconds per call
    share: float  #: percent of the time of all commands
    failed: int  #: calls that were refused or ended with an error


@dataclass(frozen=True)
class Delay:
    """A kind of event that held the server up. Milliseconds."""

    event: str
    at: datetime
    last: int
    worst: int


def amount(value: int, unit: str) -> str:
    """ "12 ms", "1.5 MB"."""
    if unit == "bytes":
        return size(value)
    for step, name in ((1_000_000, "s"), (1_000, "ms")):
        if value >= step:
            return quantity(value / step, name)
    return f"{value} µs"


def entries(server: Redis, log: Log, *, commandlog: bool) -> list[Entry]:
    """The newest first. commandlog: the server is asked by COMMANDLOG, which only Valkey has."""
    raw: Any = (
        server.execute_command("COMMANDLOG", "GET", MOST_ENTRIES, log.name)
        if commandlog
        else server.execute_command("SLOWLOG", "GET", MOST_ENTRIES)
    )
    return [
        Entry(
            datetime.fromtimestamp(at, UTC),
            value,
            [bytes(one) for one in command],
            words.word(rest[1]) if len(rest) > 1 and rest[1] else "unnamed",
        )
        for _id, at, value, command, *rest in raw
    ]


def length(server: Redis, log: Log, *, commandlog: bool) -> int:
    asked = ("COMMANDLOG", "LEN", log.name) if commandlog else ("SLOWLOG", "LEN")
    return int(server.execute_command(*asked))


def empty(server: Redis, log: Log, *, commandlog: bool) -> None:
    asked = ("COMMANDLOG", "RESET", log.name) if commandlog else ("SLOWLOG", "RESET")
    server.execute_command(*asked)


def grouped(found: Iterable[Entry], unit: str) -> list[Group]:
    """By name, number of arguments and the first key's prefix; those that took most first."""
    together: dict[tuple[str, int, str], list[Entry]] = {}
    for entry in found:
        together.setdefault(shape(entry.words), []).append(entry)
    groups = [
        Group(
            *key,
            count=len(several),
            worst=max(entry.value for entry in several),
            total=sum(entry.value for entry in several),
            last=max(entry.at for entry in several),
            example=" ".join(words.command(max(several, key=lambda entry: entry.value).words)),
            clients=sorted({entry.client for entry in several})[:3],
            unit=unit,
        )
        for key, several in together.items()
    ]
    return sorted(groups, key=lambda group: (-group.total, group.name))


def shape(command: list[bytes]) -> tuple[str, int, str]:
    """A command's name, how many arguments follow it, and what its first key begins with."""
    if not command:
        return "nothing", 0, ""
    name = words.word(command[0]).upper()
    arguments = len(command) - 1
    last = command[-1].decode(errors="replace")
    if last.startswith("... (") and last.endswith(MORE):
        arguments += int(last.removeprefix("... (").split(" ")[0]) - 1
    first = FIRST_KEY.get(name, 1)
    key = words.prefix(command[first]) if first and len(command) > first else ""
    if name in CONTAINERS.split() and len(command) > 1:
        name, arguments = f"{name} {words.word(command[1]).upper()}", arguments - 1
    return name, arguments, key


def statistics(info: Mapping[str, Any]) -> list[Command]:
    """What INFO commandstats says, those that took most time first."""
    lines = {
        name.removeprefix("cmdstat_"): value
        for name, value in info.items()
        if name.startswith("cmdstat_") and isinstance(value, dict)
    }
    whole = sum(int(line.get("usec", 0)) for line in lines.values())
    found = [
        Command(
            name=name.replace("|", " ").upper(),
            calls=int(line.get("calls", 0)),
            microseconds=int(line.get("usec", 0)),
            each=float(line.get("usec_per_call", 0)),
            share=100 * int(line.get("usec", 0)) / whole if whole else 0.0,
            failed=int(line.get("rejected_calls", 0)) + int(line.get("failed_calls", 0)),
        )
        for name, line in lines.items()
    ]
    return sorted(found, key=lambda command: (-command.microseconds, command.name))[:MOST_COMMANDS]


def delays(server: Redis) -> list[Delay]:
    """LATENCY LATEST, the worst first."""
    raw: Any = server.execute_command("LATENCY", "LATEST")
    found = [
        Delay(event.decode(errors="replace"), datetime.fromtimestamp(at, UTC), last, worst)
        for event, at, last, worst, *_ in raw
    ]
    return sorted(found, key=lambda delay: -delay.worst)


def doctor(server: Redis) -> str:
    """LATENCY DOCTOR's advice."""
    raw: Any = server.execute_command("LATENCY", "DOCTOR")
    return raw.decode(errors="replace").strip() if isinstance(raw, bytes) else str(raw).strip()


def thresholds(server: Redis) -> dict[str, int]:
    """The settings of SETTINGS that this server has, and the logs' lengths."""
    wanted = [*SETTINGS, *(log.most_setting for log in LOGS.values())]
    found: Any = {}
    for name in wanted:
        raw: Any = server.execute_command("CONFIG", "GET", name)
        pairs = raw.items() if isinstance(raw, dict) else zip(raw[::2], raw[1::2], strict=True)
        found |= {key.decode(): int(value) for key, value in pairs}
    return dict(found)


def set_threshold(server: Redis, name: str, value: int) -> None:
    """CONFIG SET; it lasts until the server's next start."""
    server.execute_command("CONFIG", "SET", name, value)
