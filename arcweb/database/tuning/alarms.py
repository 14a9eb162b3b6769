"""The alarms of the settings."""

from __future__ import annotations

from arcweb.alarms import Alarm, Reading, register_alarm
from arcweb.database.tuning import reading


def pending_restart() -> Reading:
    names = reading.pending()
    if not names:
        return Reading(0, "No setting waits for a restart.")
    return Reading(
        len(names), f"Restart PostgreSQL, so that the new value of {', '.join(list(names)[:5])} holds."
    )


def file_errors() -> Reading | None:
    if reading.why_no_files():
        return None
    errors = reading.file_errors()
    if not errors:
        return Reading(0, "The configuration files have no faults.")
    first = errors[0]
    return Reading(
        len(errors),
        f"The server does not take line {first.sourceline} of {first.sourcefile}: {first.error}. Mend it "
        "before a "
        "restart.",
    )


register_alarm(
    Alarm(
        "postgres.pending_restart",
        "Settings that wait for a restart",
        "PostgreSQL",
        pending_restart,
        "settings",
        1,
        "What was set does not hold, and will at a moment that nobody chose.",
        lasting=3600,
        permission="database.view_server",
        url_name="admin:database_tuning",
    )
)
register_alarm(
    Alarm(
        "postgres.file_errors",
        "Faults in PostgreSQL's configuration files",
        "PostgreSQL",
        file_errors,
        "lines",
        1,
        "A server that runs with a faulty file may not start again.",
        lasting=60,
        severity="bad",
        permission="database.view_server",
        url_name="admin:database_tuning",
    )
)
