from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "arcweb.accounts"
    label = "accounts"
