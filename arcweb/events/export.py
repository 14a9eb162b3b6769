"""Events as files: CSV for spreadsheets, JSON lines for programs. In batches, however many there are."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from arcweb.events.models import EventDetail
from arcweb.events.querysets import Cursor, EventQuerySet, details_of

#: Events read at once.
BATCH = 500
#: Events in one export.
MOST_EXPORTED = 200_000

FACTS = (
    "occurred_at",
    "id",
    "kind",
    "actor_kind",
    "actor_id",
    "object_type",
    "object_id",
    "agent_id",
    "data",
)
PERSONAL = ("actor_name", "address", "user_agent", "label", "note")
#: A cell that begins so is a formula to a spreadsheet (OWASP, "CSV Injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

Record = dict[str, Any]


def records(events: EventQuerySet, *, personal: bool) -> Iterator[Record]:
    """Each event as a dict of FACTS, newest first, read in batches by key.

    With `personal` there is "details": a dict of PERSONAL, or None when they were erased or never given.
    """
    place: Cursor | None = None
    while True:
        page = events.page(BATCH, older_than=place)
        details = details_of(page.events) if personal else {}
        for event in page.events:
            record = {name: getattr(event, name) for name in FACTS}
            if personal:
                record["details"] = _details(details.get(event.pk))
            yield record
        if not page.events or page.older is None:
            return
        place = page.older


def _details(detail: EventDetail | None) -> Record | None:
    return {name: getattr(detail, name) for name in PERSONAL} if detail else None


def as_jsonl(found: Iterable[Record], *, personal: bool) -> Iterator[str]:
    """One JSON object a line, in ASCII: some programs end a line at other characters than \\n too."""
    for record in found:
        exact = {
            **record,
            "occurred_at": record["occurred_at"].isoformat(),
        }  # the encoder's has no microseconds
        yield json.dumps(exact, cls=DjangoJSONEncoder) + "\n"


def as_csv(found: Iterable[Record], *, personal: bool) -> Iterator[str]:
    """A line of names, then one an event; every cell is text to a spreadsheet."""
    writer = csv.writer(_Echo())
    yield writer.writerow([*FACTS, *(PERSONAL if personal else ())])
    for record in found:
        cells = [_cell(record[name]) for name in FACTS]
        if personal:
            details = record["details"] or {}
            cells += [_cell(details.get(name)) for name in PERSONAL]
        yield writer.writerow(cells)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        text = json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
    else:
        text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


class _Echo:
    """A file that gives each line back instead of keeping it."""

    def write(self, text: str) -> str:
        return text


#: Name of a format → (content type, what makes its lines).
FORMATS: dict[str, tuple[str, Callable[..., Iterator[str]]]] = {
    "csv": ("text/csv; charset=utf-8", as_csv),
    "jsonl": ("application/x-ndjson; charset=utf-8", as_jsonl),
}
