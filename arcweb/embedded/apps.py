from typing import Any

from django.apps import AppConfig


class EmbeddedConfig(AppConfig):
    name = "arcweb.embedded"
    label = "embedded"

    def ready(self) -> None:
        # Celery is loaded in every process of the project anyway.
        from celery.signals import worker_ready

        worker_ready.connect(tell_worker_is_ready, weak=False)


def tell_worker_is_ready(sender: Any, **_signal: Any) -> None:
    """Leaves the worker's process number for `make run`, which waits for it. Others are waited for by nobody.

    sender: Celery's consumer; its hostname is the node name, such as worker@machine.
    """
    import os

    from django.conf import settings

    from arcweb.embedded.layout import WORKERS

    name = str(sender.hostname).partition("@")[0]
    if name in WORKERS and settings.ARC_LAYOUT.run_dir.is_dir():
        settings.ARC_LAYOUT.worker_ready_file(name).write_text(str(os.getpid()))
