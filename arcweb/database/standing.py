"""What server this is, and what its role may see: asked once a minute, never guessed."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS, connections

#: Seconds that an answer is used for.
FRESH = 60.0
ASK = """
    SELECT current_setting('server_version_num')::int AS version,
           current_setting('server_version') AS version_text,
           current_user AS role,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
           pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
           pg_has_role(current_user, 'pg_read_all_settings', 'USAGE') AS sees_settings,
           pg_has_role(current_user, 'pg_signal_backend', 'USAGE') AS signals,
           (SELECT extversion FROM pg_extension WHERE extname = 'pg_stat_statements') AS statements,
           (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS vectors,
           pg_is_in_recovery() AS replica
"""


@dataclass(frozen=True)
class Standing:
    """`version` as PostgreSQL numbers it (180004), `statements` and `vectors` as versions of the extensions
    (None: not installed in this database)."""

    version: int
    version_text: str
    role: str
    superuser: bool
    sees_all: bool  #: statements and waits of other roles
    sees_settings: bool
    signals: bool  #: may cancel and end sessions of other roles
    statements: str | None
    vectors: str | None
    replica: bool

    @property
    def major(self) -> int:
        return self.version // 10000

    def why_not(self, what: str) -> str:
        """ "" when it can be done, else a sentence that ends with the statement that would allow it.

        `what` is "activity" (what others run), "signal" (end what others run), "settings" (all settings)
        or "statements" (the statistics of statements).
        """
        role = quoted(self.role)
        if what == "statements" and self.statements is None:
            return (
                "pg_stat_statements is not installed in this database. A superuser adds it with "
                "CREATE EXTENSION pg_stat_statements; after shared_preload_libraries = 'pg_stat_statements' "
                "and a restart."
            )
        if what in ("activity", "statements") and not (self.superuser or self.sees_all):
            return (
                f"The role {self.role} does not see what other roles run. "
                f"A superuser allows it with GRANT pg_monitor TO {role};"
            )
        if what == "settings" and not (self.superuser or self.sees_settings):
            return (
                f"The role {self.role} does not see every setting. "
                f"A superuser allows it with GRANT pg_monitor TO {role};"
            )
        if what == "signal" and not (self.superuser or self.signals):
            return (
                f"The role {self.role} may end only its own sessions. "
                f"A superuser allows more with GRANT pg_signal_backend TO {role};"
            )
        return ""


_known: dict[str, tuple[float, Standing]] = {}
_lock = threading.Lock()


def standing(using: str = DEFAULT_DB_ALIAS) -> Standing:
    """One short query, or the answer of less than a minute ago. Raises django.db.Error."""
    with _lock:
        taken, answer = _known.get(using, (0.0, None))
    if answer is not None and time.monotonic() - taken < FRESH:
        return answer
    with connections[using].cursor() as cursor:
        cursor.execute(ASK)
        names = [column.name for column in cursor.description]
        answer = Standing(**dict(zip(names, cursor.fetchone(), strict=True)))
    with _lock:
        _known[using] = (time.monotonic(), answer)
    return answer


def forget() -> None:
    """The next question is asked anew: after a grant, and between tests."""
    with _lock:
        _known.clear()


def quoted(name: str) -> str:
    """A name as an SQL identifier, for a statement that is shown and typed by a person."""
    return '"' + name.replace('"', '""') + '"'
