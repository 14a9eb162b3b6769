"""The sentence on top of a list: how what is in it is, by the newest figures, in a request of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.http import urlencode

from arcweb.panel_views import url_of
from arcweb.verdict import VERDICT

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin  # subscriptable for type checkers only


class ListVerdict(_ModelAdmin):
    """`watch` names the part of the overview's verdict that stands on top; `lead` is said where none does."""

    watch = ""
    lead = ""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context: dict[str, Any] = {"lead": self.lead}
        if self.watch:
            context |= {
                "verdict": VERDICT,
                "verdict_url": f"{url_of(VERDICT)}?{urlencode({'of': self.watch})}",
            }
        return super().changelist_view(request, {**context, **(extra_context or {})})
