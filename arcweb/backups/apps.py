from django.apps import AppConfig

from arcweb.backups.takers import register_taker


class BackupsConfig(AppConfig):
    name = "arcweb.backups"
    label = "backups"
    verbose_name = "Backups"

    def ready(self) -> None:
        register_taker(("custom", "plain"), "arcweb.backups.dump.take")
        register_taker(("rdb",), "arcweb.backups.redis_rdb.taker.take")
