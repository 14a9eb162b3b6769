"""What a server would evict first when its memory is full, and what that breaks. No request, no server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arcweb.charts import quantity, size
from arcweb.panels import Concern, State
from cache_admin.connections import Role
from cache_admin.server import purposes
from cache_admin.server.purposes import Survey

#: What each policy does, in a sentence (source: "Key eviction" of the Redis and Valkey documentation).
POLICIES: Mapping[str, str] = {
    "noeviction": "Nothing is evicted; when the memory is full, commands that would need more are refused.",
    "allkeys-lru": "Of all keys, those that were not used for the longest time go first.",
    "allkeys-lfu": "Of all keys, those that are used the least often go first.",
    "allkeys-lrm": "Of all keys, those that were not changed for the longest time go first.",
    "allkeys-random": "Of all keys, any may go.",
    "volatile-lru": "Of the keys that expire, those that were not used for the longest time go first.",
    "volatile-lfu": "Of the keys that expire, those that are used the least often go first.",
    "volatile-lrm": "Of the keys that expire, those that were not changed for the longest time go first.",
    "volatile-random": "Of the keys that expire, any may go.",
    "volatile-ttl": "Of the keys that expire, those that would do so soonest go first.",
}
#: Share of maxmemory from which on eviction is near.
NEAR = 0.8
UNSAFE = "Unsafe"


@dataclass(frozen=True)
class Line:
    """One purpose: what would become of its keys."""

    purpose: str
    keys: int
    expiring: int
    evicted: str  #: "first", "yes", "never"
    breaks: str
    state: State
    soonest: float | None
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    state: State
    word: str
    sentence: str
    policy: str
    explained: str
    headroom: str
    lines: tuple[Line, ...]


def verdict(role: Role, info: Mapping[str, Any], survey: Survey) -> Verdict:
    """Judge a server by INFO memory and a survey of the role's database."""
    policy = str(info.get("maxmemory_policy", ""))
    used, most = float(info.get("used_memory", 0)), float(info.get("maxmemory", 0))
    lines = tuple(
        Line(
            group.purpose,
            group.keys,
            group.expiring,
            _fate(policy, group.expiring),
            group.breaks,
            "warn" if group.precious and _fate(policy, group.expiring) != "never" else "idle",
            group.soonest,
            tuple(group.examples),
        )
        for group in survey.groups
    )
    state, word, sentence = _judge(role, policy, used, most, survey, lines)
    return Verdict(
        state,
        word,
        sentence,
        policy,
        POLICIES.get(policy, "This site does not know it."),
        headroom(used, most),
        lines,
    )


def headroom(used: float, most: float) -> str:
    """ "240 MB of 256 MB are free (94 %)"."""
    if not most:
        return (
            f"{size(used)} in use and no limit (maxmemory 0): the machine's memory is the "
            "limit, and when that is full the system may kill the server"
        )
    free = max(0.0, most - used)
    return f"{size(free)} of {size(most)} are free ({quantity(100 * free / most, '%')})"


def evicts(policy: str) -> bool:
    return policy not in ("", "noeviction")


def concern(role: Role, values: Mapping[str, float]) -> Concern | None:
    """The same verdict from a sample of `cache_admin.samplers`: "evicting", "unsafe", and the memory."""
    unsafe = int(values.get("unsafe", 0))
    if role != "cache" or not unsafe or not values.get("evicting"):
        return None  # an evicting state role is a concern whatever it holds: cache_admin.cards has that
    used, most = values.get("used_bytes", 0), values.get("max_bytes", 0)
    if not most:
        return None
    near = used >= NEAR * most
    return Concern(
        "bad" if near else "warn",
        f"Redis (cache role) holds {unsafe:,} key{'' if unsafe == 1 else 's'} or more that no "
        "page can bring back "
        "(tasks, locks, limits, sessions of others), and its policy may evict "
        f"them{': its memory is nearly full' if near else ''}.",
    )


def _fate(policy: str, expiring: int) -> str:
    if not evicts(policy):
        return "never"
    if policy.startswith("volatile-"):
        return "yes" if expiring else "never"
    return "yes"


def _judge(
    role: Role, policy: str, used: float, most: float, survey: Survey, lines: tuple[Line, ...]
) -> tuple[State, str, str]:
    if not policy:
        return (
            "unknown",
            "Unknown",
            ("This server does not tell its policy: nobody here can say what it evicts."),
        )
    full = bool(most) and used >= NEAR * most
    what = "of the keys seen" if not survey.complete else "of all keys"
    if not survey.seen and not (role == "state" and evicts(policy)):
        return "good", "Safe", "The database is empty: there is nothing to evict."
    if not evicts(policy):
        return _without_eviction(role, full, most, survey)
    threatened = [line for line in lines if line.state == "warn"]
    first = _first(policy, lines)
    mend = (
        "Set maxmemory-policy to noeviction here."
        if role == "state"
        else "Keep them in the state role, whose server evicts nothing."
    )
    if not most:
        mend = f"As long as maxmemory is 0 it does not come to that. {mend}"
    if threatened:
        kinds = _and([purposes.counted(line.purpose, line.keys) for line in threatened])
        return (
            "bad" if full else "warn",
            UNSAFE,
            (
                f"{policy} evicts {first} first. Among what it may take are {kinds} ({what}): when one goes, "
                f"{threatened[0].breaks}. {mend}"
            ),
        )
    if role == "state":
        words = f"{policy} may evict the tasks, locks and limits that this role is for. {mend}"
        return "warn", UNSAFE, words
    if policy.startswith("volatile-") and not survey.expiring:
        return (
            "warn",
            "Refuses",
            (
                f"{policy} evicts only keys that expire, and none {what} does: when the memory is "
                "full, writes are refused as with noeviction."
            ),
        )
    return (
        "good",
        "Safe",
        (
            f"{policy} evicts {first} first. {what.capitalize()}, none holds anything that a page does not "
            "bring back by itself."
        ),
    )


def _without_eviction(role: Role, full: bool, most: float, survey: Survey) -> tuple[State, str, str]:
    refused = (
        "new tasks, locks and limits are refused, and pages that need them say so"
        if role == "state"
        else "pages compute what they could not store, and are slower"
    )
    if full:
        return (
            "warn",
            "Nearly full",
            (
                f"Nothing is evicted, and the memory is nearly full: then {refused}. Raise maxmemory, "
                "or delete keys."
            ),
        )
    if role == "cache" and most:
        return (
            "warn",
            "No eviction",
            f"A cache that evicts nothing fills up: then {refused}. Set maxmemory-policy to allkeys-lru.",
        )
    return "good", "Safe", f"Nothing is evicted. When the memory is full, {refused}."


def _first(policy: str, lines: tuple[Line, ...]) -> str:
    """What goes first, in words, by what the policy looks at."""
    open_to_it = [line for line in lines if line.evicted != "never"]
    if not open_to_it:
        return "nothing"
    if policy == "volatile-ttl":
        soonest = min(open_to_it, key=lambda line: line.soonest if line.soonest is not None else float("inf"))
        return f"what expires soonest, now a key of the kind “{soonest.purpose}”,"
    most = max(open_to_it, key=lambda line: line.keys)
    how = {
        "lru": "the least recently used",
        "lfu": "the least often used",
        "lrm": "the longest unchanged",
    }.get(policy.rpartition("-")[2], "any")
    return f"{how} keys (most are of the kind “{most.purpose}”)"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
