"""One round over the alarms: look, keep what was found, fire and end.

Safe with two beats, and when a task is delivered twice: each alarm's slot is claimed in PostgreSQL by one
conditional statement, what a round that was overtaken brings is not kept, and a partial unique index
allows one firing alert for each alarm.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import QuerySet
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from arcweb.alarms import Alarm, Reading, Unknown, alarms
from arcweb.database.parts import explained
from arcweb.events import record
from arcweb.events.actors import SYSTEM
from arcweb.events.alerts import deliveries
from arcweb.events.alerts.models import Alert, AlertSetting, AlertStanding, Silence
from arcweb.events.alerts.rules import SLOT, Clocks, Rule, measure, span, step, worse
from arcweb.events.redaction import clean
from arcweb.panels import Server
from arcweb.postgres import TooSlow, limited
from arcweb.servers import TITLES

logger = logging.getLogger(__name__)
#: Seconds that one look may take.
LOOK_SECONDS = 1.0
LONGEST_SENTENCE = 600  # characters
#: alarms of the present slot that nobody has looked at yet become the caller's. In the order of their
#: names, so that two callers cannot wait for each other.
CLAIM = """
    INSERT INTO events_alertstanding AS standing (alarm, slot)
    SELECT name, date_bin(make_interval(secs => %(slot)s), %(now)s, 'epoch')
    FROM unnest(%(names)s::text[]) AS name
    ORDER BY name
    ON CONFLICT (alarm) DO UPDATE SET slot = EXCLUDED.slot WHERE standing.slot < EXCLUDED.slot
    RETURNING alarm, slot, looked_at, beyond_since, within_since
"""
NOW = "SELECT statement_timestamp()"

OFF = "it was switched off"
GONE = "this version has no such rule"


@dataclass(frozen=True)
class Found:
    """What a look brought: a reading, or the reason why there is none."""

    reading: Reading | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Round:
    """Names of the alarms that were looked at, that fired and that ended."""

    looked: tuple[str, ...] = ()
    fired: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


def rules(where: Literal["worker", "web", ""] = "") -> list[Rule]:
    """Every rule as it stands now (one query), or those of one process."""
    changed = {setting.alarm: setting for setting in AlertSetting.objects.all()}
    return [rule_of(alarm, changed.get(alarm.name)) for alarm in alarms() if where in ("", alarm.where)]


def rule_of(alarm: Alarm, setting: AlertSetting | None) -> Rule:
    if setting is None:
        return Rule(alarm, alarm.threshold, alarm.lasting)
    threshold = alarm.threshold if setting.threshold is None else setting.threshold
    lasting = alarm.lasting if setting.lasting is None else setting.lasting
    same = (threshold, lasting) == (alarm.threshold, alarm.lasting)
    return Rule(alarm, threshold, lasting, setting.off, same and not setting.off)


def evaluate(where: Literal["worker", "web"] = "worker", *, now: datetime | None = None) -> Round:
    """Look at every alarm of this process whose slot nobody claimed yet. now: default the database's clock.

    What a look raises is that alarm's "unknown"; raises django.db.Error only when what was found cannot be
    kept at all.
    """
    if now is None:
        with connection.cursor() as cursor:
            cursor.execute(NOW)
            now = cursor.fetchone()[0]
    every = rules(where)
    active = {rule.alarm.name: rule for rule in every if not rule.off}
    claimed = _claim(sorted(active), now)
    fired, ended = [], _end_the_rest(where, now)
    for name, (slot, before) in claimed.items():
        rule = active[name]
        try:
            act = _keep(rule, look(rule.alarm), slot, before, now)
        except DatabaseError:
            if not _usable():
                raise
            logger.exception("What the alarm %s found could not be kept.", name)
            continue
        if act == "fire":
            fired.append(name)
        elif act == "end":
            ended.append(name)
    deliveries.owe(Alert.objects.firing(), "firing", skip=Silence.objects.by_alarm())
    return Round(tuple(claimed), tuple(fired), tuple(ended))


def look(alarm: Alarm) -> Found:
    """Ask one alarm, whatever it does."""
    try:
        with limited(LOOK_SECONDS):
            reading = alarm.look()
    except Unknown as unknown:
        return Found(trouble=_words(str(unknown) or "It is not known."))
    except TooSlow:
        return Found(trouble=f"It took more than {LOOK_SECONDS:g} s and was stopped: the server is busy.")
    except RedisError as error:
        return Found(trouble=_redis(alarm.needs, error))
    except DatabaseError as error:
        return Found(trouble=_words(_database(alarm, error)))
    except Exception as error:
        logger.exception("The look of the alarm %s failed.", alarm.name)
        return Found(trouble=f"The look at it failed ({type(error).__name__}); the log says why.")
    if reading is None:
        return Found(trouble="There is no fresh figure of it.")
    if not math.isfinite(reading.value):
        return Found(trouble="What was measured is no number.")
    return Found(reading)


def _claim(names: list[str], now: datetime) -> dict[str, tuple[datetime, Clocks]]:
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"names": names, "now": now, "slot": SLOT})
        return {
            name: (slot, Clocks(beyond, within, looked))
            for name, slot, looked, beyond, within in cursor.fetchall()
        }


def _keep(
    rule: Rule, found: Found, slot: datetime, before: Clocks, now: datetime
) -> Literal["fire", "end", ""]:
    """Write what was found, and fire or end; what it did."""
    name, reading = rule.alarm.name, found.reading
    after = step(rule, reading.value if reading else None, before, now)
    sentence = _words(reading.sentence) if reading else ""
    with transaction.atomic():
        kept = AlertStanding.objects.filter(alarm=name, slot=slot).update(
            looked_at=now,
            value=reading.value if reading else None,
            sentence=sentence,
            trouble=found.trouble,
            beyond_since=after.clocks.beyond_since,
            within_since=after.clocks.within_since,
        )
        if not kept or reading is None:
            return ""  # a later round was quicker, or nothing is known
        firing = Alert.objects.firing().filter(alarm=name)
        alert = firing.first()
        if alert is not None:
            firing.update(
                value=reading.value, sentence=sentence, worst=worse(rule.alarm, alert.worst, reading.value)
            )
            return "end" if after.act == "end" and end(firing, now) else ""
        if after.act == "fire" and after.clocks.beyond_since is not None:
            return "fire" if fire(rule, reading.value, sentence, after.clocks.beyond_since, now) else ""
    return ""


def fire(rule: Rule, value: float, sentence: str, since: datetime, now: datetime) -> Alert | None:
    """A new alert with its event, in the caller's transaction; None when another was first."""
    alarm = rule.alarm
    alert = Alert(
        alarm=alarm.name,
        title=alarm.title,
        room=alarm.room,
        unit=alarm.unit,
        severity=alarm.severity,
        fires=alarm.fires,
        threshold=rule.threshold,
        state=Alert.State.FIRING,
        since=since,
        fired_at=now,
        value=value,
        worst=value,
        sentence=sentence,
        ended_by="",
    )
    try:
        with transaction.atomic():
            alert.save(force_insert=True)
    except IntegrityError:
        return None
    record(
        "alert.fired",
        object_type="events.alert",
        object_id=alarm.name,
        label=alarm.title,
        note=sentence,
        data={
            "alert": alert.pk,
            "value": value,
            "threshold": rule.threshold,
            "reading": measure(value, alarm.unit),
            "limit": f"{alarm.fires} {measure(rule.threshold, alarm.unit)}",
            "severity": alarm.severity,
        },
        actor=SYSTEM,
    )
    return alert


def end(firing: QuerySet[Alert], now: datetime, ended_by: str = "") -> bool:
    """End that one firing alert, with its event and its all-clear; whether this call did."""
    with transaction.atomic():
        alert = firing.first()
        if alert is None or not firing.filter(pk=alert.pk).update(
            state=Alert.State.ENDED, ended_at=now, ended_by=ended_by
        ):
            return False
        alert.refresh_from_db()
        record(
            "alert.ended",
            object_type="events.alert",
            object_id=alert.alarm,
            label=alert.title,
            note=f"Because {ended_by}." if ended_by else "",
            data={
                "alert": alert.pk,
                "lasted": span((now - alert.since).total_seconds()),
                "worst": measure(alert.worst, alert.unit),
            },
            actor=SYSTEM,
        )
        deliveries.owe_all_clear(alert)
    return True


def _end_the_rest(where: str, now: datetime) -> list[str]:
    """End what fires of a rule that is off or gone: nobody would look at it again."""
    known = {rule.alarm.name: rule for rule in rules()}
    ended = []
    for name in Alert.objects.firing().values_list("alarm", flat=True):
        rule = known.get(name)
        gone = rule is None and where == "worker"
        off = rule is not None and rule.off and rule.alarm.where == where
        if (gone or off) and end(Alert.objects.firing().filter(alarm=name), now, GONE if gone else OFF):
            ended.append(name)
    return ended


def _database(alarm: Alarm, error: DatabaseError) -> str:
    try:
        return explained(error, f"The figures of “{alarm.title}”")
    except DatabaseError:
        return "PostgreSQL did not answer."


def _redis(needs: Iterable[Server], error: RedisError) -> str:
    """Without the words of redis-py, which may name more than an address."""
    who = next((TITLES[server] for server in needs if server.startswith("redis-")), "Redis")
    if isinstance(error, RedisTimeout):
        return f"{who} did not answer in time."
    if isinstance(error, RedisConnectionError):
        return f"{who} cannot be reached."
    return f"{who} refused ({type(error).__name__})."


def _words(text: str) -> str:
    return clean(text.strip())[:LONGEST_SENTENCE]


def _usable() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True
