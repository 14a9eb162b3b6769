"""When a file of pg_dump's custom format was made, as its head says. Pure.

The head is read as ReadHead does in src/bin/pg_dump/pg_backup_archiver.c. It tells the time of the machine
that made the dump, and no time zone.
"""

from __future__ import annotations

from datetime import UTC, datetime

MAGIC = b"PGDMP"
#: More than the head's part up to the time has.
HEAD = 128


def made_at(head: bytes) -> datetime | None:
    """The time, taken for UTC; None for what is no such head or tells none."""
    if not head.startswith(MAGIC) or len(head) < HEAD // 2:
        return None
    version, size, place = (head[5], head[6]), head[8], 11
    if size not in (4, 8):
        return None

    def number() -> int:
        nonlocal place
        sign, digits = head[place], head[place + 1 : place + 1 + size]
        place += 1 + size
        return -int.from_bytes(digits, "little") if sign else int.from_bytes(digits, "little")

    if version >= (1, 15):
        place += 1  # how the data are compressed
    else:
        number()
    second, minute, hour, day, month, year = (number() for _ in range(6))
    try:
        return datetime(year + 1900, month + 1, day, hour, minute, min(second, 59), tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
