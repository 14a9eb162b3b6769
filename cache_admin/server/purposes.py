"""What keys are for, told by their names; and a bounded look at which kinds a database holds."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from redis import Redis

from cache_admin.masking import is_session, masked

#: purpose → what is broken when such a key is evicted. In the order in which the page lists them.
BREAKS = {
    "queue": "tasks that wait are gone and never run, unless the job ledger sends them again",
    "unacked": "tasks that a worker had taken are not delivered again when that worker dies",
    "lock": "a second holder gets in while the first still works",
    "limit": "a caller who was slowed down starts afresh",
    "leaderboard": "a whole table of scores is gone at once: it is one key",
    "session": "people of other services are logged out",
    "unknown": "nobody here can say: ask whoever writes them",
    "own session": "nothing: it is read from PostgreSQL again",
    "cache": "nothing: it is computed again, for a moment more slowly",
}
#: Those that no page can bring back.
PRECIOUS = frozenset({"queue", "unacked", "lock", "limit", "leaderboard", "session"})
#: What keys of a purpose are called: one, and several.
NOUNS = {
    "queue": ("key of a queue", "keys of queues"),
    "unacked": ("record of taken tasks", "records of taken tasks"),
    "lock": ("lock", "locks"),
    "limit": ("rate limit", "rate limits"),
    "leaderboard": ("leaderboard", "leaderboards"),
    "session": ("session of another service", "sessions of other services"),
}
NAMES = (
    ("unacked", re.compile(rb"(?:^|:)unacked(?:_index|_mutex)?$")),
    (
        "queue",
        re.compile(rb"(?:^|:)_kombu\.binding\.|^arcweb:celery:|(?:^|:)(?:celery|quick)$|(?:^|:)queues?:"),
    ),
    ("lock", re.compile(rb"(?:^|:)(?:locks?|fencing)(?::|$)")),
    ("limit", re.compile(rb"(?:^|:)(?:rate|rates|limits?|ratelimit|throttle)(?::|$)")),
    ("leaderboard", re.compile(rb"(?:^|:)(?:leaderboards?|ranking|scores?)(?::|$)")),
)
#: What Django's cache makes of a key: prefix, version, name. Only this site's prefix, and none, which is
#: Django's default: another's "user:1:cart" has the same shape and may be dear.
CACHED = re.compile(rb"(?:arcweb)?:\d+:.|cache:", re.DOTALL)
OWN_SESSION = re.compile(rb"[^:]*:\d+:(?:django\.contrib\.sessions\.cached_db|arcweb\.accounts\.sessions)")
EXAMPLES = 3
BATCH = 100


def purpose_of(key: bytes, kind: bytes = b"") -> str:
    """One of BREAKS. kind: the key's type, which tells a leaderboard with a name of its own."""
    if is_session(key):
        return "own session" if OWN_SESSION.match(key) else "session"
    for purpose, pattern in NAMES:
        if pattern.search(key):
            return purpose
    if CACHED.match(key):
        return "cache"
    return "leaderboard" if kind == b"zset" else "unknown"


def counted(purpose: str, keys: int) -> str:
    """ "3 rate limits"."""
    one, several = NOUNS.get(purpose, (f"key for {purpose}", f"keys for {purpose}"))
    return f"{keys:,} {one if keys == 1 else several}"


@dataclass
class Group:
    """The keys of one purpose that were seen."""

    purpose: str
    keys: int = 0
    expiring: int = 0
    soonest: float | None = None  #: seconds until the first of them expires
    examples: list[str] = field(default_factory=list)  #: names fit to be shown

    @property
    def breaks(self) -> str:
        return BREAKS[self.purpose]

    @property
    def lasting(self) -> int:
        return self.keys - self.expiring

    @property
    def precious(self) -> bool:
        return self.purpose in PRECIOUS


@dataclass(frozen=True)
class Survey:
    """What a look at some keys of one database found."""

    seen: int
    total: int  #: keys of the database
    complete: bool  #: whether all were seen
    seconds: float
    groups: tuple[Group, ...]

    @property
    def precious(self) -> int:
        return sum(group.keys for group in self.groups if group.precious)

    @property
    def expiring(self) -> int:
        return sum(group.expiring for group in self.groups)

    def group(self, purpose: str) -> Group | None:
        return next((group for group in self.groups if group.purpose == purpose), None)


def survey(client: Redis, *, most: int = 5000, seconds: float = 0.3) -> Survey:
    """Look at `most` keys at most, for about so many seconds, by SCAN, TYPE and PTTL.

    SCAN walks the hash table, in which names lie in no order: what comes first is a fair sample.
    Raises redis.exceptions.RedisError.
    """
    began = time.monotonic()
    groups = {purpose: Group(purpose) for purpose in BREAKS}
    seen: set[bytes] = set()
    total = int(client.dbsize())
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, count=min(BATCH, most))
        fresh = [key for key in dict.fromkeys(keys) if isinstance(key, bytes) and key not in seen][
            : most - len(seen)
        ]
        seen.update(fresh)
        _count(client, fresh, groups)
        if cursor == 0 or len(seen) >= most or time.monotonic() - began > seconds:
            break
    return Survey(
        len(seen),
        max(total, len(seen)),
        cursor == 0 and len(seen) < most,
        time.monotonic() - began,
        tuple(group for group in groups.values() if group.keys),
    )


def _count(client: Redis, keys: Iterable[bytes], groups: dict[str, Group]) -> None:
    keys = list(keys)
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.type(key)
            pipe.pttl(key)
        answers = pipe.execute()
    for key, kind, milliseconds in zip(keys, answers[::2], answers[1::2], strict=True):
        if milliseconds == -2:  # expired meanwhile
            continue
        group = groups[purpose_of(key, kind)]
        group.keys += 1
        if milliseconds >= 0:
            group.expiring += 1
            left = milliseconds / 1000
            group.soonest = left if group.soonest is None else min(group.soonest, left)
        if len(group.examples) < EXAMPLES:
            name = masked(key)
            group.examples.append(name if len(name) <= 80 else f"{name[:80]}…")
