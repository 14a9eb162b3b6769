"""The project's database engine: Django's for PostgreSQL, on connections that never wait for ever.

DATABASES has ENGINE "arcweb.postgres". `limited` bounds what a part of a page may cost.
"""

from arcweb.postgres.connection import ServerSilent
from arcweb.postgres.limits import TooSlow, limited

__all__ = ["ServerSilent", "TooSlow", "limited"]
