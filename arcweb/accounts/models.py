"""What is known about logins: one record each, and the failed tries that throttle them."""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from arcweb.accounts.querysets import LoginThrottleQuerySet, UserSessionQuerySet


class UserSession(models.Model):
    """One login of a person, from its beginning to its end. Changed through `arcweb.accounts.records` only.

    The session's key is a bearer credential: its sha256 finds the record, and leads back to nothing.
    """

    class End(models.TextChoices):
        LOGOUT = "logout", "logged out"
        REPLACED = "replaced", "logged in again"
        REVOKED = "revoked", "revoked"
        IDLE = "idle", "idle too long"
        EXPIRED = "expired", "reached its longest time"
        PASSWORD = "password", "password changed"
        DEACTIVATED = "deactivated", "account deactivated"
        RESTORED = "restored", "a backup was restored"

    key_hash = models.CharField(max_length=64, unique=True, db_collation="C")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="login_sessions")
    created_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.TextField(blank=True, db_default="")
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_reason = models.CharField(max_length=20, choices=End, blank=True, db_default="")
    ended_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    read_at: datetime  # now by the database, where `with_user` read it

    objects = UserSessionQuerySet.as_manager()

    class Meta:
        verbose_name = "session"
        default_permissions = ("view",)
        permissions = [("end_session", "Can end sessions")]
        indexes = [
            models.Index(
                fields=["-last_seen_at", "-id"], condition=Q(ended_at=None), name="session_live_seen"
            ),
            models.Index(fields=["ended_at"], condition=Q(ended_at__isnull=False), name="session_ended"),
        ]
        constraints = [
            models.CheckConstraint(
                name="session_end_has_reason",
                condition=Q(ended_at=None, ended_reason="")
                | (Q(ended_at__isnull=False) & ~Q(ended_reason="")),
            )
        ]

    def __str__(self) -> str:
        return f"session {self.pk}"


class LoginThrottle(models.Model):
    """Failed logins of an account from an address, of an account, or from an address ("" is any).

    What was typed as a name may be a password typed into the wrong field, so the account is a keyed hash.
    """

    account = models.CharField(max_length=64, db_collation="C")
    address = models.CharField(max_length=50, db_collation="C")
    failures = models.IntegerField(db_default=0)
    refused = models.IntegerField(db_default=0)  # tries since the lock; 0: not locked before the last try
    first_at = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())
    locked_until = models.DateTimeField(null=True, blank=True)

    objects = LoginThrottleQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["account", "address"], name="throttle_once")]
        indexes = [models.Index(fields=["address"], name="throttle_address")]

    def __str__(self) -> str:
        return f"throttle {self.pk}"
