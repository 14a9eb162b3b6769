"""One address space: the admin site at /, and how the servers stand."""

from django.contrib import admin
from django.urls import path

from arcweb import away

handler400 = "arcweb.bad_requests.bad_request"
handler403 = "arcweb.accounts.refusals.refused"
handler500 = "arcweb.away.server_error"
urlpatterns = [path("state/", away.state, name="state"), path("", admin.site.urls)]
