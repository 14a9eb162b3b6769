"""Sessions: Redis answers the read, PostgreSQL keeps them."""

from django.contrib.sessions.backends.cached_db import SessionStore as CachedDbStore


class SessionStore(CachedDbStore):
    pass
