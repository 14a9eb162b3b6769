"""Keeps secrets out of the record, whatever a caller hands over. Pure."""

from __future__ import annotations

import re
from typing import Any

REMOVED = "[removed]"
#: Deliberately wide: a harmless value lost is better than a secret that can never be erased.
SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|secret|token|api[-_ ]?key|private[-_ ]?key|session[-_ ]?key"
    r"|authorization|credential|cookie",
    re.IGNORECASE,
)


def redact(value: Any) -> Any:
    """The same JSON value with every value under a secret-looking key replaced by REMOVED.

    NUL characters, which PostgreSQL can store neither in text nor in jsonb, become U+FFFD.
    """
    if isinstance(value, dict):
        return {
            clean(str(key)): REMOVED if SECRET_KEY.search(str(key)) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    return clean(value) if isinstance(value, str) else value


def clean(text: str) -> str:
    """Text that PostgreSQL can store."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
