"""What of a copy that this installation did not make would be believed afterwards: live's takes its place.

Who made such a file chose every row of it. A row of the catalogue says that a file is ours and may run as SQL
text; rules say what is deleted; schedules, jobs, alarms and groups, what is done, told and allowed.
"""

from __future__ import annotations

from psycopg import sql

from arcweb.backups.restore.carry.copying import Both

#: What `catalogue` fills with live's rows, where live has any: those of the file go first.
EMPTIED = (
    "backups_downloadlink",
    "backups_backup",
    "backups_retention",
    "database_partitionpolicy",
    "database_partitionarchive",
)
#: As in live, wholly; in the order in which they may be filled.
NUMBERED = (
    "django_celery_beat_crontabschedule",
    "django_celery_beat_intervalschedule",
    "django_celery_beat_solarschedule",
    "django_celery_beat_clockedschedule",
    "django_celery_beat_periodictask",
    "backups_schedule",
)
REPLACED = ("jobs_job", "events_alertsetting", *NUMBERED)
#: Told to people as carried over, beside what always is.
CARRIED = tuple(f"public.{name}" for name in (*REPLACED, *EMPTIED))
#: Live's own, which end with the exchange; those of the file are gone by then.
JOBS = """
UPDATE jobs_job SET state = 'interrupted', claim = NULL, finished_at = now(), rate = NULL, message = '',
    next_retry_at = NULL,
    last_error = 'A backup was restored while this job was ' || state || '. Retry it if it is still wanted.'
WHERE state IN ('queued', 'running')
"""
#: Whoever reactivates one of these people gives them nothing that the file has chosen.
PEOPLE = """
UPDATE auth_user SET is_staff = false, is_superuser = false
WHERE (is_staff OR is_superuser) AND NOT EXISTS (SELECT FROM pg_temp.matched WHERE new_id = auth_user.id);
DELETE FROM auth_user_groups WHERE NOT EXISTS (SELECT FROM pg_temp.matched WHERE new_id = user_id);
DELETE FROM auth_user_user_permissions WHERE NOT EXISTS (SELECT FROM pg_temp.matched WHERE new_id = user_id);
DELETE FROM auth_group_permissions USING auth_group
WHERE group_id = auth_group.id
  AND NOT EXISTS (SELECT FROM pg_temp.carried_groups AS known WHERE known.name = auth_group.name)
"""
#: Without a live to take them from.
ALONE = """
DELETE FROM jobs_job;
DELETE FROM events_alertsetting;
DELETE FROM events_silence;
UPDATE backups_schedule SET enabled = false
"""
ENTERING = "SELECT count(*), count(*) FILTER (WHERE is_superuser) FROM auth_user WHERE is_active"
SAID = (
    "The copy is not this installation's own: its jobs, schedules, rules, thresholds of alarms and rows of "
    "the catalogue are not believed; live's stay."
)

SAID_ALONE = (
    "The copy is not this installation's own: its jobs, rules, thresholds of alarms and rows of the "
    "catalogue are not believed, and its schedules stand still until you switch them on."
)
SAID_UNDONE = (
    "Accounts, the catalogue of copies, schedules and rules are as they were before that restore, whose copy "
    "was not this installation's own; what people changed about them since is in the safety copy."
)


def foretold(*, live_is_broken: bool) -> str:
    """What people are told before they confirm such a copy."""
    if live_is_broken:
        return (
            f"{SAID_ALONE} Its accounts, superusers among them, will enter with the passwords of the copy, "
            "since none can be read from live."
        )
    return (
        "The copy is not this installation's own: accounts, groups, jobs, schedules, rules, alarms and the "
        "catalogue stay live's. Agents, memories and the audit events of before are whatever its maker wrote."
    )


def carry(both: Both, taken_at: str) -> list[str]:
    """After the accounts and before the catalogue; sentences, none for a copy of ours."""
    if both.trusted:
        return []
    _empty(both)
    present = [table for table in REPLACED if both.has(table)]
    both.replace(present)
    for table in set(NUMBERED) & set(present):
        both.move_on(table)
    if both.has("jobs_job"):
        both.do(JOBS)
    if both.has("auth_user"):
        for statement in PEOPLE.split(";"):
            both.do(statement)
    return [SAID]


def settle_alone(both: Both) -> list[str]:
    """Where live cannot be read; sentences, none for a copy of ours. The people of the file stay: nobody
    could log in without them."""
    if both.trusted:
        return []
    _empty(both)
    for statement in ALONE.split(";"):
        both.do(statement)
    people, superusers = both.new.execute(ENTERING).fetchone() or (0, 0)
    entering = f"{people} of its accounts may log in with the passwords of the copy"
    return [SAID_ALONE, f"{entering}, {superusers} of them as superusers: look at each."]


def _empty(both: Both) -> None:
    for table in EMPTIED:
        if both.has(table):
            both.do(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
