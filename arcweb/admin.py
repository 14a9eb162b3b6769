"""What the project's ModelAdmins share, and Django's own models on the project's site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property

from arcweb.registry import dependents_of

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # subscriptable for type checkers only

#: Rows up to which a list is counted; beyond it the page says "more than".
MOST_COUNTED = 10_000


class CappedPaginator(Paginator):
    """Counts no further than MOST_COUNTED rows: a million rows cost as much as ten thousand."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if isinstance(rows, models.QuerySet):
            return min(MOST_COUNTED, rows.order_by()[: MOST_COUNTED + 1].count())
        return len(rows)

    @cached_property
    def capped(self) -> bool:
        """Whether there are more rows than were counted."""
        rows = self.object_list
        return isinstance(rows, models.QuerySet) and rows.order_by()[MOST_COUNTED:].exists()


class LargeTable(_ModelAdmin):
    """A list that stays quick on a large table: capped counts, no count of the whole."""

    show_full_result_count = False
    paginator = CappedPaginator
    list_per_page = 50
    #: Filters that other pages link to.
    linked_lookups: tuple[str, ...] = ()

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """The filters that the page offers, and no other way to search: regex, year… of any field."""
        known = {f"{name}__{kind}" for name in self.list_filter for kind in ("exact", "isnull")}
        return lookup in known or lookup in self.linked_lookups

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any) -> HttpResponse | None:
        if request.POST.get("select_across") == "1" and CappedPaginator(queryset, self.list_per_page).capped:
            self.message_user(
                request,
                f"More than {MOST_COUNTED} rows are selected, and nothing was done: the page does not know "
                "how many. Filter until fewer are left.",
                messages.ERROR,
            )
            return None
        return super().response_action(request, queryset, *args)


class CountedDeletion(_ModelAdmin):
    """Deletion that counts what goes with an object instead of listing it.

    The rows that depend on it are deleted by the database (ON DELETE CASCADE); what they are is
    contributed through `arcweb.registry.register_dependents`.
    """

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        if isinstance(objs, models.QuerySet):
            objs = objs.order_by("pk")
        keys = [obj.pk for obj in objs]
        names = [str(obj) for obj in objs[:20]]
        if len(keys) > len(names):
            names.append(f"and {len(keys) - len(names)} more")
        counts = {str(self.model._meta.verbose_name_plural): len(keys)}
        missing: set[str] = set()
        for dependent in dependents_of(self.model):
            counts[dependent.label] = dependent.count(keys)
        if not self.has_delete_permission(request):
            missing.add(str(self.model._meta.verbose_name))
        return names, counts, missing, []
