"""What the PostgreSQL rooms show lives in the server's own views. The model carries their permissions."""

from django.db import models

from arcweb.database.partitions.models import PartitionArchive as PartitionArchive
from arcweb.database.partitions.models import PartitionPolicy as PartitionPolicy
from arcweb.database.queries.models import QuerySnapshot as QuerySnapshot


class PostgresServer(models.Model):
    """The database server. `arcweb.accounts.roles` says which role of people has which permission."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [
            ("view_server", "Can see the PostgreSQL server: figures, tables, settings, replication"),
            ("view_statements", "Can see the text of statements, which may hold data"),
            ("cancel_statement", "Can cancel a statement and end a session"),
            ("explain_statement", "Can see and measure the plan of a statement"),
            ("maintain", "Can run VACUUM, ANALYZE and REINDEX"),
            ("change_settings", "Can change settings of the PostgreSQL server"),
            ("change_partitions", "Can make and archive partitions, and drop old ones"),
            ("view_safety", "Can see roles, grants and what is unsafe about them"),
        ]

    def __str__(self) -> str:
        return "PostgreSQL"
