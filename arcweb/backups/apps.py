from django.apps import AppConfig


class BackupsConfig(AppConfig):
    name = "arcweb.backups"
    label = "backups"
    verbose_name = "Backups"
