from django.apps import AppConfig


class CacheAdminConfig(AppConfig):
    name = "cache_admin"
    label = "cache_admin"
    verbose_name = "Redis"

    def ready(self) -> None:
        from arcweb import checks  # noqa: F401 - registers the system checks on import
        from cache_admin.structures import wiring

        wiring.connect()
