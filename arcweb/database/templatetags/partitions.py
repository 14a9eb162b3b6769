"""Numbers of rows as people read them."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def grouped(value: int | None) -> str:
    """ "1,042,318"; "" for nothing."""
    return "" if value is None else f"{value:,}"
