"""Names of any bytes as text for addresses and forms: URL-safe base64 without padding. Pure."""

from __future__ import annotations

import base64
import binascii


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def decode(code: str) -> bytes:
    """What encode() wrote. Raises ValueError for anything else: one name, one code."""
    try:
        raw = base64.b64decode(code.encode("ascii") + b"=" * (-len(code) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ValueError("That names nothing.") from error
    if encode(raw) != code:
        raise ValueError("That names nothing.")
    return raw
