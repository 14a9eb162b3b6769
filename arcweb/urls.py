"""One address space: the admin site at /, and how the servers stand."""

from django.contrib import admin
from django.urls import path

from arcweb import away
from arcweb.metrics.views import metrics

handler400 = "arcweb.bad_requests.bad_request"
handler403 = "arcweb.accounts.refusals.refused"
handler500 = "arcweb.away.server_error"
urlpatterns = [
    path("state/", away.state, name="state"),
    path("metrics", metrics, name="metrics"),
    path("", admin.site.urls),
]
