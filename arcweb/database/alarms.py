"""The alarms of the PostgreSQL rooms: each area registers its own."""

from arcweb.database.activity import alarms as activity_alarms  # noqa: F401
from arcweb.database.overview import alarms as overview_alarms  # noqa: F401
from arcweb.database.partitions import alarms as partition_alarms  # noqa: F401
from arcweb.database.queries import alarms as query_alarms  # noqa: F401
from arcweb.database.replication import alarms as replication_alarms  # noqa: F401
from arcweb.database.storage import alarms as storage_alarms  # noqa: F401
from arcweb.database.tuning import alarms as tuning_alarms  # noqa: F401
