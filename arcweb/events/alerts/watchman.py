"""The web process's part in alerts: what its prober knows, and what no worker can do just then.

Every half minute it looks at the alarms that only this process can (servers and processes that are away). It
sends what is due when the worker, its broker or beat is not there to do it. While PostgreSQL itself is away
nothing can be kept: it then tells the channels straight from memory, and writes the alert down, with what was
sent, when PostgreSQL is back. A web process that is started anew meanwhile tells them again; several web
processes tell it once each. That the web process itself is away nobody here can tell: have /health asked
from outside.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import DatabaseError, connections, transaction

from arcweb.alarms import find_alarm
from arcweb.events.alerts import evaluation, sending
from arcweb.events.alerts.channels import channels
from arcweb.events.alerts.deliveries import message
from arcweb.events.alerts.models import Alert, Delivery, Silence
from arcweb.events.alerts.rules import SLOT, Rule, measure
from arcweb.events.alerts.servers import alarm_name, look
from arcweb.events.alerts.undelivered import Undelivered
from arcweb.panels import Server
from arcweb.per_process import OncePerProcess
from arcweb.servers import is_away, state_of, watched

logger = logging.getLogger(__name__)
POSTGRES = alarm_name("postgres")
#: Without one of these a worker cannot be asked to send.
SENDERS: tuple[Server, ...] = ("redis-state", "worker", "beat")
#: Seconds after the slot's beginning: the worker's round goes first.
OFFSET = 3.0


@dataclass
class Outage:
    """PostgreSQL is away, and what was told about it. `sent`: channel → id of the delivery."""

    rule: Rule
    since: datetime
    fired_at: datetime
    value: float
    sentence: str
    ids: dict[str, str] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    sent: dict[str, datetime] = field(default_factory=dict)


class Watchman:
    """One process's. `tick` is one round; `start` has a thread do one every half minute."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchman", daemon=True)
        #: As PostgreSQL said when it was last there: the rule on PostgreSQL, and until when it is silent.
        self.rule: Rule | None = None
        self.silent_until: datetime | None = None
        self.outage: Outage | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)

    def tick(self) -> None:
        """Raises nothing: the next round comes."""
        try:
            if is_away("postgres"):
                self._alone()
                return
            self._settle()
            evaluation.evaluate("web")
            self._remember()
            if any(state_of(name).up is not True for name in SENDERS):
                sending.send_due()
        except DatabaseError as error:
            logger.warning("A round over the alarms was lost: %s", type(error).__name__)
        except Exception:
            logger.exception("A round over the alarms failed.")
        finally:
            connections.close_all()

    def _run(self) -> None:
        while not self._stopping.wait(SLOT - (time.time() - OFFSET) % SLOT):
            if watched():
                self.tick()

    def _remember(self) -> None:
        self.rule = next((rule for rule in evaluation.rules("web") if rule.alarm.name == POSTGRES), None)
        silence = Silence.objects.by_alarm().get(POSTGRES)
        self.silent_until = silence.until if silence else None

    def _alone(self) -> None:
        """PostgreSQL is away: tell it, once it has lasted, from memory."""
        rule = self.rule or _default()
        now = datetime.now(UTC)
        if rule is None or rule.off or (self.silent_until and now < self.silent_until):
            return
        found = look("postgres")
        if found.value < rule.threshold + rule.lasting:
            return
        if self.outage is None:
            since = now - timedelta(seconds=found.value)
            self.outage = Outage(rule, since, now, found.value, found.sentence)
            logger.error("Alert: %s", found.sentence)
        self._tell(self.outage)

    def _tell(self, outage: Outage) -> None:
        told = message(_alert(outage), "firing")
        for channel in channels():
            name = channel.name
            if name in outage.sent or outage.tries.get(name, 0) >= sending.MOST_TRIES:
                continue
            outage.tries[name] = outage.tries.get(name, 0) + 1
            try:
                sending.send_now(channel, outage.ids.setdefault(name, str(uuid.uuid4())), told)
            except Undelivered as error:
                logger.warning("The alert that PostgreSQL is away could not be sent: %s", error)
            else:
                outage.sent[name] = datetime.now(UTC)

    def _settle(self) -> None:
        """PostgreSQL is back: the alert and what was sent become rows. The rounds that follow end it."""
        outage = self.outage
        if outage is None:
            return
        with transaction.atomic():
            evaluation.fire(outage.rule, outage.value, outage.sentence, outage.since, outage.fired_at)
            alert = Alert.objects.firing().get(alarm=POSTGRES)  # ours, or that of another web process
            told = message(alert, "firing")
            Delivery.objects.bulk_create(
                [
                    Delivery(
                        id=outage.ids[name],
                        alert=alert,
                        kind="firing",
                        channel=name,
                        message=told,
                        state="sent",
                        attempts=outage.tries[name],
                        created_at=outage.fired_at,
                        ended_at=moment,
                    )
                    for name, moment in outage.sent.items()
                ],
                ignore_conflicts=True,
            )
        self.outage = None


def _default() -> Rule | None:
    alarm = find_alarm(POSTGRES)
    return evaluation.rule_of(alarm, None) if alarm else None


def _alert(outage: Outage) -> Alert:
    """Not saved: what a message is made of."""
    alarm = outage.rule.alarm
    return Alert(
        alarm=alarm.name,
        title=alarm.title,
        room=alarm.room,
        unit=alarm.unit,
        severity=alarm.severity,
        fires=alarm.fires,
        threshold=outage.rule.threshold,
        since=outage.since,
        fired_at=outage.fired_at,
        value=outage.value,
        worst=outage.value,
        sentence=f"{outage.sentence} ({measure(outage.value, alarm.unit)})",
        ended_by="",
    )


def _start() -> Watchman:
    watchman = Watchman()
    watchman.start()
    return watchman


#: See to it that this process, and not only the one that it was forked from, has a watchman.
keep_running = OncePerProcess(_start)
