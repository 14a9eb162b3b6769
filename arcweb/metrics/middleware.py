"""Counts and times requests, by django-prometheus: its middlewares and nothing else of it.

Its database and cache backends would replace the guarded ones of this project; its model mixins count what
the event log knows. Labels are names of views, methods, statuses and templates, none of which grows with
data: methods that nobody knows, which it lets through in one place, are mended here.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django_prometheus.middleware import PrometheusAfterMiddleware, PrometheusBeforeMiddleware
from prometheus_client import disable_created_metrics

disable_created_metrics()  # when each counter began: a third more lines, and nobody asks

__all__ = ["AfterMiddleware", "BeforeMiddleware"]


class BeforeMiddleware(PrometheusBeforeMiddleware):
    """The first one: sees every request, and the time of all others."""


class AfterMiddleware(PrometheusAfterMiddleware):
    """The last one: knows the view."""

    def label_metric(
        self, metric: Any, request: HttpRequest, response: HttpResponseBase | None = None, **labels: Any
    ) -> Any:
        if "method" in labels:
            labels["method"] = self._method(request)
        return super().label_metric(metric, request, response, **labels)
