from django.apps import AppConfig

from arcweb.backups.takers import register_taker


class BackupsConfig(AppConfig):
    name = "arcweb.backups"
    label = "backups"
    verbose_name = "Backups"

    def ready(self) -> None:
        from celery.signals import worker_init

        from arcweb.backups import checks  # noqa: F401 - they register themselves

        register_taker(("custom", "plain"), "arcweb.backups.dump.take")
        register_taker(("base", "incremental"), "arcweb.backups.physical.base.take")
        worker_init.connect(_settle, dispatch_uid="backups-settle")
        register_taker(("rdb",), "arcweb.backups.redis_rdb.taker.take")


def _settle(**_signal: object) -> None:
    from arcweb.backups.restore import starting

    starting.settle()
