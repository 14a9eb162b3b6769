"""What the live database knows better than an older copy, carried into the new one before it is live.

Accounts and revocations, audit events, the catalogue of copies, alerts. Everything runs in one transaction
of the new database, may run twice, and reads the live one only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from arcweb.backups.restore.carry import accounts, catalogue, events, grants, standing, strangers
from arcweb.backups.restore.carry.copying import Both
from arcweb.backups.restore.carry.grants import LIVE_UNREAD
from arcweb.backups.restore.carry.strangers import foretold

__all__ = [
    "CARRIED",
    "LIVE_UNREAD",
    "by_hand",
    "by_hand_alone",
    "carried",
    "carry_over",
    "foretold",
    "settle_alone",
]
#: Tables that live wins, wholly or row by row: what differs in them is no loss.
CARRIED = (
    "events.events",
    "events.event_details",
    *(
        f"public.{name}"
        for name in (
            "auth_user",
            "auth_group",
            "auth_user_groups",
            "auth_group_permissions",
            "auth_user_user_permissions",
            "accounts_usersession",
            "accounts_loginthrottle",
            "django_session",
            "backups_backup",
            "backups_retention",
            "backups_downloadlink",
            "database_partitionpolicy",
            "database_partitionarchive",
            "events_alert",
            "events_alertstanding",
            "events_silence",
            "events_delivery",
        )
    ),
)


def carried(*, trusted: bool) -> tuple[str, ...]:
    """The same, with what of a copy that is not ours is not believed."""
    return CARRIED if trusted else CARRIED + strangers.CARRIED


def carry_over(
    live: psycopg.Connection[Any],
    new: psycopg.Connection[Any],
    taken_at: str,
    *,
    trusted: bool,
    undoes: Mapping[str, Any] | None = None,
) -> list[str]:
    """Carry everything over; what was, in sentences. taken_at: the moment that the copy holds, ISO.

    trusted: this installation made the copy; whoever comes with another file gets no access by it. undoes: of
    an undo, the facts of the restore that it takes back. The caller commits `new`. Raises psycopg.Error.
    """
    both = Both(live, new, trusted=trusted, undoes=undoes)
    said: list[str] = []
    parts = [accounts, strangers, events, catalogue, standing, grants]
    if undoes and undoes.get(LIVE_UNREAD) and not undoes.get("trusted", True):
        # Nobody else's accounts could be read then: what it has now is what a stranger's file says.
        said = [strangers.SAID_UNDONE, *accounts.end_sessions(both), *standing.end(both)]
        parts = [events, grants]
    for part in parts:
        said += part.carry(both, taken_at)
    return said


def by_hand(
    live: psycopg.Connection[Any], new: psycopg.Connection[Any], *, trusted: bool
) -> list[dict[str, str]]:
    """What of live's rights and settings nobody but a superuser can carry over: {"what", "statement"}.

    Tried in `new`, which is as it was afterwards. Raises psycopg.Error.
    """
    return grants.forecast(Both(live, new, trusted=trusted))


def settle_alone(new: psycopg.Connection[Any], live: str, *, trusted: bool = True) -> list[str]:
    """Where live (its name, "" when there is none) cannot be read: what was under way in the copy is over all
    the same; sentences. trusted: as of `carry_over`.

    The caller commits `new`. Raises psycopg.Error.
    """
    both = Both(new, new, trusted=trusted)
    said = [*accounts.end_sessions(both), *strangers.settle_alone(both), *standing.end(both)]
    catalogue.end_half_done(both, alone=True)
    return said + grants.carry_alone(new, live)


def by_hand_alone(new: psycopg.Connection[Any], live: str) -> list[dict[str, str]]:
    """What `settle_alone` left to a superuser, as `by_hand` says it. Raises psycopg.Error."""
    return grants.forecast_alone(new, live)
