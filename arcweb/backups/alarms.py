"""Alarms of the backups: too old, failing, bad, of a strange size, no room, not in the second place."""

from __future__ import annotations

from typing import Literal

from arcweb.alarms import Alarm, Reading, Unknown, register_alarm
from arcweb.backups import telling
from arcweb.backups.models import Backup, Source
from arcweb.backups.standing import LATE, TOO_OLD, Standing, standings
from arcweb.charts import size

SEE = "backups.view_backup"


def _of(source: str) -> Standing:
    return next(one for one in standings() if one.source == source)


def _age(source: Source) -> Reading:
    one = _of(source)
    hours = telling.hours_unproven(one)
    if hours is None:
        raise Unknown(
            f"Nobody knows since when {one.title} should have copies: there is no schedule and no copy."
        )
    return Reading(round(hours, 1), one.sentence)


def postgres_age() -> Reading:
    return _age(Source.POSTGRES)


def redis_age() -> Reading:
    return _age(Source.STATE)


def failing() -> Reading:
    failed = [one for one in standings() if one.failures]
    count = sum(one.failures for one in failed)
    return Reading(count, " ".join(one.sentence for one in failed) or "No backup failed since the last copy.")


def bad() -> Reading:
    count = Backup.objects.ours().filter(state="bad").count()
    if not count:
        return Reading(0, "No copy is bad.")
    what = "1 copy is" if count == 1 else f"{count} copies are"
    return Reading(
        count,
        f"{what} bad and no longer count: see what the check found, look at the disk, and take a new one.",
    )


def strange_size() -> Reading | None:
    found = telling.anomaly()
    return Reading(round(found.times, 2), found.sentence) if found else None


def room() -> Reading:
    found = telling.fits()
    if found is None:
        raise Unknown(
            "How many copies fit is not known: there is none yet, or the folder cannot be looked at."
        )
    like = f"{found.largest.get_format_display()} ({size(found.largest.bytes or 0)})"
    return Reading(
        round(found.copies, 1),
        f"{size(found.free)} are free where backups are written: room for {found.copies:,.0f} more like the "
        f"newest {like}. Keep fewer (Retention), or give the folder more room.",
    )


def not_remote() -> Reading:
    count = Backup.objects.ours().present().exclude(remote_trouble="").count()
    return Reading(
        count,
        f"{count} cop{'y is' if count == 1 else 'ies are'} not in the S3-compatible storage: each one's page "
        "says why. A copy on this machine alone is lost with it."
        if count
        else "Every copy is where it should be.",
    )


def _register(
    name: str,
    title: str,
    look: object,
    unit: str,
    threshold: float,
    why: str,
    *,
    severity: Literal["warn", "bad"] = "warn",
    fires: Literal["at or above", "at or below"] = "at or above",
    url_name: str = "admin:backups",
) -> None:
    register_alarm(
        Alarm(
            name,
            title,
            "Safety",
            look,  # type: ignore[arg-type]
            unit,
            threshold,
            why,
            fires=fires,
            severity=severity,
            permission=SEE,
            url_name=url_name,
        )
    )


_register(
    "backups.age",
    "No proven restore point of PostgreSQL",
    postgres_age,
    "hours",
    LATE.total_seconds() / 3600,
    "A copy a day, and two hours to take and prove it.",
    severity="bad",
)
_register(
    "backups.age_redis",
    "No proven restore point of Redis state",
    redis_age,
    "hours",
    TOO_OLD.total_seconds() / 3600,
    "Queue, locks and leaderboards can be made anew with less loss than PostgreSQL: two days, and two hours.",
)
_register(
    "backups.failing",
    "Backups fail",
    failing,
    "runs",
    1,
    "Every failed run is a restore point less.",
)
_register("backups.bad", "A copy is bad", bad, "copies", 1, "What rots once rots again.", severity="bad")
_register(
    "backups.size",
    "A copy of a strange size",
    strange_size,
    "times",
    2,
    "Twice or half of the median of the seven copies before it.",
)
_register(
    "backups.room",
    "Room for backups",
    room,
    "copies",
    3,
    "Three more copies: time to act before the first one fails.",
    fires="at or below",
)
_register(
    "backups.second_place",
    "Copies missing in the second place",
    not_remote,
    "copies",
    1,
    "With storage elsewhere set up, a copy counts as safe only there.",
)
