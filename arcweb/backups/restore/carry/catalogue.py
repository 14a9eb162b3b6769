"""What is known about copies, and rules whose older form would delete more: as they are in live now."""

from __future__ import annotations

from psycopg import sql

from arcweb.backups.restore.carry.copying import Both, names

BACKUPS = "backups_backup"
#: One row each. An older, shorter rule would delete what is still wanted, so that live's is kept.
RULES = ("backups_retention", "database_partitionpolicy")
#: Copies that live forgot stay in the list: a scan says whether their files stand.
MAKE_ROOM = """
DELETE FROM backups_backup AS b USING pg_temp.carried_backups AS c
WHERE b.id = c.id OR (b.file <> '' AND b.file = c.file)
"""
LOOSE_ENDS = """
UPDATE backups_backup SET
    parent_id = CASE WHEN EXISTS (SELECT FROM backups_backup AS p WHERE p.id = backups_backup.parent_id)
                     THEN parent_id END,
    schedule_id = CASE WHEN EXISTS (SELECT FROM backups_schedule AS s WHERE s.id = backups_backup.schedule_id)
                       THEN schedule_id END
WHERE parent_id IS NOT NULL OR schedule_id IS NOT NULL
"""
#: What the copy was in the middle of is over; its own backup above all.
HALF_DONE = """
UPDATE backups_backup SET state = 'failed', finished_at = now(),
    trouble = 'A restore brought back this row from the middle of the backup.'
WHERE state = 'running'
"""
#: The same, where only the copy knows of them: a scan finds those whose files are whole, and passes over rows
#: of runs that failed.
FORGET_HALF_DONE = "DELETE FROM backups_backup WHERE state = 'running'"
ARCHIVES = """
INSERT INTO database_partitionarchive ({columns}) SELECT {columns} FROM pg_temp.carried_archives
ON CONFLICT (file) DO NOTHING
"""


def end_half_done(both: Both, *, alone: bool = False) -> None:
    """Backups that were under way, and links that were given away. alone: there is no live that knows what
    became of them, the copy that is restored among them."""
    if both.has(BACKUPS):
        both.do("DELETE FROM backups_downloadlink")
        both.do(FORGET_HALF_DONE if alone else HALF_DONE)


def carry(both: Both, taken_at: str) -> list[str]:
    said = []
    if both.has(BACKUPS):
        count = both.bring(BACKUPS, "carried_backups")
        columns = names(both.columns(BACKUPS))
        both.do(MAKE_ROOM)
        both.do(
            sql.SQL("INSERT INTO backups_backup ({}) SELECT {} FROM pg_temp.carried_backups").format(
                columns, columns
            )
        )
        both.do(LOOSE_ENDS)
        end_half_done(both)
        said.append(f"The catalogue of copies is live's: {count} row{'' if count == 1 else 's'}.")
    for rule in RULES:
        if both.has(rule) and both.bring(rule, "carried_rule"):
            columns = names(both.columns(rule))
            both.do(sql.SQL("DELETE FROM {}").format(sql.Identifier(rule)))
            both.do(
                sql.SQL("INSERT INTO {} ({}) SELECT {} FROM pg_temp.carried_rule").format(
                    sql.Identifier(rule), columns, columns
                )
            )
    if both.has("database_partitionarchive"):
        both.bring("database_partitionarchive", "carried_archives")
        columns = names([one for one in both.columns("database_partitionarchive") if one != "id"])
        both.do(sql.SQL(ARCHIVES).format(columns=columns))
    return said
