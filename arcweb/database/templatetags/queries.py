"""Milliseconds, counts and bytes of statements as people read them. What is not known is a dash."""

from __future__ import annotations

from django import template

from arcweb.charts import quantity, size

register = template.Library()
UNKNOWN = "\N{EN DASH}"


@register.filter
def lasting(milliseconds: float | None) -> str:
    """ "0.42 ms", "3.1 s", "12 min", "5.2 h"."""
    if milliseconds is None:
        return UNKNOWN
    for most, step, unit in ((1000, 1, "ms"), (120_000, 1000, "s"), (7_200_000, 60_000, "min")):
        if milliseconds < most:
            return quantity(round(milliseconds / step, 2), unit)
    return quantity(round(milliseconds / 3_600_000, 2), "h")


@register.filter
def counted(value: float | None) -> str:
    """ "1,042,318"."""
    return UNKNOWN if value is None else f"{value:,.0f}"


@register.filter
def in_bytes(value: float | None) -> str:
    """ "7.8 GB", and a dash for none."""
    return size(value) if value else UNKNOWN


@register.filter
def blocks(value: float | None) -> str:
    """Blocks of 8 kB as bytes."""
    return size(value * 8192) if value else UNKNOWN


@register.filter
def percent(value: float | None) -> str:
    """With one place below ten, "< 0.1 %" for next to nothing."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.1:
        return "< 0.1 %"
    return f"{value:.1f} %" if value < 10 else f"{value:.0f} %"


@register.filter
def each(value: float | None, calls: int) -> str:
    """A count a call: "12", "0.4"."""
    return UNKNOWN if not calls or value is None else quantity(round(value / calls, 2))
