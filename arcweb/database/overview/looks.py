"""What this area has to say to the verdict: the server itself, its last hour, its sequences."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from arcweb.database.findings import Finding, Look, register_look
from arcweb.database.overview import judging, sequences, shared, vitals
from arcweb.database.overview.judging import Past
from arcweb.database.standing import quoted, standing
from arcweb.samples.series import first_since, last_before

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
PAGE = "admin:database_overview"


def an_hour_ago() -> Past | None:
    """The oldest sample of the last hour; None while there is none older than a minute."""
    found = shared.once("hour", lambda: first_since("postgres", timezone.now() - HOUR))
    return None if found is None or found.age < MINUTE.total_seconds() else Past(found.values, found.age)


def a_minute_ago() -> Past | None:
    """A sample of one to three minutes ago."""
    found = shared.once("minute", lambda: last_before("postgres", timezone.now() - MINUTE, within=2 * MINUTE))
    return None if found is None else Past(found.values, found.age)


def look_at_server() -> list[Finding]:
    now = vitals.ask("activity", "ages", "archive", "autovacuum")
    return [*judging.judge(now), *_hidden()]


def look_at_last_hour() -> list[Finding]:
    past = an_hour_ago()
    if past is None:
        return [
            Finding(
                "unknown",
                "What the server did in the last hour is not known yet: its figures are taken every half "
                "minute, by the beat and a worker.",
                why="Hits, checkpoints and temporary files are judged by the difference of two samples.",
            )
        ]
    now = vitals.ask("cache", "checkpoints", "database", "settings")
    found = (judging.hit_ratio(now, past), judging.checkpoints(now, past), judging.temp_files(now, past))
    return [finding for finding in found if finding is not None]


def look_at_sequences() -> list[Finding]:
    return sequences.findings(shared.once("sequences", sequences.fullest))


def _hidden() -> list[Finding]:
    """That sessions of others cannot be judged, when they cannot be seen."""
    sentence = standing().why_not("activity")
    if not sentence:
        return []
    return [
        Finding(
            "unknown",
            f"{sentence.partition('. ')[0]}: active queries, waits for locks and old transactions of "
            "others are not known.",
            statement=f"GRANT pg_monitor TO {quoted(standing().role)};  -- as a superuser",
        )
    ]


register_look(Look("server", "The server's figures", look_at_server, PAGE, order=10))
register_look(Look("last-hour", "The last hour's figures", look_at_last_hour, PAGE, order=15))
register_look(Look("sequences", "The sequences", look_at_sequences, PAGE, order=18))
