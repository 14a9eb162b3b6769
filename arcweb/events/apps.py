from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class EventsConfig(AppConfig):
    name = "arcweb.events"
    label = "events"

    def ready(self) -> None:
        from arcweb.events import logins  # noqa: F401 - connects its receivers

        post_migrate.connect(_make_partitions, sender=self, dispatch_uid="events-partitions")


def _make_partitions(using: str, **kwargs: Any) -> None:
    from arcweb.events import partitions

    partitions.ensure(using=using)
