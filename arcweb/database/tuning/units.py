"""PostgreSQL's amounts: "128MB", "5min", and pg_settings' number with its unit. Pure."""

from __future__ import annotations

import math
import re

BYTES = {"B": 1, "kB": 1024, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40, "8kB": 8192, "16MB": 16 << 20}
MILLISECONDS = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
AMOUNT = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def base(number: str, unit: str) -> float | None:
    """A value of pg_settings as bytes or milliseconds, or the number itself where it has no unit.

    None for what is no number. -1 and 0 are left as they are: they mean "off", or "as another setting says".
    """
    try:
        value = float(number)
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    if value in (-1, 0):
        return value
    return value * (BYTES.get(unit) or MILLISECONDS.get(unit) or 1)


def amount(text: str, unit: str) -> float | None:
    """What a person typed ("256MB", "5min", "16384") as `base` gives it, for a setting of that unit.

    None for what PostgreSQL would not take: its units are spelled as here, a number alone has the setting's.
    """
    match = AMOUNT.fullmatch(text)
    if not match:
        return None
    number, given = match.groups()
    if not given:
        return base(number, unit)
    factors = BYTES if unit in BYTES else MILLISECONDS if unit in MILLISECONDS else {}
    allowed = {"B", "kB", "MB", "GB", "TB"} if unit in BYTES else set(MILLISECONDS)
    if given not in factors or given not in allowed:
        return None
    value = float(number)
    if not math.isfinite(value):
        return None
    return value if value in (-1, 0) else value * factors[given]


def words(value: float, unit: str) -> str:
    """As PostgreSQL writes it: the largest unit that divides it."""
    if value in (-1, 0) or (unit not in BYTES and unit not in MILLISECONDS):
        return f"{value:g}"
    scale = (
        {name: BYTES[name] for name in ("TB", "GB", "MB", "kB", "B")}
        if unit in BYTES
        else dict(reversed(MILLISECONDS.items()))
    )
    for name, factor in scale.items():
        if value >= factor and value % factor == 0:
            return f"{value / factor:.0f}{name}"
    return f"{value:g}{'B' if unit in BYTES else 'ms'}"


def memory(text: str) -> int | None:
    """The size of a machine as people write it: "16GB", "16 g", "2g", "512m"; None for what is no size."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])(?:i?b)?\s*", text.lower())
    if not match:
        return None
    value = float(match[1]) * 1024 ** ("kmgt".index(match[2]) + 1)
    return int(value) if math.isfinite(value) else None
