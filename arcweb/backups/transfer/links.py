"""One-time links to copies.

A link is for one download by one login. It must be begun within LIFE; while it is under way, and for LIFE
after each cut, the same link gives the rest (Range), for a day at most. When the last byte of the file was
sent it is used up. Only the hash of its token is kept.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Least, Now
from django.utils import timezone

from arcweb.backups.exceptions import BackupError
from arcweb.backups.models import Backup, DownloadLink
from arcweb.events import record
from arcweb.events.sentences import describe

LIFE, LONGEST = timedelta(minutes=15), timedelta(days=1)
#: How long a link that is over is kept; the events tell of it for longer.
KEPT = timedelta(days=30)

describe("backup.link_made", "asked for a link to the copy {object}")
describe("backup.downloaded", "downloaded the copy {object} ({bytes} bytes)")


class LinkOver(BackupError):  # noqa: N818 - reads as a sentence
    """The link leads nowhere; the message is a sentence."""


def make(backup: Backup, *, user_id: int, actor_name: str, session_hash: str) -> str:
    """A new link to the copy for that login; returns its token. The event stands in the same transaction."""
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        record("backup.link_made", obj=backup, data={"bytes": backup.bytes or 0})
        DownloadLink.objects.filter(expires_at__lt=timezone.now() - KEPT).delete()
        DownloadLink.objects.create(
            token_sha256=_hash(token),
            backup=backup,
            actor_name=actor_name,
            user_id=user_id,
            session_hash=session_hash,
            expires_at=timezone.now() + LIFE,
        )
    return token


def find(token: str, *, user_id: int, session_hash: str) -> DownloadLink:
    """The link, with its copy. Raises LinkOver, in the same words for somebody else's and none."""
    link = (
        DownloadLink.objects.select_related("backup")
        .defer("backup__manifest", "backup__check_result")
        .filter(token_sha256=_hash(token), user_id=user_id, session_hash=session_hash)
        .first()
    )
    if link is None or not session_hash:
        raise LinkOver("There is no such link for this login: links are not for passing on. Make another.")
    if link.used_at is not None:
        raise LinkOver("The copy was sent to its end over this link, which serves once. Make another.")
    if link.expires_at <= timezone.now():
        raise LinkOver(
            f"The link was to be used within {LIFE.seconds // 60} minutes. Make another; a download that was "
            "cut goes on with it where it was."
        )
    if link.backup.state == Backup.State.DELETED:
        raise LinkOver("The copy was deleted meanwhile.")
    return link


def begin(link: DownloadLink) -> None:
    """Before the first byte: the event, once for each link. Raises LinkOver when it ended meanwhile."""
    with transaction.atomic():
        first = DownloadLink.objects.filter(pk=link.pk, begun_at=None, used_at=None).update(begun_at=Now())
        if first:
            record("backup.downloaded", obj=link.backup, data={"bytes": link.backup.bytes or 0})
        if not prolong(link):
            raise LinkOver("The link ended in this moment. Make another.")


def prolong(link: DownloadLink) -> bool:
    """Bytes flow: the link is good for LIFE from now. False when it is not any longer."""
    living = DownloadLink.objects.filter(pk=link.pk, used_at=None)
    return bool(living.update(expires_at=Least(Now() + LIFE, F("created_at") + LONGEST)))


def finish(link: DownloadLink) -> None:
    """Its last byte was sent."""
    DownloadLink.objects.filter(pk=link.pk, used_at=None).update(used_at=Now())


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
