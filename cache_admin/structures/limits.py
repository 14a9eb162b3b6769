"""Rate limits: the generic cell rate algorithm (GCRA), one Lua script, on the state role.

    verdict = limits.SEARCH.hit("user:7")
    if not verdict.allowed: ...wait verdict.retry_after seconds

GCRA is the virtual scheduling algorithm of ITU-T Recommendation I.371 (Annex A) and of the ATM Forum's
Traffic Management Specification 4.1 (section 4.4.2). For each identity it keeps one number, the theoretical
arrival time (TAT): when a sender that keeps exactly to the rate would send next. A hit moves the TAT on by
the emission interval, and is refused if the TAT would be further ahead of now than the burst allows. So in
no window, wherever it begins, are there more than burst + rate * window / per_seconds hits: a counter
with a fixed window (INCR, EXPIRE) lets twice its number through at the window's edge, and one whose
EXPIRE was lost never ends.

The time is the server's, in whole microseconds, and the key always has an expiry: that of its TAT.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from django.conf import settings
from redis import Redis
from redis.commands.core import Script
from redis.exceptions import RedisError

from cache_admin.structures.quick import ask

logger = logging.getLogger(__name__)
PREFIX = "arcweb:limit:"
#: Bytes of an identity that stand in its key; of a longer one the hash does.
LONGEST_IDENTITY = 150
MICRO = 1_000_000
LOG_EVERY = 60.0  # seconds

#: KEYS: the identity's key. ARGV: interval and tolerance in microseconds, cost (0 only looks).
#: Returns whether it is allowed, by how many microseconds the TAT is ahead now, and now.
#: A TAT further ahead than the tolerance, of a clock that was set back or a limit that was larger, is cut:
#: else it would refuse until the clock is there again.
SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local interval, tolerance, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tat = tonumber(redis.call('GET', KEYS[1]) or '') or now
local ahead = math.max(tat - now, 0)
if ahead > tolerance then
    ahead = tolerance
    redis.call('SET', KEYS[1], string.format('%.0f', now + ahead), 'PX', math.ceil(ahead / 1000))
end
local then_ahead = ahead + cost * interval
if then_ahead > tolerance then
    return {0, ahead, now}
end
if cost > 0 then
    redis.call('SET', KEYS[1], string.format('%.0f', now + then_ahead), 'PX', math.ceil(then_ahead / 1000))
end
return {1, then_ahead, now}
"""


@dataclass(frozen=True)
class Verdict:
    """What became of a hit, or would become of one.

    remaining: hits that are allowed at once now. retry_after: seconds until this many are allowed again, 0
    if they are. reset_after: seconds until all of the burst is there again. at: the server's time of the
    decision, in seconds. known: False when Redis did not answer, and `allowed` is what the limit says
    for that.
    """

    allowed: bool
    remaining: int
    retry_after: float
    reset_after: float
    at: float
    known: bool = True


@dataclass(frozen=True)
class Limit:
    """At most `burst` hits at once, and `rate` in `per_seconds` in the long run, of each identity.

    when_away: whether hits are allowed ("open") or refused ("closed") while Redis cannot say. about: whom
    it limits in what, for people. used: the pages of this site that ask it. setting: the variable of the
    environment that says the rate; with _BURST behind it the burst. Raises ValueError for a limit that
    nobody could keep.
    """

    name: str
    rate: int
    per_seconds: float
    burst: int
    when_away: Literal["open", "closed"] = "open"
    about: str = ""
    used: str = ""
    setting: str = ""

    def __post_init__(self) -> None:
        if not self.name or ":" in self.name:
            raise ValueError(f"A limit's name has no colon and is not empty; {self.name!r} is not one.")
        if self.rate < 1 or self.burst < 1 or not 0 < self.per_seconds <= 31 * 86400:
            raise ValueError(
                f"The limit {self.name} needs a rate and a burst of 1 or more, and from above 0 to 31 days."
            )

    @property
    def interval(self) -> int:
        """Microseconds between hits at the rate; rounded up, so that the rate is never exceeded."""
        return math.ceil(self.per_seconds * MICRO / self.rate)

    def key(self, identity: str) -> str:
        raw = identity.encode("utf-8", "surrogatepass")
        if len(raw) > LONGEST_IDENTITY:
            identity = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        return f"{PREFIX}{self.name}:{identity}"

    def hit(self, identity: str, cost: int = 1) -> Verdict:
        """Count `cost` hits of that identity, all or none. Never raises for a Redis that is away."""
        if not 1 <= cost <= self.burst:
            raise ValueError(f"A hit of the limit {self.name} costs from 1 to {self.burst}, not {cost}.")
        return self._decide(identity, cost)

    def peek(self, identity: str) -> Verdict:
        """What one hit would find, without counting it."""
        return self._decide(identity, 0)

    def reset(self, identity: str) -> bool:
        """Forget that identity's hits; whether there were any. Raises redis.exceptions.RedisError."""
        return bool(ask(lambda client: client.delete(self.key(identity))))

    def verdict(self, allowed: bool, ahead: int, now: int, cost: int = 1) -> Verdict:
        """In words of hits and seconds, what the script says in microseconds."""
        tolerance = self.burst * self.interval
        missing = max(0, ahead + cost * self.interval - tolerance)
        return Verdict(
            allowed,
            (tolerance - ahead) // self.interval,
            0.0 if allowed else missing / MICRO,
            ahead / MICRO,
            now / MICRO,
        )

    def _decide(self, identity: str, cost: int) -> Verdict:
        arguments = [self.interval, self.burst * self.interval, cost]
        try:
            allowed, ahead, now = ask(lambda client: _script()([self.key(identity)], arguments, client))
        except RedisError as error:
            _say_away(self, error)
            allowed = self.when_away == "open"
            return Verdict(allowed, 0, 0.0 if allowed else 1.0, 0.0, time.time(), known=False)
        if cost == 0:
            allowed = ahead + self.interval <= self.burst * self.interval
        return self.verdict(bool(allowed), ahead, now, cost or 1)


@lru_cache(maxsize=1)
def _script() -> Script:
    """Sent by its hash, and in full when the server does not know it."""
    return Script(Redis(), SCRIPT)  # the client is only asked for its encoding


class _Said:
    at = float("-inf")


def _say_away(limit: Limit, error: RedisError) -> None:
    if time.monotonic() - _Said.at >= LOG_EVERY:
        _Said.at = time.monotonic()
        result = "allowed" if limit.when_away == "open" else "refused"
        logger.warning(
            "Redis (REDIS_STATE_URL) cannot say whether the limit %s is kept; hits are %s meanwhile: %s",
            limit.name,
            result,
            error,
        )


_limits: dict[str, Limit] = {}


def register_limit(limit: Limit) -> Limit:
    """Make it known by its name; another limit of that name is a programming error (ValueError)."""
    if _limits.setdefault(limit.name, limit) != limit:
        raise ValueError(f"Two limits are named {limit.name!r}.")
    return limit


def limits() -> tuple[Limit, ...]:
    """Every named limit, in the order of registration."""
    return tuple(_limits.values())


def find_limit(name: str) -> Limit | None:
    return _limits.get(name)


LOGIN = register_limit(
    Limit(
        "login",
        rate=settings.ARC_LIMIT_LOGIN,
        per_seconds=60,
        burst=settings.ARC_LIMIT_LOGIN_BURST,
        when_away="closed",  # it would guard passwords: nobody may guess on while it cannot count
        about="For tries to log in at other services. This site counts its own in PostgreSQL, which forgets "
        "nothing while Redis is away.",
        setting="ARC_LIMIT_LOGIN",
    )
)
API = register_limit(
    Limit(
        "api",
        rate=settings.ARC_LIMIT_API,
        per_seconds=60,
        burst=settings.ARC_LIMIT_API_BURST,
        about="Files that one user takes: exports of events, values of keys. Other services may count "
        "calls of a key of their API here.",
        used="Events, Keys",
        setting="ARC_LIMIT_API",
    )
)
SEARCH = register_limit(
    Limit(
        "search",
        rate=settings.ARC_LIMIT_SEARCH,
        per_seconds=60,
        burst=settings.ARC_LIMIT_SEARCH_BURST,
        about="Searches of one user on the page Search; a search costs processor time, so that one cannot "
        "slow down everybody.",
        used="Search",
        setting="ARC_LIMIT_SEARCH",
    )
)
TEST_MESSAGE = register_limit(
    Limit(
        "alert_test",
        rate=6,
        per_seconds=60,
        burst=5,
        about="Test messages of one user to the channels of alerts: their receivers have limits of "
        "their own, and what uses them up keeps a true alert away.",
        used="Alerts",
    )
)


@dataclass(frozen=True)
class Standing:
    """An identity that a limit knows."""

    key: bytes
    limit: Limit
    identity: str
    verdict: Verdict


def standings(client: Redis, keys: Iterable[bytes]) -> list[Standing]:
    """How the identities behind those keys stand, in two trips; what ran out meanwhile is left out."""
    known = [(key, *_parts(key)) for key in keys]
    named = [(key, limit, identity) for key, limit, identity in known if limit is not None]
    if not named:
        return []
    seconds, micros = client.time()
    now = seconds * MICRO + micros
    pipe = client.pipeline(transaction=False)
    for key, _, _ in named:
        pipe.get(key)
    found = []
    for (key, limit, identity), value in zip(named, pipe.execute(raise_on_error=False), strict=True):
        if not isinstance(value, bytes) or not value.isdigit():
            continue
        ahead = min(max(int(value) - now, 0), limit.burst * limit.interval)
        allowed = ahead + limit.interval <= limit.burst * limit.interval
        found.append(Standing(key, limit, identity, limit.verdict(allowed, ahead, now)))
    return found


def _parts(key: bytes) -> tuple[Limit | None, str]:
    name, _, identity = key.decode("utf-8", "backslashreplace").removeprefix(PREFIX).partition(":")
    return find_limit(name), identity
