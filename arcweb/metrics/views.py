"""The address /metrics. `arcweb.away` calls it before any session, so it answers while servers are away."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from arcweb.metrics.access import refusal
from arcweb.metrics.exposition import CONTENT_TYPE, exposition


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Everything in Prometheus's text format; 404, 403 or 401 in words to whom it is not given."""
    if refused := refusal(request.META):
        status, sentence = refused
        response = HttpResponse(sentence, status=status, content_type="text/plain; charset=utf-8")
        if status == 401:
            response["WWW-Authenticate"] = 'Bearer realm="metrics"'
        # Said to whoever asks, not logged each time as a page that is missing.
        response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001
        return response
    return HttpResponse(exposition(), content_type=CONTENT_TYPE)
