from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "arcweb.jobs"
    label = "jobs"
