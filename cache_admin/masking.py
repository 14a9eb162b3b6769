"""What must not be read off a page, log or event: session keys, which are credentials; passwords. Pure."""

from __future__ import annotations

import re

#: Where sessions are kept: by Django's cache (of any version and prefix), and by the seed's other services.
SESSION = re.compile(
    rb"(?P<kept>[^:]*:\d+:(?:django\.contrib\.sessions\.cache(?:d_db)?|[\w.]*?sessions?)|sess(?:ion)?s?:)(?P<secret>.+)",
    re.DOTALL,
)
#: Commands whose words after that position may hold a credential.
PASSWORDS = {b"AUTH": 1, b"HELLO": 2, b"MIGRATE": 1, b"ACL": 2}
SHOWN = 4  # characters of a session key: enough to tell two apart, of 32 or more


def is_session(key: bytes) -> bool:
    """Whether the key's name is a bearer credential."""
    return SESSION.fullmatch(key) is not None


def text(raw: bytes) -> str:
    """Bytes for people: UTF-8 where it is, else and for control characters \\x escapes."""
    decoded = raw.decode("utf-8", "backslashreplace")
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in decoded
    )


def masked(key: bytes) -> str:
    """A key's name for people; of a session's, the beginning alone."""
    found = SESSION.fullmatch(key)
    return text(key) if found is None else f"{text(found['kept'])}{text(found['secret'][:SHOWN])}…"


def masked_command(words: list[bytes]) -> list[str]:
    """A command's words for people: session keys are masked, words that may be passwords are left out."""
    name = words[0].upper() if words else b""
    hidden = PASSWORDS.get(name)
    if (
        name == b"CONFIG"
        and len(words) > 2
        and any(b"pass" in word.lower() or b"auth" in word.lower() for word in words[2:])
    ):
        hidden = 3
    return [
        "…" if hidden is not None and position >= hidden else masked(word)
        for position, word in enumerate(words)
    ]
