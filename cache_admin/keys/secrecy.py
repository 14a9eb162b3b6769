"""What somebody who may look at keys, and not change them, does not read of their values: the one rule.

Messages of queues (they carry arguments of tasks), passwords, tokens and keys of sessions are masked on the
page of a key and in its download. Whoever may change keys sees values as they are: who changes a value must
know it, and could give its key another name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cache_admin.keys.decode import Decoded, as_json, brief, decode
from cache_admin.masking import is_session, masked
from cache_admin.server.purposes import purpose_of
from cache_admin.traffic import queues
from cache_admin.traffic.words import INSIDE

#: Who sees values as they are.
PERMISSION = "cache_admin.change_keys"
HIDDEN = "…"
NO_FILE = (
    "A file has the value as it is, and this one may hold what is masked for you. Whoever may change keys "
    "can download it."
)
BLANK = "\ufeff \t\r\n"
#: What the name of a key or field says that holds a secret. "tokens" are counted, "a token" is kept.
SECRET = re.compile(
    r"(?<![a-z])(?:pass(?:word|wd|phrase|code)?s?|pwd|secrets?|token|api[-_ ]?keys?|private[-_ ]?keys?|"
    r"credentials?|auth|authorization|cookies?|session[-_ ]?(?:id|key)|csrf\w*|signature)(?![a-z])",
    re.IGNORECASE,
)
#: The same among bytes that are no text, where short words stand by chance; in lower case.
AMONG_BYTES = (b"passwd", b"password", b"secret", b"credential", b"authorization", b"session")
#: A name and its value in JSON that is cut off or otherwise cannot be read whole.
PAIR = re.compile(r'"((?:[^"\\]|\\.){1,200})"(\s*:\s*)("(?:[^"\\]|\\.)*(?:"|\Z)|[^\s,}\]]+)', re.DOTALL)
#: name=value and name: value, as in query strings, cookies, headers and configuration.
SETTING = re.compile(
    r"\b([A-Za-z][\w.-]{0,60}+)('?[ \t]{0,9}[=:][ \t]{0,9})"
    r"(?:\"[^\"\n]{1,300}\"?|'[^'\n]{1,300}'?|(?:(?:bearer|basic|digest|token)[ \t]+)?[^\s&;,]+)",
    re.IGNORECASE,
)
#: A name that stands as a value beside its own: ["password", "…"], {"name": "password", "value": "…"}.
NAME = re.compile(r"[\w.-]{1,60}")
#: The password in an address.
ADDRESS = re.compile(r"(://[^\s/:@]{0,200}:)[^\s/@]{1,300}@")


@dataclass(frozen=True)
class Rule:
    """What may be shown of one key's value. sees: whether the person who looks has PERMISSION."""

    key: bytes
    kind: str
    sees: bool

    @property
    def reason(self) -> str:
        """Why all of the value is masked, a sentence; "" where parts of it are at most."""
        if self.sees:
            return ""
        if self.of_queue:
            return "Messages of queues carry arguments of tasks: those are masked."
        if says_secret(self.key):
            return "By its name this key holds a secret: its value is masked."
        return ""

    @property
    def of_queue(self) -> bool:
        """Whether the elements are messages, or records of messages that workers hold."""
        kinds = ("list", "hash", "stream", "string")
        return self.kind in kinds and purpose_of(self.key) in ("queue", "unacked")

    def say(self, raw: bytes, name: bytes = b"") -> str:
        """An element for a line of a table, or a download. name: of the field that holds it."""
        return brief(self.let(raw, name))

    def name(self, raw: bytes) -> str:
        """A field's name: masked where it is a session's key."""
        return brief(self.field(raw))

    def field(self, raw: bytes) -> bytes:
        return masked(raw).encode() if is_session(raw) else raw

    def let(self, raw: bytes, name: bytes = b"") -> bytes:
        """An element with what must not be read taken out."""
        if is_session(raw):
            return masked(raw).encode()
        if self.sees:
            return raw
        if self.of_queue or _is_message(raw):
            return _message(raw).encode()
        if says_secret(self.key) or says_secret(name):
            return f"(masked, {len(raw):,} bytes)".encode()
        return without_secrets(raw)

    def decoded(self, raw: bytes, *, whole: bool) -> Decoded:
        """A string, or with `whole` False its beginning."""
        if self.sees:
            return decode(raw, whole=whole)
        if self.reason or _is_message(raw):
            shown = self.let(raw).decode()
            return Decoded("text", self.reason or "A message of Celery's, masked.", shown)
        made = decode(raw, whole=whole)
        if made.shape in ("binary", "pickle"):
            if _among_bytes(raw):
                return Decoded(made.shape, f"{made.note} It names a secret: its bytes are masked.", "")
            return made
        text = without_secrets(raw if made.shape == "json" else made.text.encode()).decode()
        if made.shape == "json":
            text = as_json(json.loads(text), indent=2)
        if text == made.text:
            return made
        return Decoded(made.shape, f"{made.note} What its names call secret is masked.", text)

    def why_no_download(self, beginning: bytes, length: int) -> str:
        """Why a string is not given as a file: a sentence; "" if nothing of it speaks against that.

        beginning: of its bytes; of a longer value it says nothing about the rest (`why_no_rest`).
        """
        if self.sees:
            return ""
        if self.reason:
            return self.reason
        whole = len(beginning) >= length
        made = decode(beginning, whole=whole)
        if made.shape in ("binary", "pickle"):
            harmless = not _among_bytes(beginning)
        else:
            harmless = whole and self.let(beginning) == beginning
        return "" if harmless else NO_FILE

    def why_no_rest(self, pieces: Iterable[bytes]) -> str:
        """The same for all of a value whose beginning alone `why_no_download` has seen; takes every piece,
        unless one before tells."""
        if self.sees:
            return ""
        before = b""
        for piece in pieces:
            if _among_bytes(before + piece):
                return NO_FILE
            before = piece[1 - max(map(len, AMONG_BYTES)) :]
        return ""


def _among_bytes(raw: bytes) -> bool:
    """Fifteen times as fast as one pattern for all, on random bytes: values may have megabytes."""
    lower = raw.lower()
    return any(word in lower for word in AMONG_BYTES)


def says_secret(name: bytes) -> bool:
    """Whether a name, such as "user:7:password" or "apiKey", calls what it holds a secret."""
    words = name[:400].decode("utf-8", "replace")
    return bool(SECRET.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", words)))


def _is_message(raw: bytes) -> bool:
    """Whether it is a message as kombu keeps it, whatever its key is called."""
    head = raw[:20_000]
    return raw[:1] in (b"{", b"[") and b'"body"' in raw and (b'"properties"' in head or b'"headers"' in raw)


def _message(raw: bytes) -> str:
    """What kind of message it is, with its arguments by kind and size alone."""
    said = queues.read(raw) if len(raw) <= queues.LARGEST_PEEKED else queues.read(None)
    if said.trouble:
        said = _held(raw) or said
    if said.trouble:
        return f"(masked, {len(raw):,} bytes)"
    arguments = ", ".join(f"{one.name}: {one.shown}" if one.name else one.shown for one in said.arguments)
    return f"message {said.task}, id {said.id}; arguments, masked: {arguments or 'none'}"


def _held(raw: bytes) -> queues.Message | None:
    """The message in the record of one that a worker holds: [message, exchange, routing key]."""
    try:
        return queues.read(json.dumps(json.loads(raw)[0]).encode())
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def without_secrets(raw: bytes) -> bytes:
    """Text and JSON without what its own names call secret; other bytes as they are."""
    try:
        words = raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw
    if words.lstrip(BLANK)[:1] in ("{", "[", '"'):
        try:
            said = json.loads(words)
            kept = _walk(said)
        except (ValueError, RecursionError):
            words = PAIR.sub(_pair, words)
        else:
            return raw if kept == said else as_json(kept).encode()
    return _line(words).encode()


def _walk(said: Any) -> Any:
    if isinstance(said, dict):
        beside = any(_names_secret(said.get(name)) for name in ("name", "key", "field"))
        return {
            name: HIDDEN if says_secret(name.encode()) or (beside and name == "value") else _walk(inner)
            for name, inner in said.items()
        }
    if isinstance(said, list):
        if len(said) == 2 and _names_secret(said[0]):
            return [said[0], HIDDEN]
        return [_walk(inner) for inner in said]
    if not isinstance(said, str):
        return said
    if said.lstrip(BLANK)[:1] in ("{", "["):  # JSON in JSON
        return without_secrets(said.encode("utf-8", "backslashreplace")).decode()
    return _line(said)


def _names_secret(said: Any) -> bool:
    return isinstance(said, str) and NAME.fullmatch(said) is not None and says_secret(said.encode())


def _pair(found: re.Match[str]) -> str:
    return f'"{found[1]}"{found[2]}"{HIDDEN}"' if says_secret(found[1].encode()) else found[0]


def _line(words: str) -> str:
    words = ADDRESS.sub(rf"\1{HIDDEN}@", INSIDE.sub(rf"\1{HIDDEN}", words))
    return SETTING.sub(
        lambda found: f"{found[1]}{found[2]}{HIDDEN}" if says_secret(found[1].encode()) else found[0], words
    )
