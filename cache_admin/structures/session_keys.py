"""Sessions that lie in Redis: read without their keys, which are credentials, and without any secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.sessions.backends.cached_db import SessionStore
from django.core.cache import cache
from django.utils.crypto import constant_time_compare, salted_hmac
from redis import Redis

from arcweb.accounts.records import hash_of
from cache_admin.masking import is_session, masked
from cache_admin.structures.scan import Found, find

#: Bytes of a value that are looked at.
MOST_READ = 64 * 1024
#: Fields of a session whose values may be seen. Of all others the names alone are.
HARMLESS = ("user_id", "uid", "user", "username", "role", "lang", "locale")
LONGEST = 60  # characters of a value, and of a field's name
MOST_NAMED = 12
#: The field in which Django keeps the user.
DJANGO_USER = "_auth_user_id"


@dataclass(frozen=True)
class SessionKey:
    """A session in Redis. `digest` stands for its key wherever people can see; it cannot be turned back."""

    digest: str
    name: str  #: masked
    own: bool  #: of this site's logins
    ttl: float | None  #: seconds; None: it never expires
    size: int  #: bytes of the value
    form: str  #: what the value is, in words
    user_id: str = ""  #: of this site's user
    facts: Mapping[str, str] = field(default_factory=dict)  #: harmless fields and their values
    others: tuple[str, ...] = ()  #: names of the fields that are not shown
    key_hash: str = ""  #: of this site's logins: what finds the record


def digest_of(key: bytes) -> str:
    """What stands for a session's key: keyed, so that nobody can try keys against it."""
    return salted_hmac("cache_admin.session_keys", key, algorithm="sha256").hexdigest()[:32]


def keys(client: Redis, most: int) -> Found:
    """The keys of sessions, within a bound of time."""
    return find(client, "*sess*", keep=is_session, most=most)


def find_key(client: Redis, digest: str) -> bytes | None:
    """The session's key behind a digest, looked for within a bound of time."""
    found = find(
        client,
        "*sess*",
        keep=lambda key: is_session(key) and constant_time_compare(digest_of(key), digest),
        most=1,
        seconds=0.5,
    )
    return found.keys[0] if found.keys else None


def is_own(key: bytes) -> bool:
    """Whether it is a session of this site, which is ended at its record in PostgreSQL."""
    return key.startswith(_own_beginning())


def _own_beginning() -> bytes:
    return str(cache.make_key(SessionStore.cache_key_prefix)).encode()


def _key_hash(key: bytes) -> str:
    return hash_of(key.removeprefix(_own_beginning()).decode("utf-8", "replace"))


def read(client: Redis, found: Iterable[bytes]) -> list[SessionKey]:
    """What may be known of those sessions, in one trip; those that ended meanwhile are left out."""
    names = list(found)
    if not names:
        return []
    pipe = client.pipeline(transaction=False)
    for key in names:
        pipe.type(key)
        pipe.pttl(key)
        pipe.strlen(key)
        pipe.getrange(key, 0, MOST_READ - 1)
    answers = pipe.execute(raise_on_error=False)
    result = []
    for position, key in enumerate(names):
        kind, ttl, size, value = answers[4 * position : 4 * position + 4]
        if not isinstance(kind, bytes) or kind == b"none" or not isinstance(ttl, int) or ttl == -2:
            continue
        facts: dict[str, Any] = {"form": f"a {kind.decode()}, not decoded"}
        if isinstance(value, bytes):
            facts = _decoded(value, whole=size <= MOST_READ)
        result.append(
            SessionKey(
                digest_of(key),
                masked(key),
                is_own(key),
                None if ttl < 0 else ttl / 1000,
                size if isinstance(size, int) else 0,
                key_hash=_key_hash(key) if is_own(key) else "",
                **facts,
            )
        )
    return result


def delete(client: Redis, key: bytes) -> bool:
    """Whether there was something to delete."""
    return bool(client.unlink(key))


def _decoded(value: bytes, *, whole: bool) -> dict[str, Any]:
    if value[:1] == b"\x80":
        return {"form": "a Python pickle, which is never loaded"}
    if not whole:
        return {"form": "too large to be decoded"}
    try:
        said = json.loads(value)
    except (ValueError, RecursionError):
        return {"form": "not JSON, not decoded"}
    if not isinstance(said, dict):
        return {"form": "JSON, but no object"}
    user = str(said.get(DJANGO_USER, ""))
    shown = {
        name: str(said[name])[:LONGEST] for name in HARMLESS if isinstance(said.get(name), str | int | bool)
    }
    others = [name[:LONGEST] for name in said if name not in shown and name != DJANGO_USER]
    if len(others) > MOST_NAMED:
        others = [*others[:MOST_NAMED], f"and {len(others) - MOST_NAMED} more"]
    return {
        "form": "a session of Django" if user else "JSON",
        "user_id": user if user.isdigit() and len(user) < 19 else "",
        "facts": shown,
        "others": tuple(others),
    }
