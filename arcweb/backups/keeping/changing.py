"""The policy changed by people."""

from __future__ import annotations

from dataclasses import asdict

from django.db import transaction
from django.db.models.functions import Now

from arcweb.backups.models import Retention
from arcweb.backups.retention import Policy
from arcweb.events import record
from arcweb.events.sentences import describe
from arcweb.seen import ChangedMeanwhile

describe("retention.changed", "set how many backups are kept: {policy}")


def in_words(policy: Policy) -> str:
    """ "last 7, daily 7, weekly 4, monthly 12, yearly 3"."""
    return ", ".join(f"{name} {number}" for name, number in asdict(policy).items())


def set_policy(new: Policy, *, seen: Policy) -> None:
    """Keep so many from now on; the event stands in the same transaction.

    seen: the policy that the person changed. Raises ChangedMeanwhile when it is no longer that.
    """
    with transaction.atomic():
        Retention.objects.get_or_create(pk=1)
        same = Retention.objects.filter(pk=1, **asdict(seen))
        record(
            "retention.changed",
            object_type="backups.retention",
            object_id="1",
            data={"policy": in_words(new), "before": in_words(seen)},
        )
        if not same.update(**asdict(new), changed_at=Now()):
            raise ChangedMeanwhile
