"""What the project's ModelAdmins share, and Django's own models on the project's site."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.postgres.search import SearchQuery
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.functional import cached_property
from django.utils.html import format_html

from arcweb import keyset
from arcweb.keyset import Order
from arcweb.list_verdict import ListVerdict
from arcweb.postgres import replica
from arcweb.registry import dependents_of
from arcweb.seen import ChangedMeanwhile

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # subscriptable for type checkers only

#: Rows up to which an action on "all" of a list is taken: beyond it the page does not know how many.
MOST_AT_ONCE = 10_000
#: The places of a list in its address: rows that follow a key, or that precede it.
AFTER, BEFORE = "after", "before"
#: Times that a form is looked at again because its row changed in the same moment.
MOST_TRIES = 10
#: Names on the page that asks whether to delete.
MOST_NAMED = 20


def state_words(shape: str, word: str) -> str:
    """A state as a shape and a word; `shape` is good, warn, bad or idle."""
    return format_html('<span class="state {}">{}</span>', shape, word)


def moment(time: datetime | None) -> str:
    """A time to the second in UTC, for a list; None: nobody wrote one."""
    if time is None:
        return format_html('<span class="soft">{}</span>', "unknown")
    words = f"{time:%Y-%m-%d %H:%M:%S}"
    return format_html('<time datetime="{}">{}</time>', time.isoformat(), words)


class CappedPaginator(Paginator):
    """Counts no further than MOST_AT_ONCE rows; serves autocomplete, and tells whether "all" is too many."""

    @cached_property
    def _counted(self) -> int:
        rows = self.object_list
        return rows.order_by()[: MOST_AT_ONCE + 1].count() if isinstance(rows, models.QuerySet) else len(rows)

    @cached_property
    def count(self) -> int:
        return min(MOST_AT_ONCE, self._counted)

    @property
    def capped(self) -> bool:
        """Whether there are more rows than were counted."""
        return self._counted > MOST_AT_ONCE


class KeysetChangeList(ChangeList):
    """Django's list, paged by keys (`arcweb.keyset`) instead of OFFSET, with counts that have a bound.

    For templates: `pager` (a Pager), `result_list`, and `result_count`, which is the number of rows on
    the page wherever the whole is not known exactly, so that nothing offers to select "all" of it.
    """

    order: Order
    pager: Pager

    @property
    def table(self) -> LargeTable:
        return cast("LargeTable", self.model_admin)

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: Any = None
    ) -> models.QuerySet[models.Model]:
        for name in (AFTER, BEFORE):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        rows: models.QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        self.unsearched = rows
        self.words = self.table.words_condition(self.query)
        return rows.filter(self.words) if self.words is not None else rows

    def get_ordering(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> list[Any]:
        """The one field that is asked for, if an index gives that order, else the list's own."""
        usual = str(next(iter(self.table.get_ordering(request))))
        asked: Any = super().get_ordering(request, queryset)[0]
        cheap = {self.get_ordering_field(name) for name in self.sortable_by or ()} | {usual.lstrip("-")}
        if not isinstance(asked, str) or asked.lstrip("-") not in cheap:
            asked = usual
        self.order = Order(self.model, asked.lstrip("-"), asked.startswith("-"))
        return self.order.fields()

    def get_results(self, request: HttpRequest) -> None:
        size = self.list_per_page
        place: dict[str, Any] = {
            "after": self.order.parse(request.GET.get(AFTER, "")),
            "before": self.order.parse(request.GET.get(BEFORE, "")),
        }
        if place["after"]:
            place["before"] = None
        if self.words is None:
            page = self.order.page(self._whole(self.queryset), size, **place)
            self.result_list = list(page.rows)
            total: keyset.Count | None = keyset.count(self.queryset)
        else:
            page, total = self._found(size, place)
            keys = [key.pk for key in page.keys]
            rows = {row.pk: row for row in self._whole(self.root_queryset.filter(pk__in=keys))}
            # A row that was deleted between the two queries is left out.
            self.result_list = [rows[key] for key in keys if key in rows]
        self.table.prepare_rows(request, self.result_list)
        known = total is not None and total.kind == "exact"
        self.result_count = total.number if total and known else len(self.result_list)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.paginator = self.model_admin.get_paginator(request, self.result_list, size)
        self.pager = self._pager(page, total, placed=any(place.values()))

    def _found(self, size: int, place: dict[str, Any]) -> tuple[keyset.KeyPage, keyset.Count | None]:
        """A page of a search: by the index of words, or by reading the list in its order up to a bound."""
        if not self.table.words_field:
            return self.order.walk(self.unsearched, self.words, size, **place), None
        return keyset.search(self.order, self.unsearched, self.words, size, **place)

    def _whole(self, rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return self.apply_select_related(self.table.listed(rows))

    def _pager(self, page: keyset.KeyPage, total: keyset.Count | None, *, placed: bool) -> Pager:
        def link(name: str, key: keyset.Key | None) -> str:
            return self.get_query_string({name: str(key)}) if key else ""

        newest_first = self.order.descending and isinstance(
            self.opts.get_field(self.order.field), models.DateTimeField
        )
        noun = self.opts.verbose_name if str(total) == "1" else self.opts.verbose_name_plural
        note = ""
        if page.read is not None:
            note = (
                f"{page.read:,} {self.opts.verbose_name_plural} were read for this page; what was found "
                "among them is shown, and the next page reads on."
            )
        return Pager(
            previous=link(BEFORE, page.previous),
            next=link(AFTER, page.next),
            first=self.get_query_string() if placed else "",
            words=("Newest", "Newer", "Older") if newest_first else ("First", "Previous", "Next"),
            total=f"{total} {noun}" if total else "",
            estimated=total is not None and total.kind == "about",
            note=note,
        )


@dataclass(frozen=True)
class Pager:
    """The foot of a keyset list: links (empty: there is nothing there) and how many rows there are."""

    previous: str
    next: str
    first: str
    words: tuple[str, str, str]  #: what the links to the first, previous and next page say
    total: str  #: "1,204 memories", "about 1,040,000 memories", "more than 1,000 memories"
    estimated: bool
    note: str  #: a sentence when a search stopped before it had looked everywhere


class LargeTable(ListVerdict):
    """A list that costs the same on a large table: keyset pages, counts with a bound.

    `ordering` names the field of the order (then the primary key, in the same direction), `sortable_by`
    those that an index makes cheap as well. A table with a full-text column names it in `words_field`;
    one that has no index for its search overrides `words_condition`, and is read up to a bound.
    """

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each would count the whole
    paginator = CappedPaginator
    list_per_page = 50
    sortable_by: ClassVar[tuple[str, ...]] = ()
    #: Filters that other pages link to.
    linked_lookups: tuple[str, ...] = ()
    #: A tsvector column (configuration "english") that the list's search asks.
    words_field = ""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """A list that is looked at may come from the replica; what is done with it (POST) never does."""
        if request.method != "GET" or self.opts.app_label not in settings.ARC_REPLICA_APPS:
            return super().changelist_view(request, extra_context)
        return replica.read(lambda: super(LargeTable, self).changelist_view(request, extra_context)).value

    def get_sortable_by(self, request: HttpRequest) -> Any:
        return () if self.forced_ordering(request) else self.sortable_by

    def forced_ordering(self, request: HttpRequest) -> str:
        """The order that a filter of this request demands: no other has an index. Usually empty."""
        return ""

    def get_ordering(self, request: HttpRequest) -> Any:
        forced = self.forced_ordering(request)
        return (forced,) if forced else super().get_ordering(request)

    def words_condition(self, words: str) -> models.Q | None:
        """The condition that the change list itself looks for; None: there is no search, or Django's own."""
        if not self.words_field or not words.strip():
            return None
        return models.Q(**{self.words_field: SearchQuery(words, config="english", search_type="websearch")})

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        if self.words_condition(search_term) is not None:
            return queryset, False  # the change list looks for the words itself
        return super().get_search_results(request, queryset, search_term)

    def listed(self, rows: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """The rows of one page as the list needs them: without what is large and not shown."""
        return rows

    def prepare_rows(self, request: HttpRequest, rows: list[Any]) -> None:
        """Complete the rows of one page before they are shown: one query for all, never one each."""

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """The filters that the page offers, and no other way to search: regex, year… of any field."""
        known = {f"{name}__exact" for name in self.list_filter if isinstance(name, str)}
        for item in self.list_filter:
            if isinstance(item, type) and issubclass(item, admin.SimpleListFilter) and item.parameter_name:
                known.add(item.parameter_name)
        return lookup in known or lookup in self.linked_lookups

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any) -> HttpResponse | None:
        if request.POST.get("select_across") == "1" and CappedPaginator(queryset, self.list_per_page).capped:
            self.message_user(
                request,
                f"More than {MOST_AT_ONCE} rows are selected, and nothing was done: the page does not know "
                "how many. Filter until fewer are left.",
                messages.ERROR,
            )
            return None
        return super().response_action(request, queryset, *args)


class ChangedFieldsOnly(_ModelAdmin):
    """Writes the fields that were changed in the form (a SeenForm) and no others: services write too.

    An object that was deleted meanwhile stays deleted (404).
    """

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        for _ in range(MOST_TRIES):
            # On ChangedMeanwhile everything is rolled back; the form then sees the change, and says so.
            with suppress(ChangedMeanwhile):
                return super().changeform_view(request, *args, **kwargs)
        raise Http404("It is changed by others all the time; nothing was saved.")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.save()
            return
        row = self.get_queryset(request).filter(pk=obj.pk).select_for_update(no_key=True).first()
        if row is None:
            raise Http404("It was deleted meanwhile.")
        form.check_unchanged(row)
        written = {field.name for field in obj._meta.concrete_fields}  # what is of many is saved later
        obj.save(update_fields=[name for name in form.changed_data if name in written])


class CountedDeletion(_ModelAdmin):
    """Deletion that counts what goes with an object instead of listing it, and asks for a typed word.

    The rows that depend on it are deleted by the database (ON DELETE CASCADE); what they are is
    contributed through `arcweb.registry.register_dependents`.
    """

    actions: tuple[str, ...] = ("delete_selected",)

    def deletion_name(self, obj: Any) -> str:
        """What the confirmation calls an object; to delete a single one this is typed."""
        return str(obj)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        if isinstance(objs, models.QuerySet):
            objs = objs.order_by("pk")
            keys = list(objs.values_list("pk", flat=True))
        else:
            keys = [obj.pk for obj in objs]
        names = [self.deletion_name(obj) for obj in objs[:MOST_NAMED]]
        if len(keys) > len(names):
            names.append(f"and {len(keys) - len(names)} more")
        counts = {str(self.model._meta.verbose_name_plural): len(keys)}
        missing: set[str] = set()
        for dependent in dependents_of(self.model):
            number = counts[dependent.label] = dependent.count(keys)
            if number and dependent.permission and not request.user.has_perm(dependent.permission):
                missing.add(dependent.label)
        if not self.has_delete_permission(request):
            missing.add(str(self.model._meta.verbose_name))
        return names, counts, missing, []

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        obj = self.get_object(request, unquote(object_id))
        if not self.has_delete_permission(request, obj):
            raise PermissionDenied
        wanted = self.deletion_name(obj).strip() if obj is not None else ""
        if request.method == "POST" and obj is not None and not self._typed(request, wanted):
            return HttpResponseRedirect(request.path)
        return super().delete_view(request, object_id, {**(extra_context or {}), "type_this": wanted})

    @admin.action(description="Delete the selected", permissions=["delete"])
    def delete_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        count = str(queryset.count())
        if request.POST.get("post") and not self._typed(request, count):
            return None
        response = delete_selected(self, request, queryset)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            # Keys alone: the template of Django would load every selected row.
            keys = list(queryset.values_list("pk", flat=True))
            response.context_data |= {"type_this": count, "keys": keys}
        return response

    def _typed(self, request: HttpRequest, wanted: str) -> bool:
        # A page shows runs of blanks as one space, and a field takes no line ends.
        if request.POST.get("typed", "").split() == wanted.split():
            return True
        self.message_user(
            request, f"Nothing was deleted: to confirm, type {wanted} as it is.", messages.ERROR
        )
        return False
