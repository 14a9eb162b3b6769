"""No tables: what the Redis rooms show lives in Redis. The model carries their permissions."""

from django.db import models


class RedisServer(models.Model):
    """One of the two Redis roles. `arcweb.accounts.roles` says which role of people has which permission."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [
            ("view_server", "Can see the Redis servers: figures, settings, clients, slow commands, queues"),
            ("view_keys", "Can see keys and values"),
            ("change_keys", "Can change keys, values and their expiry"),
            ("delete_keys", "Can delete keys, one or by pattern"),
            ("flush_cache", "Can empty the database of the cache role"),
            ("change_config", "Can change settings of the Redis servers"),
            ("save_data", "Can start SAVE, BGSAVE and BGREWRITEAOF"),
            ("kill_client", "Can end connections of clients"),
            ("reset_statistics", "Can reset the slow log and statistics"),
            ("watch_live", "Can watch commands and messages as they come"),
            ("publish", "Can publish messages"),
            ("release_lock", "Can release locks of others"),
            ("reset_limit", "Can reset rate limits"),
            ("change_leaderboard", "Can change leaderboards"),
            ("purge_queue", "Can empty Celery queues"),
        ]

    def __str__(self) -> str:
        return "Redis"
