"""Pages of a large table by keys of an index: no OFFSET, no count of the whole.

The order is (field, primary key), both in the same direction; some index must give it, after the
columns that are filtered. Rows whose field is NULL come last in either direction. A page is found by
the key of the row beside it, so that page 20,000 costs what page 2 does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import connections, models, transaction
from django.db.models import Func, Q, Value
from django.db.models.lookups import GreaterThan, LessThan
from django.utils import timezone

#: Rows up to which a list is counted; beyond it PostgreSQL's estimate is shown, as such.
MOST_COUNTED = 1_000
#: Rows that the full-text search of a list reads at most for one page.
MOST_READ = 5_000

#: Leaves the planner nothing but bitmaps: the index of the words, and those of the filters with it. Otherwise
#: a wrong estimate makes it read the whole table for a word that few rows hold.
BITMAPS_ONLY = """
    SELECT set_config(name, %s, true)
    FROM unnest(ARRAY['enable_seqscan', 'enable_indexscan', 'enable_indexonlyscan']) AS name
"""
#: `inner` gives (value, pk, hit) in order, at most so many rows; the last of that number is given, hit or
#: not, to tell that the walk ended there. Reading stops when enough rows passed.
WALK = """
    SELECT value, pk, hit, number FROM (
        SELECT value, pk, hit, row_number() OVER () AS number FROM ({inner}) AS ordered (value, pk, hit)
    ) AS walked
    WHERE hit OR number = %s
    LIMIT %s
"""


class Key(NamedTuple):
    """A place in the order: the value of the field and the primary key of a row."""

    value: Any
    pk: Any

    def __str__(self) -> str:
        value = self.value.isoformat() if isinstance(self.value, datetime) else self.value
        return f"{'' if value is None else value}~{self.pk}"


@dataclass(frozen=True)
class KeyPage:
    """The keys of a page, in order, and where the pages beside it begin (None: there is nothing)."""

    keys: Sequence[Key]
    rows: Sequence[Any] = ()  #: the rows themselves, where they were read together with the keys
    previous: Key | None = None  #: give as `before`
    next: Key | None = None  #: give as `after`
    read: int | None = None  #: rows that were read when a search stopped before it had a full page


@dataclass(frozen=True)
class Count:
    """How many rows there are: "exact", "about" (PostgreSQL's estimate) or "more than"."""

    number: int
    kind: str = "exact"

    def __str__(self) -> str:
        words = f"{self.number:,}"
        return words if self.kind == "exact" else f"{self.kind} {words}"


def estimate(rows: models.QuerySet[Any]) -> int:
    """How many rows PostgreSQL expects, from its statistics, without reading them."""
    plan = json.loads(rows.order_by().values("pk").explain(format="json"))
    return int(plan[0]["Plan"]["Plan Rows"])


def count(rows: models.QuerySet[Any]) -> Count:
    """Exact up to MOST_COUNTED rows, then the estimate, to three digits; the cost has a bound."""
    number = rows.order_by().values("pk")[: MOST_COUNTED + 1].count()
    if number <= MOST_COUNTED:
        return Count(number)
    return about(estimate(rows))


def about(expected: int) -> Count:
    """The words for an estimate of rows that are known to be more than MOST_COUNTED."""
    rounded = int(float(f"{expected:.2e}"))
    return Count(rounded, "about") if rounded > MOST_COUNTED else Count(MOST_COUNTED, "more than")


def search(
    order: Order, rows: models.QuerySet[Any], words: Any, size: int, **place: Any
) -> tuple[KeyPage, Count]:
    """A page of the rows that pass `words`, a condition with an index that gives no order, and their count.

    Few such rows: all their keys are read by that index and sorted in memory. Many: the rows are read in
    their order until the page is full, MOST_READ at most; statistics tell which, and where they are wrong
    (a word that they do not know counts as frequent) a walk that found little is followed by the index.
    """
    matching = rows.filter(words)
    expected = estimate(matching)
    few = order.known(matching) if expected <= MOST_READ else None
    page = KeyPage([])
    if few is None:
        page = order.walk(rows, words, size, **place)
        few = order.known(matching) if page.read is not None and expected > MOST_READ else None
    if few is not None:
        return order.page_of_known(few, size, **place), Count(len(few))
    return page, about(expected)


@dataclass(frozen=True)
class Order:
    """The order of a model's rows by a field, then by primary key."""

    model: type[models.Model]
    field: str
    descending: bool = True

    @property
    def _field(self) -> models.Field[Any, Any]:
        field: models.Field[Any, Any] = self.model._meta.get_field(self.field)  # type: ignore[assignment]
        return field

    def fields(self, *, backwards: bool = False) -> list[str]:
        """For order_by()."""
        sign = "-" if self.descending != backwards else ""
        return [f"{sign}{self.field}", f"{sign}pk"]

    def parse(self, text: str) -> Key | None:
        """The inverse of str(Key); None for what is no place in this order."""
        raw, separator, pk_text = text.rpartition("~")
        if not separator:
            return None
        try:
            pk = self.model._meta.pk.to_python(pk_text)
            value = self._field.to_python(raw) if raw or not self._field.null else None
        except (ValidationError, ValueError, OverflowError):
            return None
        if isinstance(value, datetime) and timezone.is_naive(value):
            return None
        return None if pk is None or (value is None and not self._field.null) else Key(value, pk)

    def page(
        self, rows: models.QuerySet[Any], size: int, *, after: Key | None = None, before: Key | None = None
    ) -> KeyPage:
        """`size` rows with their keys: those after a key, before a key, or the first ones.

        One query, and another for the rows with NULL where the field may be NULL, whether there are any
        or not: a page costs the same number of queries however many rows there are. What nothing precedes
        (any more) is the first page.
        """
        backwards = before is not None
        parts = self._parts(rows, before if backwards else after, backwards=backwards)
        found = [row for part in parts for row in part[: size + 1]][: size + 1]
        if backwards and not found:
            return self.page(rows, size)
        page = self._page([Key(getattr(row, self.field), row.pk) for row in found], size, after, before)
        by_key = {row.pk: row for row in found}
        return replace(page, rows=[by_key[key.pk] for key in page.keys])

    def page_of_known(
        self, known: Sequence[Key], size: int, *, after: Key | None = None, before: Key | None = None
    ) -> KeyPage:
        """The same out of all keys, in memory. The field must compare in Python as in PostgreSQL."""
        valued = sorted((key for key in known if key.value is not None), reverse=self.descending)
        bare = sorted((key for key in known if key.value is None), key=lambda key: key.pk)
        ordered = valued + (bare[::-1] if self.descending else bare)
        if before is not None:
            found = [key for key in ordered if self._precedes(key, before)][::-1]
            if not found:
                return self.page_of_known(known, size)
        else:
            found = [key for key in ordered if after is None or self._precedes(after, key)]
        return self._page(found[: size + 1], size, after, before)

    def known(self, rows: models.QuerySet[Any]) -> list[Key] | None:
        """The keys of all the rows, in no order, if there are no more than MOST_READ; else None.

        For rows that are found by an index of another kind (GIN) and few enough to be sorted in memory.
        """
        with transaction.atomic(using=rows.db), connections[rows.db].cursor() as cursor:
            cursor.execute(BITMAPS_ONLY, ["off"])
            keys = list(rows.order_by().values_list(self.field, "pk")[: MOST_READ + 1])
            cursor.execute(BITMAPS_ONLY, ["on"])
        return [Key(*key) for key in keys] if len(keys) <= MOST_READ else None

    def walk(
        self,
        rows: models.QuerySet[Any],
        hit: Any,
        size: int,
        *,
        after: Key | None = None,
        before: Key | None = None,
        read: int = MOST_READ,
    ) -> KeyPage:
        """Up to `size` rows that pass `hit` (a condition), reading at most about `read` rows in order.

        For a condition that many rows pass. When the bound ends the walk before the page is full,
        `next` (or `previous`) is where it stopped and `KeyPage.read` says how many rows were read.
        """
        backwards = before is not None
        found: list[Key] = []
        for part in self._parts(rows, before if backwards else after, backwards=backwards):
            inner = part.annotate(arc_hit=models.ExpressionWrapper(hit, models.BooleanField()))
            sql, params = inner.values_list(self.field, "pk", "arc_hit")[:read].query.sql_with_params()
            with connections[rows.db].cursor() as cursor:
                cursor.execute(WALK.replace("{inner}", sql), [*params, read, size + 1 - len(found)])
                walked = cursor.fetchall()
            found += [Key(value, pk) for value, pk, passes, _ in walked if passes]
            if len(found) > size:
                break
            if walked and walked[-1][3] == read:
                stop = Key(*walked[-1][:2])
                page = self._page(found, size, after, before)
                if not backwards:
                    return replace(page, read=read, next=stop)
                # After `before` itself the row that stands there would be passed over.
                return replace(page, read=read, previous=stop, next=page.next or stop)
        if backwards and not found:
            return self.walk(rows, hit, size, read=read)
        return self._page(found, size, after, before)

    def _page(self, found: list[Key], size: int, after: Key | None, before: Key | None) -> KeyPage:
        more, keys = len(found) > size, found[:size]
        if before is not None:
            keys.reverse()
            return KeyPage(keys, previous=keys[0] if more else None, next=keys[-1] if keys else None)
        previous = (keys[0] if keys else after) if after is not None else None
        return KeyPage(keys, previous=previous, next=keys[-1] if more else None)

    def _parts(
        self, rows: models.QuerySet[Any], key: Key | None, *, backwards: bool
    ) -> list[models.QuerySet[Any]]:
        """The rows beyond the key as one or two ordered querysets: those with a value, those with NULL."""
        rows = rows.order_by(*self.fields(backwards=backwards))
        if not self._field.null:
            return [rows if key is None else rows.filter(self._beyond(key, backwards=backwards))]
        valued = rows.filter(**{f"{self.field}__isnull": False})
        bare = rows.filter(**{f"{self.field}__isnull": True})
        if key is None:
            return [bare, valued] if backwards else [valued, bare]
        if key.value is not None:
            valued = valued.filter(self._beyond(key, backwards=backwards))
            return [valued] if backwards else [valued, bare]
        bare = bare.filter(**{f"pk__{'lt' if self.descending != backwards else 'gt'}": key.pk})
        return [bare, valued] if backwards else [bare]

    def _beyond(self, key: Key, *, backwards: bool) -> Any:
        """(field, pk) < (value, pk): as rows, which an index serves as one range."""
        compare = LessThan if self.descending != backwards else GreaterThan
        flag = models.BooleanField()
        here = Func(models.F(self.field), models.F("pk"), function="ROW", output_field=flag)
        there = Func(
            Value(key.value, output_field=self._field),
            Value(key.pk, output_field=self.model._meta.pk),
            function="ROW",
            output_field=flag,
        )
        return Q(compare(here, there))

    def _precedes(self, one: Key, other: Key) -> bool:
        if (one.value is None) != (other.value is None):
            return other.value is None
        first, second = (tuple(key) if key.value is not None else (key.pk,) for key in (one, other))
        return first > second if self.descending else first < second
