from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "arcweb.accounts"
    label = "accounts"

    def ready(self) -> None:
        from arcweb.accounts import roles, signals  # noqa: F401 - signals connects its receivers

        post_migrate.connect(roles.keep, dispatch_uid="accounts-roles")
