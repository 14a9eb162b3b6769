from django.apps import AppConfig


class DatabaseConfig(AppConfig):
    name = "arcweb.database"
    label = "database"
    verbose_name = "PostgreSQL"
