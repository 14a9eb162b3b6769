"""Commands, messages and keys as these pages show them: cut, and without credentials or arguments of jobs."""

from __future__ import annotations

import re
from itertools import takewhile

from django.conf import settings

from cache_admin.masking import is_session, masked, masked_command, text

#: Bytes of a word that are looked at, and characters of it that are shown.
LOOKED_AT = 512
SHOWN = 120
#: The channel on which the server tells what happens to a key: the rest of its name is that key's.
KEYSPACE = re.compile(rb"__keyspace@\d+__:", re.DOTALL)
#: A session's key in the middle of something else, such as a script or a message.
INSIDE = re.compile(r"((?:sessions\.cache(?:d_db)?+|accounts\.sessions?+|\bsess(?:ion)?s?:)\w{4})\w+")
#: A part of a key that names one thing, not a kind of things; a kind's name is not longer than that.
ID = re.compile(rb"[0-9a-f-]{16,}")
LONGEST_KIND = 40
HIDDEN = "…"
#: Bytes of a word beside a queue's key that cannot be a message.
TAG = 64


def word(raw: bytes) -> str:
    """A key, channel, message or argument for people."""
    from cache_admin.keys.secrecy import without_secrets

    head, rest = _split(raw[:LOOKED_AT])
    if rest[:1] in (b"{", b"["):
        rest = without_secrets(rest)
    return _cut(text(head) + masked(rest), len(raw))


def command(words: list[bytes]) -> list[str]:
    """A command's words for people.

    Passwords, what follows a session's key (its content) and messages of Celery's queues are left out.
    """
    from cache_admin.keys.secrecy import says_secret  # which masks messages of queues by this module

    if not words:
        return []
    shown = [
        HIDDEN if hidden == HIDDEN else word(raw)
        for raw, hidden in zip(words, masked_command([one[:LOOKED_AT] for one in words]), strict=True)
    ]
    secret = queued = False
    for position, raw in enumerate(words):
        session = is_session(_split(raw[:LOOKED_AT])[1])
        if secret and not session:
            shown[position] = HIDDEN
        elif queued and len(raw) > TAG and not of_celery(raw):
            shown[position] = f"({len(raw):,} bytes)"
        # Behind the name of a key or field that says it, too: SET user:7:password …
        secret = secret or session or (position > 0 and says_secret(raw[:LOOKED_AT]))
        queued = queued or of_celery(raw)
    return shown


def of_celery(name: bytes) -> bool:
    """Whether a key or channel is Celery's, so that what it carries has arguments of tasks."""
    prefix = str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]).encode()
    return name.startswith(prefix) or b".pidbox" in name or b"celeryev" in name


def prefix(key: bytes) -> str:
    """What a key has in common with others of its kind: "user:*" of user:123:profile; "*" of one without.

    A part that is digits, or long enough to be an id, ends it.
    """
    *parts, _last = key[:LOOKED_AT].split(b":")
    if is_session(key):
        return re.sub(r"[^:.]*…$", "*", masked(key))
    common = list(takewhile(_names_a_kind, parts))
    return _cut(text(b"".join(part + b":" for part in common)) + "*", 0) if common else "*"


def _names_a_kind(part: bytes) -> bool:
    return len(part) <= LONGEST_KIND and not part.isdigit() and not ID.fullmatch(part)


def _split(raw: bytes) -> tuple[bytes, bytes]:
    found = KEYSPACE.match(raw)
    return (b"", raw) if found is None else (raw[: found.end()], raw[found.end() :])


def _cut(shown: str, size: int) -> str:
    shown = INSIDE.sub(r"\1…", shown)
    if len(shown) <= SHOWN and size <= LOOKED_AT:
        return shown
    return f"{shown[:SHOWN]}… ({size:,} bytes)" if size > SHOWN else f"{shown[:SHOWN]}…"
