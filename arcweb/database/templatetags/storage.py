"""Sizes, counts and ages for the tables of the PostgreSQL rooms. What is not known is a dash."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.contrib.admin.utils import quote
from django.utils import timezone

from arcweb.charts import size
from arcweb.database.storage.judged import ago as in_words

register = template.Library()
UNKNOWN = "\N{EN DASH}"


@register.filter
def bytes_(value: float | None) -> str:
    """As in 7.8 GB."""
    return UNKNOWN if value is None else size(value)


@register.filter
def number(value: float | None) -> str:
    """As in 1,042,318."""
    return UNKNOWN if value is None else f"{value:,.0f}"


@register.filter
def percent(value: float | None) -> str:
    """Whole, or with one place below one."""
    if value is None:
        return UNKNOWN
    return f"{value:.1f} %" if 0 < value < 1 else f"{value:.0f} %"


@register.filter
def ago(moment: datetime | None) -> str:
    return in_words(moment, timezone.now())


@register.filter
def admin_quote(name: str) -> str:
    """A name as a part of an address, whatever it holds."""
    return str(quote(name))


@register.filter
def after_using(definition: str) -> str:
    """What an index's definition says after its table: "btree (agent_id, created_at) WHERE …"."""
    return definition.partition(" USING ")[2] or definition
