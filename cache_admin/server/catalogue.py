"""The settings of a Redis server that matter here: what each does, what it should be, and why. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from cache_admin.connections import Role
from cache_admin.server.eviction import POLICIES

Kind = Literal["text", "memory", "number", "yesno", "choice"]
MEMORY = re.compile(r"(\d+)(b|k|kb|m|mb|g|gb)?", re.IGNORECASE)
UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}


@dataclass(frozen=True)
class Advice:
    """What a setting should be in a role. value None: any will do, `why` says what to weigh."""

    value: str | None
    why: str


@dataclass(frozen=True)
class Setting:
    name: str
    group: str
    does: str
    advice: Mapping[Role, Advice]
    kind: Kind = "number"
    choices: tuple[str, ...] = ()
    example: str = ""  #: a value that fits
    fits: Callable[[str, str], bool] | None = None  #: (current, recommended): as good as what is recommended


def _both(value: str | None, why: str) -> dict[Role, Advice]:
    return {"cache": Advice(value, why), "state": Advice(value, why)}


def _at_least(current: str, wanted: str) -> bool:
    return current.isdigit() and wanted.isdigit() and int(current) >= int(wanted)


def _set(current: str, wanted: str) -> bool:
    return current not in ("", "0")


LAZY = "Freeing a large value in a thread of its own does not stop the server; it costs nothing else."
SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "maxmemory",
            "Memory",
            "How much the data may take, in bytes; 0 is no limit.",
            {
                "cache": Advice(
                    "256mb",
                    "Without a limit a cache grows until the machine has no memory left. Any size "
                    "that fits the machine is right; leave half of it free for BGSAVE's copy.",
                ),
                "state": Advice(
                    None,
                    "A limit makes the server refuse writes instead of taking the machine down with "
                    "it; it must hold the longest queue.",
                ),
            },
            "memory",
            example="256mb",
            fits=_set,
        ),
        Setting(
            "maxmemory-policy",
            "Memory",
            "What is evicted when the memory is full.",
            {
                "cache": Advice(
                    "allkeys-lru",
                    "Everything in this role can be made again, and what was not used for long is "
                    "missed least.",
                ),
                "state": Advice(
                    "noeviction",
                    "A task, lock or limit that is evicted is gone without a word; a refused write "
                    "is an error that somebody sees.",
                ),
            },
            "choice",
            choices=tuple(POLICIES),
            fits=lambda current, wanted: (
                current == wanted
                or (wanted == "allkeys-lru" and current in ("allkeys-lfu", "allkeys-lrm", "allkeys-random"))
            ),
        ),
        Setting(
            "maxmemory-samples",
            "Memory",
            "Keys that are compared to find one to evict.",
            _both(
                "5",
                "5 comes near to the true least recently used; 10 is nearer and takes more processor time.",
            ),
            fits=_at_least,
        ),
        Setting(
            "lazyfree-lazy-eviction",
            "Memory",
            "Whether evicted keys are freed in the background.",
            _both("yes", LAZY),
            "yesno",
        ),
        Setting(
            "lazyfree-lazy-expire",
            "Memory",
            "Whether expired keys are freed in the background.",
            _both("yes", LAZY),
            "yesno",
        ),
        Setting(
            "lazyfree-lazy-server-del",
            "Memory",
            "Whether a value that a command replaces (SET, RENAME) is freed in the background.",
            _both("yes", LAZY),
            "yesno",
        ),
        Setting(
            "lazyfree-lazy-user-del",
            "Memory",
            "Whether DEL frees as UNLINK does.",
            _both("yes", LAZY),
            "yesno",
        ),
        Setting(
            "lazyfree-lazy-user-flush",
            "Memory",
            "Whether FLUSHDB without a word frees in the background.",
            _both("yes", LAZY),
            "yesno",
        ),
        Setting(
            "save",
            "Persistence",
            "When a snapshot is written by itself: seconds and changes, in pairs. Empty: never.",
            {
                "cache": Advice(
                    None,
                    "A cache can do without: it starts empty and fills up. With snapshots it starts warm.",
                ),
                "state": Advice(
                    "900 1 300 10 60 10000",
                    "A snapshot is what a backup copies, and starts faster than the append-only file alone.",
                ),
            },
            "text",
            example="900 1 300 10 60 10000",
            fits=lambda current, wanted: bool(current),
        ),
        Setting(
            "appendonly",
            "Persistence",
            "Whether every write is also added to a file (AOF), from which a start brings it back.",
            {
                "cache": Advice(
                    "no", "What is lost here is made again; the file would cost a write for each."
                ),
                "state": Advice(
                    "yes",
                    "Tasks, locks and leaderboards of the minutes since the last snapshot would be lost.",
                ),
            },
            "yesno",
        ),
        Setting(
            "appendfsync",
            "Persistence",
            "When that file is brought to the disk: at every write (always), each second "
            "(everysec), or when the system likes (no).",
            {
                "cache": Advice(None, "Of no effect while appendonly is no."),
                "state": Advice(
                    "everysec",
                    "A power cut costs one second at most; always makes each write wait for the disk.",
                ),
            },
            "choice",
            choices=("always", "everysec", "no"),
            fits=lambda current, wanted: current in ("always", "everysec"),
        ),
        Setting(
            "auto-aof-rewrite-percentage",
            "Persistence",
            "By how much of its size the file has grown when it is rewritten by itself, in "
            "percent; 0: never.",
            _both("100", "At twice its size it is worth the work; never lets it grow without end."),
            fits=_set,
        ),
        Setting(
            "stop-writes-on-bgsave-error",
            "Persistence",
            "Whether writes are refused after a snapshot failed.",
            {
                "cache": Advice("no", "A full disk is no reason to stop caching; the overview tells of it."),
                "state": Advice("yes", "Better a refused task than one that a restart forgets."),
            },
            "yesno",
        ),
        Setting(
            "timeout",
            "Connections",
            "Seconds after which an idle client is sent away; 0: never.",
            _both(
                "0",
                "Pools keep idle connections on purpose; to lose one costs the next request an "
                "error or a retry.",
            ),
        ),
        Setting(
            "tcp-keepalive",
            "Connections",
            "Seconds between questions to a silent client whether it still lives. Of no effect "
            "on Unix sockets.",
            _both(
                "300",
                "Clients behind a firewall that forgot them, or on a machine that went down, are "
                "noticed and their places freed.",
            ),
            fits=lambda current, wanted: current.isdigit() and 0 < int(current) <= int(wanted),
        ),
        Setting(
            "maxclients",
            "Connections",
            "How many clients may be connected.",
            _both(
                "1000",
                "Each web thread and worker process has some connections; one too many is "
                "refused with an error.",
            ),
            fits=_at_least,
        ),
        Setting(
            "slowlog-log-slower-than",
            "Watching",
            "Microseconds from which on a command is kept in the slow log; 0: every command, -1: none.",
            _both(
                "10000",
                "10 ms is long for a server that answers others in 0.1 ms meanwhile: all of them waited.",
            ),
            fits=lambda current, wanted: current.lstrip("-").isdigit() and 0 < int(current) <= int(wanted),
        ),
        Setting(
            "slowlog-max-len",
            "Watching",
            "How many commands the slow log keeps.",
            _both("128", "Enough for a bad hour; each takes some hundred bytes."),
            fits=_at_least,
        ),
        Setting(
            "latency-monitor-threshold",
            "Watching",
            "Milliseconds from which on LATENCY keeps what made the server slow; 0: it keeps nothing.",
            _both(
                "100",
                "It tells a fork, a disk or an expiry wave from a slow command, and costs next to nothing.",
            ),
            fits=_set,
        ),
        Setting(
            "notify-keyspace-events",
            "Watching",
            "Which changes of keys are published to those who listen; empty: none.",
            _both(
                "",
                "Each event costs a publication, whether anybody listens or not; nothing of this site does.",
            ),
            "text",
            example="Ex",
        ),
        Setting(
            "activedefrag",
            "Watching",
            "Whether torn memory is put together while the server works.",
            _both(
                None,
                "Of use where fragmentation stays above 1.5 with much data; builds without "
                "jemalloc refuse it.",
            ),
            "yesno",
        ),
    )
}
#: What cannot or must not be changed from a page, and why.
PROTECTED: Mapping[str, str] = {
    "requirepass": "The password is not shown. Changed here, every client would fail at its next "
    "connection: change it in the server's file and in REDIS_URL together.",
    "dir": "Where files are written. Protected by the server (enable-protected-configs): whoever "
    "may change it can write files anywhere that the server's account may.",
    "dbfilename": "The snapshot's name; protected for the same reason.",
    "appendfilename": "Read at start only.",
    "enable-protected-configs": "Says whether the protected settings may be changed "
    "at all; read at start only.",
    "enable-debug-command": "DEBUG can crash the server; read at start only.",
    "enable-module-command": "MODULE LOAD runs any program as the server's account; read at start only.",
    "bind": "Which addresses are listened on. Changed by mistake, it locks this site out.",
    "port": "Changed by mistake, it locks this site out.",
    "unixsocket": "Read at start only.",
    "databases": "Read at start only.",
    "cluster-enabled": "Read at start only.",
    "rename-command": "Read at start only; an ACL does better.",
}
SECRET = frozenset({"requirepass"})


def fitting(setting: Setting, current: str, role: Role) -> bool | None:
    """Whether the current value is as recommended, or as good; None where any will do."""
    advice = setting.advice[role]
    if advice.value is None:
        return None
    if same(setting, current, advice.value):
        return True
    return setting.fits(current, advice.value) if setting.fits else False


def same(setting: Setting, one: str, other: str) -> bool:
    """Whether two spellings are one value: "256mb" and "268435456"."""
    if setting.kind == "memory":
        return in_bytes(one) == in_bytes(other)
    return " ".join(one.split()).lower() == " ".join(other.split()).lower()


def in_bytes(text: str) -> int | None:
    """Bytes by the server's own units (k is 1,000, kb is 1,024); None for what it would not take."""
    found = MEMORY.fullmatch(text.strip())
    return None if found is None else int(found[1]) * UNITS[(found[2] or "").lower()]


def trouble(setting: Setting, value: str) -> str:
    """Why the value cannot be right: a sentence; "" if the server may be asked."""
    if any(not char.isprintable() for char in value) or len(value) > 200:
        return f"{setting.name} takes one line of at most 200 characters."
    if setting.kind == "memory" and in_bytes(value) is None:
        return f"{setting.name} takes a number of bytes, with or without a unit: 256mb, 1gb, 0."
    if setting.kind == "number" and not re.fullmatch(r"-?\d{1,18}", value):
        return f"{setting.name} takes a whole number."
    if setting.kind == "yesno" and value not in ("yes", "no"):
        return f"{setting.name} takes yes or no."
    if setting.kind == "choice" and value not in setting.choices:
        return f"{setting.name} takes one of {', '.join(setting.choices)}."
    if setting.name == "save" and value and not re.fullmatch(r"\d+ \d+( \d+ \d+)*", value):
        return "save takes pairs of seconds and changes: 900 1 300 10 60 10000; empty for no snapshots."
    return ""


def risk(role: Role, name: str, value: str, *, used: float) -> str:
    """What that change would do at once that a person may not expect: a sentence, or ""."""
    if name == "maxmemory":
        most = in_bytes(value) or 0
        if 0 < most < used:
            return (
                "That is less than what is in use: the server evicts keys at once until it fits, "
                "or refuses writes where it may not evict."
            )
        if not most:
            return "Without a limit the data may take all of the machine's memory."
    if name == "maxmemory-policy" and role == "state" and value != "noeviction":
        return "Tasks, locks and limits of this role may then be evicted without a word."
    if name == "appendonly" and value == "yes":
        return "The server writes the whole data to a new file in the background at once."
    if name == "appendonly" and role == "state":
        return "After a restart, everything since the last snapshot is lost."
    if name == "save" and not value:
        return "No more snapshots are written by themselves."
    if name == "maxclients":
        return "Below the number of present connections, new ones are refused, those of this site too."
    if name == "timeout" and value not in ("0", ""):
        return "Idle connections of pools are cut: their next use fails or is tried again."
    return ""
