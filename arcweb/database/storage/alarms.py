"""The alarms of tables and indexes."""

from __future__ import annotations

from arcweb.alarms import Alarm, Reading, register_alarm
from arcweb.database.storage import indexes, judged, tables


def invalid_indexes() -> Reading:
    found = [
        one for one in indexes.indexes() if not one.is_valid and not one.is_built and not one.is_attached
    ]
    if not found:
        return Reading(0, "No index is invalid.")
    names = ", ".join(one.full_name for one in found[:3])
    return Reading(
        len(found), f"{len(found)} invalid index(es), {names}: built anew or dropped on the page of indexes."
    )


def dead_rows() -> Reading:
    """The worst table, in percent of the number at which autovacuum begins."""
    worst = max(
        (table for table in tables.tables() if table.dead >= judged.DEAD_LEAST),
        key=lambda table: table.dead / max(table.vacuum_at, 1),
        default=None,
    )
    if worst is None:
        return Reading(0, f"No table has {judged.DEAD_LEAST:,} dead rows.")
    return Reading(
        round(100 * worst.dead / max(worst.vacuum_at, 1)),
        f"{worst.full_name} has {worst.dead:,} dead rows; autovacuum begins at {worst.vacuum_at:,.0f}. "
        "Vacuum it, "
        "and see what holds autovacuum back.",
    )


def never_vacuumed() -> Reading:
    found = [
        table
        for table in tables.tables()
        if table.heap >= judged.UNVACUUMED_SIZE and not table.visible_pages and table.vacuumed is None
    ]
    if not found:
        return Reading(0, "Every large table was vacuumed.")
    return Reading(len(found), f"{found[0].full_name} is large and was never vacuumed: vacuum it.")


register_alarm(
    Alarm(
        "postgres.invalid_indexes",
        "Invalid indexes",
        "PostgreSQL",
        invalid_indexes,
        "indexes",
        1,
        "An invalid index costs every write and serves no query.",
        permission="database.view_server",
        url_name="admin:database_indexes",
    )
)
register_alarm(
    Alarm(
        "postgres.dead_rows",
        "Dead rows beyond what autovacuum lets pass",
        "PostgreSQL",
        dead_rows,
        "%",
        300,
        "100 % is where autovacuum begins (threshold + scale factor * rows); at 300 % it does not keep up.",
        lasting=300,
        permission="database.view_server",
        url_name="admin:database_tables",
    )
)
register_alarm(
    Alarm(
        "postgres.never_vacuumed",
        "Large tables never vacuumed",
        "PostgreSQL",
        never_vacuumed,
        "tables",
        1,
        "100 MB without one all-visible page: autovacuum is off or held back.",
        lasting=3600,
        permission="database.view_server",
        url_name="admin:database_tables",
    )
)
