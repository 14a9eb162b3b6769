"""What the project's ModelAdmins share, and Django's own models on the project's site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.utils import unquote
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.functional import cached_property

from arcweb.registry import dependents_of

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # subscriptable for type checkers only

#: Rows up to which a list is counted; beyond it the page says "more than".
MOST_COUNTED = 10_000
#: Names on the page that asks whether to delete.
MOST_NAMED = 20


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
            counts[dependent.label] = dependent.count(keys)
        if not self.has_delete_permission(request):
            missing.add(str(self.model._meta.verbose_name))
        return names, counts, missing, []

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        obj = self.get_object(request, unquote(object_id))
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
        if request.POST.get("typed", "").strip() == wanted:
            return True
        self.message_user(
            request, f"Nothing was deleted: to confirm, type {wanted} as it is.", messages.ERROR
        )
        return False
