"""What the partitions have to say: the next one missing, rows in a default partition, a late retention."""

from __future__ import annotations

from django.db import connection
from django.urls import reverse
from psycopg import sql

from arcweb.database.findings import Finding, Look, register_look, worst_first
from arcweb.database.partitions import catalog, retention
from arcweb.database.partitions.catalog import Table
from arcweb.database.standing import quoted

NEXT_WHY = "The next partition must stand before its time begins."
OURS_WHY = f"{NEXT_WHY} A beat job makes those of events three months ahead, every night at 03:17 UTC."
DEFAULT_WHY = (
    "Rows in a default partition are read and found as others are, but no month of theirs can get a "
    "partition or be dropped, and every new partition scans them first (PostgreSQL's manual, 5.12.2.2)."
)


def find() -> list[Finding]:
    """The findings of every partitioned table, worst first."""
    found: list[Finding] = []
    for table in sorted(catalog.tables(sizes=False), key=lambda table: not table.ours):
        found += next_missing(table) + strays(table)
        if table.ours:
            found += overdue(table)
    return worst_first(found)


def next_missing(table: Table) -> list[Finding]:
    """Only where ranges of time are regular: nobody knows the next of others."""
    if table.step is None:
        return []
    ahead, after = table.ahead, table.after(table.now)
    if ahead > 0 or after is None:
        return []
    url, action = (reverse("admin:database_partitions"), "Make it") if table.ours else ("", "")
    why, statement = OURS_WHY if table.ours else NEXT_WHY, table.next_statement()
    catches = "rows go to the default partition" if table.default else "rows are refused"
    if ahead < 0:
        sentence = f"{table.qualified} has no partition for now, {table.now:%Y-%m-%d %H:%M} UTC: {catches}."
        return [Finding("bad", sentence, url, action, statement=statement, why=why)]
    last = max(one.until for one in table.timed if one.until)
    sentence = (
        f"{table.qualified} has no partition for what comes after {last:%Y-%m-%d}: {catches} from then on."
    )
    return [Finding("warn", sentence, url, action, statement=statement, why=why)]


def strays(table: Table) -> list[Finding]:
    default = table.default
    if default is None or not (
        table.timed or table.ours
    ):  # a default is the plan where partitions are by list or hash
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(default.schema, default.name))
        )
        if not cursor.fetchone()[0]:
            return []
    return [
        Finding(
            "warn",
            f"Rows stand in {default.qualified}, the default partition of {table.qualified}.",
            reverse("admin:database_partitions") + "#default" if table.ours else "",
            "Move them" if table.ours else "",
            statement=f"TABLE {quoted(default.schema)}.{quoted(default.name)} LIMIT 10;",
            why=DEFAULT_WHY,
        )
    ]


def overdue(table: Table) -> list[Finding]:
    """Months that the policy dropped long ago still stand: its nightly job does not run, or fails."""
    chosen = retention.policy()
    if chosen.keep_months is None:
        return []
    # A month of grace: the job runs every night, and may be tried again for days.
    late = retention.preview(table, chosen.keep_months + 1).partitions
    if not late:
        return []
    return [
        Finding(
            "warn",
            f"{len(late)} month(s) of events are older than the {chosen.keep_months} that are kept, and "
            f"still stand, {late[0].qualified} first: the jobs that drop them fail, or do not run.",
            f"{reverse('admin:jobs_job_changelist')}?kind={retention.DROP}",
            "Show the jobs",
            why="The setting on the page of partitions; the beat job asks for them every night at 03:27 UTC.",
        )
    ]


register_look(Look("partitions", "Partitions", find, "admin:database_partitions", order=60))
