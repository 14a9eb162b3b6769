"""What was under way when the copy was taken: jobs, schedules and alerts of another time."""

from __future__ import annotations

from arcweb.backups.restore.carry.copying import Both

#: A queued job of the copy would do today what somebody wanted then: drop a month of events, say.
JOBS = """
UPDATE jobs_job SET state = 'interrupted', claim = NULL, finished_at = now(), rate = NULL, message = '',
    next_retry_at = NULL,
    last_error = 'A backup from the time when this job was ' || state || ' was restored. Retry it if it is '
        'still wanted.'
WHERE state IN ('queued', 'running')
"""
#: No run for each slot that passed since the copy.
SCHEDULES = {
    "backups_schedule": "UPDATE backups_schedule SET last_slot = greatest(last_slot, now())",
    "django_celery_beat_periodictask": "UPDATE django_celery_beat_periodictask SET last_run_at = now()",
    "django_celery_beat_periodictasks": "UPDATE django_celery_beat_periodictasks SET last_update = now()",
}
#: In the order in which they may be filled.
ALERTS = ("events_alert", "events_alertstanding", "events_silence", "events_delivery")
END_ALERTS = """
UPDATE events_alert SET state = 'ended', ended_at = now(), ended_by = 'restore' WHERE state = 'firing';
UPDATE events_delivery SET state = 'failed', ended_at = now(), last_error = 'A backup was restored.'
WHERE state = 'waiting';
DELETE FROM events_alertstanding
"""


def carry(both: Both, taken_at: str) -> list[str]:
    said = _under_way(both)
    _alerts(both)
    return said


def end(both: Both) -> list[str]:
    """Jobs, schedules and alerts, where there is no live whose alerts could be carried over."""
    said = _under_way(both)
    if all(map(both.has, ALERTS)):
        _end_alerts(both)
    return said


def _under_way(both: Both) -> list[str]:
    jobs = both.do(JOBS) if both.has("jobs_job") else 0
    for table, statement in SCHEDULES.items():
        if both.has(table):
            both.do(statement)
    return [
        (
            f"{jobs} job{'' if jobs == 1 else 's'} of the copy that waited or ran "
            f"{'is' if jobs == 1 else 'are'} interrupted; schedules go on from now."
        )
    ]


def _end_alerts(both: Both) -> None:
    for statement in END_ALERTS.split(";"):
        both.do(statement)


def _alerts(both: Both) -> None:
    """As they stand live; where live is of another descent, those of a copy of ours are over."""
    if not all(map(both.has, ALERTS)):
        return
    if not both.related and both.trusted:
        _end_alerts(both)
        return
    both.replace(ALERTS)
    for table in ("events_alert", "events_silence"):
        both.move_on(table)
