"""Changes of one element of a hash, list, set, sorted set or stream: each one script, and none by chance.

A script compares what the element holds with what was read, and writes only if nobody else has written
meanwhile. It does not write to a key that is gone: that would make a new one, without an expiry. The expiry
of the key stays, and that of a hash's field (Redis 7.4, Valkey 9) too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Any

from redis import Redis

from cache_admin.masking import is_session

#: Bytes of an element that is changed in a text field, and of one that is named in an address.
LARGEST, LONGEST_NAMED = 64 * 1024, 1000
KINDS = ("hash", "list", "set", "zset", "stream")

#: KEYS: the key. ARGV: its type; "there" or "anew"; milliseconds to live when anew, 0: for ever; then
#: what the step takes. Answers "ok" and whether the key is still there; "changed" and what the element holds
#: now, false for none; "gone"; "there", when it was to be made anew.
SCRIPT = """
local now = redis.call('TYPE', KEYS[1])['ok']
if ARGV[2] == 'anew' then
  if now ~= 'none' then return {'there'} end
elseif now ~= ARGV[1] then
  return {'gone'}
end
local function changed(value)
  return {'changed', value and string.sub(value, 1, %(largest)d) or false}
end
local function step()
%(step)s
end
local refused = step()
if refused then return refused end
if ARGV[2] == 'anew' and tonumber(ARGV[3]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return {'ok', redis.call('EXISTS', KEYS[1])}
"""
#: read: the SHA-1 of what was read, "" for an element that must not be there yet.
COMPARE = """
  if read == '' then
    if old then return changed(old) end
  elseif not old or redis.sha1hex(old) ~= read then
    return changed(old)
  end
"""
#: What HSET would take away from a field is given back; servers that know no expiry of fields say an error.
STEPS = {
    ("hash", "set"): f"""
  local field, new, read = ARGV[4], ARGV[5], ARGV[6]
  local old = redis.call('HGET', KEYS[1], field)
  {COMPARE}
  local last = redis.pcall('HPEXPIRETIME', KEYS[1], 'FIELDS', 1, field)
  redis.call('HSET', KEYS[1], field, new)
  if type(last) == 'table' and not last['err'] and (tonumber(last[1]) or -1) > 0 then
    redis.call('HPEXPIREAT', KEYS[1], string.format('%.0f', last[1]), 'FIELDS', 1, field)
  end
""",
    ("hash", "remove"): f"""
  local field, read = ARGV[4], ARGV[5]
  local old = redis.call('HGET', KEYS[1], field)
  {COMPARE}
  redis.call('HDEL', KEYS[1], field)
""",
    ("list", "set"): f"""
  local index, new, read = ARGV[4], ARGV[5], ARGV[6]
  local old = redis.call('LINDEX', KEYS[1], index)
  {COMPARE}
  redis.call('LSET', KEYS[1], index, new)
""",
    ("list", "remove"): f"""
  local index, read, grave = ARGV[4], ARGV[5], ARGV[6]
  local old = redis.call('LINDEX', KEYS[1], index)
  {COMPARE}
  redis.call('LSET', KEYS[1], index, grave)
  local from = 1
  if tonumber(index) * 2 > redis.call('LLEN', KEYS[1]) then from = -1 end
  redis.call('LREM', KEYS[1], from, grave)
""",
    ("list", "add"): """
  redis.call(ARGV[5] == 'first' and 'LPUSH' or 'RPUSH', KEYS[1], ARGV[4])
""",
    ("set", "add"): """
  if redis.call('SADD', KEYS[1], ARGV[4]) == 0 then return changed(ARGV[4]) end
""",
    ("set", "remove"): """
  if redis.call('SREM', KEYS[1], ARGV[4]) == 0 then return changed(false) end
""",
    ("zset", "set"): """
  local member, new, read = ARGV[4], ARGV[5], ARGV[6]
  local old = redis.call('ZSCORE', KEYS[1], member)
  if (old and tonumber(old)) ~= (read ~= '' and tonumber(read)) then return changed(old) end
  redis.call('ZADD', KEYS[1], new, member)
""",
    ("zset", "remove"): """
  local member, read = ARGV[4], ARGV[5]
  local old = redis.call('ZSCORE', KEYS[1], member)
  if not old or tonumber(old) ~= tonumber(read) then return changed(old) end
  redis.call('ZREM', KEYS[1], member)
""",
    ("stream", "add"): """
  redis.call('XADD', KEYS[1], '*', unpack(ARGV, 4))
""",
    ("stream", "remove"): """
  if redis.call('XDEL', KEYS[1], ARGV[4]) == 0 then return changed(false) end
""",
}


class ElementChanged(Exception):  # noqa: N818 - a fact, and no error
    """Somebody else changed it since it was read. now: the beginning of what it holds, None: it is gone."""

    def __init__(self, now: bytes | None) -> None:
        super().__init__("The element was changed meanwhile.")
        self.now = now


class KeyGone(Exception):  # noqa: N818 - a fact, and no error
    """The key does not exist, or holds another type: it expired, was deleted, renamed or replaced."""


class KeyThere(Exception):  # noqa: N818 - a fact, and no error
    """It was to be made anew, and somebody else had made it."""


@dataclass(frozen=True)
class Made:
    """How a key is made anew that had gone. seconds: it lives, None: until it is deleted."""

    seconds: int | None


def code_of(raw: bytes) -> str:
    """A field or member in addresses and forms; "" for one that has none: too long, or a session's key."""
    if len(raw) > LONGEST_NAMED or is_session(raw):
        return ""
    return f"_{base64.urlsafe_b64encode(raw).decode('ascii').rstrip('=')}"


def is_stream_id(text: str) -> bool:
    """Whether it is an id in full, of two numbers that fit into 64 bits; a server refuses any other."""
    numbers = re.fullmatch(r"([0-9]{1,20})-([0-9]{1,20})", text)
    return numbers is not None and max(map(int, numbers.groups())) < 2**64


def read_code(kind: str, code: str) -> bytes:
    """The field or member; of a list the index, of a stream the id. Raises ValueError for anything else."""
    wrong = ValueError("The address names no element.")
    if kind == "list":
        if not (code.isascii() and code.isdigit() and len(code) < 19):
            raise wrong
        return code.encode()
    if kind == "stream":
        if not is_stream_id(code):
            raise wrong
        return code.encode()
    if not code.startswith("_"):
        raise wrong
    try:
        raw = base64.b64decode(code[1:] + "=" * (-len(code[1:]) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise wrong from error
    if code_of(raw) != code:
        raise wrong
    return raw


def mark_of(kind: str, raw: bytes | None) -> str:
    """What a form sends back, so that the element is changed only if it is still this one."""
    if raw is None:
        return ""
    if kind == "zset":
        return raw.decode("ascii")
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()  # what Redis's Lua has


def read(client: Redis, key: bytes, kind: str, name: bytes) -> bytes | None:
    """What the element holds: the value of a field or index, the score of a member (its digits).

    None: it is not there, or is larger than LARGEST. For a set or stream b"" when it is there.
    """
    answer: Any
    if kind == "hash":
        if int(client.execute_command("HSTRLEN", key, name)) > LARGEST:
            return None
        answer = client.hget(key, name)
    elif kind == "list":
        answer = client.lindex(key, int(name))
    elif kind == "zset":
        score: Any = client.zscore(key, name)
        answer = None if score is None else f"{score:.17g}".encode()
    elif kind == "set":
        answer = b"" if client.execute_command("SISMEMBER", key, name) else None
    else:
        answer = b"" if client.xrange(key, min=name, max=name, count=1) else None
    return None if answer is None or len(answer) > LARGEST else bytes(answer)


def change(
    client: Redis, key: bytes, kind: str, do: str, *words: bytes | str, made: Made | None = None
) -> bool:
    """Do one step of STEPS; whether the key is still there (the last element takes it along).

    words: what the step takes. made: make the key anew, if it is still gone. Raises ElementChanged,
    KeyGone, KeyThere, redis.exceptions.RedisError; then nothing was written.
    """
    script = SCRIPT % {"largest": LARGEST, "step": STEPS[kind, do]}
    if (kind, do) == ("list", "remove"):
        words = (*words, f"arcweb:removed:{secrets.token_hex(16)}")
    milliseconds = 1000 * (made.seconds or 0) if made else 0
    answer: Any = client.eval(
        script,
        1,
        key,
        kind,
        "anew" if made else "there",
        milliseconds,
        *words,
    )
    said = answer[0]
    if said == b"ok":
        return bool(answer[1])
    if said == b"changed":
        raise ElementChanged(answer[1])
    raise KeyThere if said == b"there" else KeyGone
