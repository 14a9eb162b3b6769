"""The admin site of ARC Web."""

from django.contrib.admin import AdminSite


class ArcAdminSite(AdminSite):
    site_header = "ARC Web"
    site_title = "ARC Web"
    index_title = "Overview"
