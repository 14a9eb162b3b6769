"""Keys and members of any bytes in addresses and hidden fields: as `cache_admin.codes` writes them."""

from __future__ import annotations

from django.core.exceptions import BadRequest

from cache_admin import codes
from cache_admin.masking import is_session, masked

#: Bytes of a key that is still linked to: longer ones do not fit into an address.
LONGEST_LINKED = 1500
SHOWN = 120  # characters of a name on a page


def decode(given: str) -> bytes:
    """The bytes; raises BadRequest for what codes.encode() did not make, and for a session's key."""
    raw = decode_member(given)
    if is_session(raw):
        raise BadRequest("A session's key is a credential and never in an address: use the page Sessions.")
    return raw


def decode_member(given: str) -> bytes:
    """The same for what is no key."""
    try:
        raw = codes.decode(given)
    except ValueError:
        raw = b""
    if not raw:
        raise BadRequest("The address or the form names nothing that is there: go back and choose anew.")
    return raw


def short(raw: bytes) -> str:
    """A name for people, cut in the middle where it is long; of a session's key the beginning alone."""
    shown = masked(raw)
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 30]}…{shown[-29:]}"
