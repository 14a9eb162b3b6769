"""Keys by database and type: counted in a server of our own, kept in the manifest, compared. No Django."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.redis_rdb.saving import Tell
from arcweb.backups.redis_rdb.scratch import Loaded

#: Keys that one call of the script looks at; it holds the server for some milliseconds.
AT_ONCE = 10_000
#: One step of SCAN inside the server: no key name leaves it. Returns the cursor, then type, keys, expiring …
COUNT = """
local found = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2])
local keys, expiring = {}, {}
for _, key in ipairs(found[2]) do
    local kind = redis.call('TYPE', key)['ok']
    if kind ~= 'none' then
        keys[kind] = (keys[kind] or 0) + 1
        if redis.call('PTTL', key) >= 0 then expiring[kind] = (expiring[kind] or 0) + 1 end
    end
end
local answer = {found[1]}
for kind, number in pairs(keys) do
    table.insert(answer, kind)
    table.insert(answer, number)
    table.insert(answer, expiring[kind] or 0)
end
return answer
"""


@dataclass(frozen=True)
class Count:
    """keys: all that were there; expiring: those of them with a time to live."""

    keys: int = 0
    expiring: int = 0

    @property
    def lasting(self) -> int:
        return self.keys - self.expiring


#: Database number → type ("string", "stream" …) → count.
Counts = Mapping[int, Mapping[str, Count]]


@dataclass(frozen=True)
class Contents:
    """What a loaded RDB holds. expired: keys past their time, which the server left out when it loaded it."""

    counts: Counts
    loaded: int
    expired: int

    @property
    def total(self) -> int:
        """Keys in the file, whatever their time."""
        return self.loaded + self.expired

    def to_json(self) -> dict[str, Any]:
        return {
            "loaded": self.loaded,
            "expired": self.expired,
            "databases": {
                str(number): {
                    kind: {"keys": one.keys, "expiring": one.expiring} for kind, one in kinds.items()
                }
                for number, kinds in self.counts.items()
            },
        }

    @classmethod
    def from_json(cls, found: Any) -> Contents:
        """Raises CorruptCopy for what `to_json` did not make."""
        try:
            counts = {
                int(number): {
                    str(kind): Count(_number(one["keys"]), _number(one["expiring"]))
                    for kind, one in kinds.items()
                }
                for number, kinds in found["databases"].items()
            }
            return cls(counts, _number(found["loaded"]), _number(found["expired"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise CorruptCopy("The manifest's counts of keys cannot be read.") from None


def contents(loaded: Loaded, tell: Tell) -> Contents:
    """What that server has loaded. Raises redis.exceptions.RedisError."""
    return Contents(count(loaded.client, tell), loaded.loaded, loaded.expired)


def count(client: Redis, tell: Tell) -> Counts:
    """Counts every key of that server. Nobody else may use it. Raises redis.exceptions.RedisError."""
    found: dict[int, dict[str, Count]] = {}
    filled = [int(name.removeprefix("db")) for name in client.info("keyspace")]
    seen = 0
    # One connection, since SELECT holds for it alone.
    with client.client() as line:
        for number in sorted(filled):
            line.execute_command("SELECT", number)
            kinds: dict[str, Count] = {}
            cursor = b"0"
            while True:
                cursor, *words = line.eval(COUNT, 0, cursor, AT_ONCE)
                for kind, keys, expiring in zip(words[0::3], words[1::3], words[2::3], strict=True):
                    before = kinds.get(kind.decode(), Count())
                    kinds[kind.decode()] = Count(before.keys + keys, before.expiring + expiring)
                    seen += keys
                if cursor == b"0":
                    break
                tell(f"counted {seen:,} keys")
            found[number] = dict(sorted(kinds.items()))
    return found


def differences(said: Contents, found: Contents) -> list[str]:
    """What of the manifest's counts is not so in the server: sentences, none when all agree.

    Keys without a time to live must be the same to the last one. Those with one may have passed it since: as
    many may be gone as the server left out when it loaded the file or has let expire since; the file's total,
    with those, must be the same.
    """
    wrong = []
    if said.total != found.total:
        wrong.append(f"The file holds {found.total:,} keys, and its manifest says {said.total:,}.")
    for number in sorted({*said.counts, *found.counts}):
        before, now = said.counts.get(number, {}), found.counts.get(number, {})
        for kind in sorted({*before, *now}):
            one, other = before.get(kind, Count()), now.get(kind, Count())
            if one.lasting != other.lasting:
                wrong.append(
                    f"Database {number} has {other.lasting:,} keys of type {kind} without a time to live, "
                    f"and the manifest says {one.lasting:,}."
                )
            if other.expiring > one.expiring:
                wrong.append(
                    f"Database {number} has {other.expiring:,} keys of type {kind} with a time to live, and "
                    f"the manifest says {one.expiring:,}."
                )
    return wrong


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value
