"""The events page in the admin, and the mixin that makes other admins' changes events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse

from arcweb.events import record
from arcweb.events.admin_views import events, export_events, live_events
from arcweb.events.alerts import pages as alert_pages  # noqa: F401 - registers
from arcweb.registry import Page, register_page, register_shortcut

register_page(
    Page("events/", events, "events", "Events", group="Safety", permission="events.view_event", order=30)
)
register_page(
    Page(
        "events/live/",
        live_events,
        "events_live",
        "Events, live",
        group="Safety",
        permission="events.view_event",
        listed=False,
    )
)
register_page(
    Page(
        "events/export/",
        export_events,
        "events_export",
        "Export events",
        group="Safety",
        permission="events.export_event",
        listed=False,
    )
)
register_shortcut("events_live")


if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # subscriptable for type checkers only


class AuditedAdmin(_ModelAdmin):
    """A ModelAdmin whose additions, changes and deletions are events in the same transaction.

    The kinds are "<model>.added", "<model>.changed" (data: the names of the changed fields, never
    their values) and "<model>.deleted" (written before the deletion, while the names are known).
    """

    def log_addition(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        record(f"{obj._meta.model_name}.added", obj=obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        facts, note = changes(message)
        record(f"{obj._meta.model_name}.changed", obj=obj, data=facts, note=note)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            record(f"{obj._meta.model_name}.deleted", obj=obj)
        return super().log_deletions(request, queryset)

    def _known_actions(self) -> set[str]:
        """The names of the actions that this list has for anybody."""
        own = {action if isinstance(action, str) else action.__name__ for action in self.actions or ()}
        return own | {name for name, _ in self.admin_site.actions}

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Django runs actions outside any transaction: a deletion that fails would leave its events behind.
        if request.method != "POST":
            return super().changelist_view(request, extra_context)
        if request.POST.get("action") in self._known_actions() - self.get_actions(request).keys():
            raise PermissionDenied  # Django would only say that no action is selected
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            self.model._meta.pk.to_python(key)  # a ValidationError, answered with 400, instead of a 500
        with transaction.atomic():
            return super().changelist_view(request, extra_context)


def changes(message: Any) -> tuple[dict[str, Any], str]:
    """The data and the note of an event out of the change message that Django's admin logs."""
    if isinstance(message, str):
        try:
            message = json.loads(message)
        except ValueError:
            return {}, message
    fields: list[str] = []
    related: list[str] = []
    for part in message if isinstance(message, list) else []:
        for verb, what in part.items():
            if "name" in what:
                related.append(f"{what['name']} {verb}")
            else:
                fields += what.get("fields", [])
    return {key: names for key, names in (("fields", fields), ("related", related)) if names}, ""
