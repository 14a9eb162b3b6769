"""One part of a file, as a browser or curl asks for it (RFC 9110, section 14). Pure."""

from __future__ import annotations

import re

#: "bytes=500-", "bytes=0-499", "bytes=-500".
ONE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)", re.IGNORECASE)
LONGEST = 60


class Unsatisfiable(Exception):  # noqa: N818 - reads as a fact
    """The part begins behind the end: status 416."""


def part(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last of what is asked for; None: everything.

    A header that is no range of bytes, and one that names several, is passed over, as the RFC allows. Raises
    Unsatisfiable.
    """
    found = ONE.fullmatch(header.strip()) if len(header) <= LONGEST else None
    if found is None or found.group(1, 2) == ("", ""):
        return None
    first, last = found.group(1, 2)
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise Unsatisfiable
        return size - length, size
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, min(int(last) + 1, size) if last else size
