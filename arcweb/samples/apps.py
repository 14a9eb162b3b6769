from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class SamplesConfig(AppConfig):
    name = "arcweb.samples"
    label = "samples"

    def ready(self) -> None:
        autodiscover_modules("samplers", "cards", "alarms")
