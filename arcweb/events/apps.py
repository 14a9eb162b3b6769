from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "arcweb.events"
    label = "events"
