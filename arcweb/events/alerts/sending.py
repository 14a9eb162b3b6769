"""Sends what is owed: outside of transactions, at least once, with a bound on time and on tries.

A delivery is claimed by a conditional UPDATE for LEASE seconds; a sender that dies leaves it to the next.
What goes out twice for that has the same id, by which a receiver can tell.
"""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from arcweb.events import record
from arcweb.events.actors import SYSTEM
from arcweb.events.alerts import mails, webhooks
from arcweb.events.alerts.channels import Channel, find_channel
from arcweb.events.alerts.models import Delivery
from arcweb.events.alerts.undelivered import Undelivered
from arcweb.events.redaction import clean

logger = logging.getLogger(__name__)
#: Seconds before the second, third… try. After as many tries and one more it is given up.
BACKOFF = (30, 120, 600, 1800, 7200)
MOST_TRIES = len(BACKOFF) + 1
LEASE = timedelta(seconds=90)
#: Deliveries of one round, and how many at once: one receiver that hangs holds up no other.
MOST_AT_ONCE = 16
USER_AGENT = "ARC-Web-Alerts"


def send_due() -> int:
    """Send everything that is due; returns how many deliveries were tried. Not for use in a transaction."""
    tried = 0
    while claimed := _claim():
        tried += len(claimed)
        with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
            # Only the network is in the threads: they have no connection to PostgreSQL.
            for delivery, trouble in zip(claimed, pool.map(_try, claimed), strict=True):
                _keep(delivery, trouble)
    return tried


def kick() -> None:
    """Have a worker send what is due now; without one it is sent at the next round."""
    from arcweb.celery import app
    from arcweb.events.tasks import send_alerts
    from arcweb.jobs.dispatch import IMPATIENT
    from arcweb.servers import is_away

    if is_away("redis-state"):
        return
    try:
        with app.connection_for_write(transport_options=IMPATIENT) as connection:
            send_alerts.apply_async(connection=connection, retry=False, expires=60)
    except (OperationalError, KombuError, RedisError, OSError) as error:
        logger.warning("The broker takes no message to send alerts: %s.", type(error).__name__)


def send_now(channel: Channel, delivery_id: str, message: dict[str, Any]) -> None:
    """One try at one channel. Raises Undelivered."""
    if channel.kind == "email":
        mails.send(delivery_id, message, list(settings.ARC_ALERT_EMAILS))
        return
    body = json.dumps({"id": delivery_id, **message}, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT, "Arc-Delivery": delivery_id}
    if secret := settings.ARC_ALERT_WEBHOOK_SECRET:
        headers["Arc-Signature"] = webhooks.signature(secret, body, int(time.time()))
    webhooks.post(channel.address, body, headers, inside=settings.ARC_ALERT_WEBHOOK_INSIDE)


def _claim() -> list[Delivery]:
    due = list(Delivery.objects.due().order_by("next_try_at").values_list("pk", flat=True)[:MOST_AT_ONCE])
    mine = [
        key
        for key in due
        if Delivery.objects.due()
        .filter(pk=key)
        .update(claimed_until=Now() + LEASE, attempts=F("attempts") + 1)
    ]
    return list(Delivery.objects.filter(pk__in=mine).select_related("alert"))


def _try(delivery: Delivery) -> str:
    """ "" when it was sent, else why not."""
    channel = find_channel(delivery.channel)
    if channel is None:
        return "This channel is set no more."
    try:
        send_now(channel, str(delivery.pk), delivery.message)
    except Undelivered as error:
        return clean(str(error))
    except Exception as error:
        logger.exception("The delivery %s failed.", delivery.pk)
        return f"Sending failed ({type(error).__name__}); the log says why."
    return ""


def _keep(delivery: Delivery, trouble: str) -> None:
    mine = Delivery.objects.filter(pk=delivery.pk, state="waiting", attempts=delivery.attempts)
    if not trouble:
        mine.update(state="sent", last_error="", ended_at=Now(), claimed_until=None)
        return
    channel = find_channel(delivery.channel)
    # A test is tried once: whoever asked for it looks at the page.
    if delivery.attempts < MOST_TRIES and delivery.kind != "test" and channel is not None:
        wait = timedelta(seconds=BACKOFF[delivery.attempts - 1])
        mine.update(last_error=trouble, next_try_at=Now() + wait, claimed_until=None)
        return
    if mine.update(state="failed", last_error=trouble, ended_at=Now(), claimed_until=None):
        alert = delivery.alert
        record(
            "alert.undelivered",
            object_type="events.alert" if alert else "",
            object_id=alert.alarm if alert else "",
            label=alert.title if alert else "a test message",
            note=trouble,
            data={
                "channel": channel.kind if channel else delivery.channel.partition(":")[0],
                "attempts": delivery.attempts,
                "delivery": str(delivery.pk),
            },
            actor=SYSTEM,
        )
