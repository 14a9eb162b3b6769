"""Settings that CONFIG REWRITE wrote to a server's file, kept although that file is written anew at every
start. Pure: no Django, no files.

The start writes what the environment says, and beside it a copy. What differs from the copy at the next
start was set in the running server and written down by CONFIG REWRITE. It is kept, together with what the
environment said then, and wins over the environment until that says something else.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass

#: Settings that may be kept. None of them lets the server open a port, change its password, run a program
#: or write elsewhere: the file lies where the server's account may write.
KEEPABLE = frozenset(
    {
        "maxmemory",
        "maxmemory-policy",
        "maxmemory-samples",
        "lazyfree-lazy-eviction",
        "lazyfree-lazy-expire",
        "lazyfree-lazy-server-del",
        "lazyfree-lazy-user-del",
        "lazyfree-lazy-user-flush",
        "save",
        "appendonly",
        "appendfsync",
        "auto-aof-rewrite-percentage",
        "auto-aof-rewrite-min-size",
        "stop-writes-on-bgsave-error",
        "timeout",
        "tcp-keepalive",
        "maxclients",
        "slowlog-log-slower-than",
        "slowlog-max-len",
        # What Valkey writes for the two before.
        "commandlog-execution-slower-than",
        "commandlog-slow-execution-max-len",
        "latency-monitor-threshold",
        "notify-keyspace-events",
        "activedefrag",
    }
)
MEMORY = re.compile(r"(\d+)(b|k|kb|m|mb|g|gb)?")
UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1000**2, "mb": 1 << 20, "g": 1000**3, "gb": 1 << 30}


@dataclass(frozen=True)
class Kept:
    """A setting that outlasts a start."""

    value: str
    instead_of: str | None  #: what the environment said when it was kept; None: nothing


def parse(text: str) -> dict[str, str]:
    """Name → value of a configuration file; of a name in several lines (save), all its words."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            name, *words = shlex.split(line)
        except ValueError:
            continue
        found.setdefault(name.lower(), []).extend(words)
    return {name: " ".join(" ".join(words).split()) for name, words in found.items()}


def same(one: str | None, other: str | None) -> bool:
    """Whether two spellings are one value: "256mb" and "268435456"."""
    return _plain(one) == _plain(other)


def after_start(
    kept: Mapping[str, Kept], defaults: Mapping[str, str], *, written: str, present: str
) -> dict[str, Kept]:
    """What outlasts this start.

    kept: what outlasted the last one. defaults: what the environment says now. written: the file as the
    last start wrote it ("" where that is not known: then nothing new is learned); present: as it is now.
    """
    standing = dict(kept)
    before, now = parse(written), parse(present)
    for name in KEEPABLE & now.keys() if written else ():
        if not same(now[name], before.get(name)):
            instead_of = kept[name].instead_of if name in kept else before.get(name)
            standing[name] = Kept(now[name], instead_of)
    return {
        name: one
        for name, one in sorted(standing.items())
        if name in KEEPABLE
        and same(one.instead_of, defaults.get(name))
        and not same(one.value, defaults.get(name))
    }


def dumped(kept: Mapping[str, Kept]) -> str:
    return json.dumps({name: asdict(one) for name, one in kept.items()}, indent=1) + "\n"


def loaded(text: str) -> dict[str, Kept]:
    """The opposite of `dumped`; empty for anything else."""
    try:
        found = json.loads(text)
        return {
            str(name): Kept(str(one["value"]), None if one["instead_of"] is None else str(one["instead_of"]))
            for name, one in found.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _plain(value: str | None) -> str | int | None:
    if value is None:
        return None
    text = " ".join(value.split()).lower()
    number = MEMORY.fullmatch(text)
    return text if number is None else int(number[1]) * UNITS[number[2] or ""]
