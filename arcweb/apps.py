"""The project itself as an app: its checks and its commands."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class ArcWebConfig(AppConfig):
    name = "arcweb"
    label = "arcweb"
    verbose_name = "ARC Web"


class ArcAdminConfig(AdminConfig):
    """Django's admin, served by the project's own site."""

    default_site = "arcweb.site.ArcAdminSite"
