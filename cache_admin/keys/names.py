r"""Names of keys: in addresses, in patterns, and what a name says about its key. Pure.

A name is bytes. In a page's address it is URL-safe base64; in a pattern that a person types it is Redis's
glob with \xHH, \n, \r and \t for bytes that cannot be typed. Names of sessions are credentials: they have
no address, and no pattern finds them by more than what pages show of them.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from cache_admin import codes, masking

#: Bytes of a name that goes into an address whole; the web server takes lines of about 4,000 characters.
LONGEST_IN_ADDRESS = 2000
#: Bytes of a longer name by which, with its digest, it is found again.
BEGINNING = 48
#: Characters of a pattern.
LONGEST_PATTERN = 1000
#: Bytes of a prefix in a pattern made of it: four characters each at most.
LONGEST_PREFIX = 200
#: Characters of a name on a page.
SHOWN = 240
GLOB = frozenset(b"*?[]\\")
CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


class SessionNamedError(ValueError):
    """What was typed holds the key of a session."""


class LongName(NamedTuple):
    """A name too long for an address."""

    beginning: bytes
    digest: str  #: SHA-256 in hexadecimal digits


def code_of(key: bytes) -> str:
    """The name as a part of an address; read_code() reads it. Not for names of sessions (ValueError)."""
    if masking.is_session(key):
        raise ValueError("The key of a session is a credential and has no address.")
    if len(key) > LONGEST_IN_ADDRESS:
        return f"~{codes.encode(key[:BEGINNING])}.{hashlib.sha256(key).hexdigest()}"
    return codes.encode(key) or "~"


def read_code(code: str) -> bytes | LongName:
    """What code_of() wrote. Raises ValueError for anything else, names of sessions included."""
    if code == "~":
        return b""
    if code.startswith("~"):
        beginning, _, digest = code[1:].partition(".")
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError("The address names no key.")
        return LongName(codes.decode(beginning), digest)
    key = codes.decode(code)
    if masking.is_session(key):
        raise ValueError("The key of a session is a credential and has no address.")
    return key


def shown(key: bytes, most: int = SHOWN) -> str:
    """The name for people, masked, cut behind `most` characters."""
    words = masking.masked(key)
    return words if len(words) <= most else f"{words[:most]}… ({len(key):,} bytes)"


def read_name(text: str) -> bytes:
    """A name as a person types it, taken as it stands. Raises ValueError with a sentence."""
    if not text:
        raise ValueError("A name must not be empty.")
    key = text.encode("utf-8")
    if masking.is_session(key):
        raise SessionNamedError("That is the name of a session; such keys are not made here.")
    return key


def read_pattern(text: str) -> bytes:
    """A typed pattern as Redis wants it; empty: every key. Raises ValueError with a sentence."""
    if len(text) > LONGEST_PATTERN:
        raise ValueError(f"A pattern has {LONGEST_PATTERN:,} characters at most.")
    pattern = re.sub(
        rb"\\(?:x([0-9a-fA-F]{2})|([nrt])|(.))", _unescaped, text.encode("utf-8") or b"*", flags=re.DOTALL
    )
    found = masking.SESSION.fullmatch(pattern)
    if found and len(literal_beginning(found["secret"])) > masking.SHOWN:
        raise SessionNamedError(
            "This pattern holds the key of a session, which is a credential. Sessions have a page of "
            "their own."
        )
    return pattern


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        raw = bytes.fromhex(match[1].decode("ascii"))
        return b"\\" + raw if raw[0] in GLOB else raw
    return CONTROLS[match[2]] if match[2] else match[0]


def pattern_below(prefix: bytes) -> str:
    """The pattern, as read_pattern() reads it, of all keys that begin so (with a long prefix's beginning)."""
    words = []
    for character in prefix[:LONGEST_PREFIX].decode("utf-8", "surrogateescape"):
        if character.isascii() and ord(character) in GLOB:
            words.append(f"\\{character}")
        elif character.isprintable():
            words.append(character)
        else:
            raw = character.encode("utf-8", "surrogateescape")
            words.append("".join(f"\\x{byte:02x}" for byte in raw))
    return f"{''.join(words)}*"


def escaped(raw: bytes) -> bytes:
    """Bytes as a pattern that matches them alone."""
    return re.sub(rb"([*?\[\]\\])", rb"\\\1", raw)


def literal_beginning(pattern: bytes) -> bytes:
    """What every name that matches begins with."""
    found = re.match(rb"(?:[^*?\[\\]|\\.)*", pattern, re.DOTALL)
    return re.sub(rb"\\(.)", rb"\1", found[0] if found else b"", flags=re.DOTALL)


def matches_all(pattern: bytes) -> bool:
    return not pattern.strip(b"*")


def admits(pattern: bytes, key: bytes) -> bool:
    """Whether a key that the server found by the pattern may be said to match it.

    A session's must match by what is shown of it: else patterns would spell it out, character by character.
    """
    if matches_all(pattern) or not (found := masking.SESSION.fullmatch(key)):
        return True
    return matches(pattern, found["kept"] + found["secret"][: masking.SHOWN] + "…".encode())


def matches(pattern: bytes, name: bytes) -> bool:
    """Redis's glob. One place to go back to is enough, so that no pattern takes long."""
    tokens = _tokens(pattern)
    at = position = 0
    star, resume = -1, 0
    while position < len(name):
        if at < len(tokens) and tokens[at] is None:
            star, resume = at, position
            at += 1
        elif at < len(tokens) and name[position] in (tokens[at] or ()):
            at += 1
            position += 1
        elif star >= 0:
            at, resume = star + 1, resume + 1
            position = resume
        else:
            return False
    return all(token is None for token in tokens[at:])


ANY = frozenset(range(256))


def _tokens(pattern: bytes) -> list[frozenset[int] | None]:
    """For each place the bytes that may stand there; None: any number of any bytes."""
    tokens: list[frozenset[int] | None] = []
    position = 0
    while position < len(pattern):
        byte = pattern[position : position + 1]
        position += 1
        if byte == b"*":
            tokens.append(None)
        elif byte == b"?":
            tokens.append(ANY)
        elif byte == b"[":
            one, position = _class(pattern, position)
            tokens.append(one)
        else:
            if byte == b"\\" and position < len(pattern):
                byte = pattern[position : position + 1]
                position += 1
            tokens.append(frozenset(byte))
    return tokens


def _class(pattern: bytes, position: int) -> tuple[frozenset[int], int]:
    """The bytes of [...], and the position behind it."""
    inverse = pattern[position : position + 1] == b"^"
    position += inverse
    members: set[int] = set()
    while position < len(pattern) and pattern[position] != ord("]"):
        if pattern[position] == ord("\\") and position + 1 < len(pattern):
            position += 1
            members.add(pattern[position])
        elif pattern[position + 1 : position + 2] == b"-" and position + 2 < len(pattern):
            first, last = sorted((pattern[position], pattern[position + 2]))
            members.update(range(first, last + 1))
            position += 2
        else:
            members.add(pattern[position])
        position += 1
    return (ANY - members if inverse else frozenset(members)), position + 1


def branch(key: bytes, below: bytes = b"") -> bytes | None:
    """The prefix up to the next ":" behind `below` to which the key belongs; None: it stands there itself."""
    found = masking.SESSION.fullmatch(key)
    head = found["kept"] if found else key
    end = head.find(b":", len(below))
    if end >= 0:
        return head[: end + 1]
    return head if found and len(head) > len(below) else None
