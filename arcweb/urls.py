"""One address space: the admin site at /."""

from django.contrib import admin
from django.urls import path

handler400 = "arcweb.bad_requests.bad_request"
urlpatterns = [path("", admin.site.urls)]
