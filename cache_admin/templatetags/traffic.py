"""{% load traffic %}{{ calls|thousands }}: numbers as people read them."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def thousands(value: object) -> str:
    """ "1,042,318"; what is no whole number comes back as it is."""
    return f"{value:,}" if isinstance(value, int) else str(value)
