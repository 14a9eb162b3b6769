from django.apps import AppConfig


class EmbeddedConfig(AppConfig):
    name = "arcweb.embedded"
    label = "embedded"
