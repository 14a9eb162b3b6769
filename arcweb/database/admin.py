"""The pages of the PostgreSQL rooms: each area registers its own."""

from arcweb.database.activity import pages as activity_pages  # noqa: F401
from arcweb.database.overview import pages as overview_pages  # noqa: F401
from arcweb.database.partitions import pages as partition_pages  # noqa: F401
from arcweb.database.queries import pages as query_pages  # noqa: F401
from arcweb.database.replication import pages as replication_pages  # noqa: F401
from arcweb.database.safety import pages as safety_pages  # noqa: F401
from arcweb.database.storage import pages as storage_pages  # noqa: F401
from arcweb.database.tuning import pages as tuning_pages  # noqa: F401
