"""Named queries over sessions and failed logins. All times are the database's, not the hosts'."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from django.conf import settings
from django.db import connection, models
from django.db.models import Case, CharField, F, Q, Value, When
from django.db.models.functions import Greatest, Now

if TYPE_CHECKING:
    from arcweb.accounts.models import LoginThrottle, UserSession  # noqa: F401 - named in strings

#: A session's record says when it was seen to this precision, so that few requests write.
SEEN_EVERY = timedelta(minutes=1)


def ago(age: timedelta) -> Any:
    return models.ExpressionWrapper(Now() - Value(age), output_field=models.DateTimeField())


def idle_limit() -> timedelta:
    return timedelta(seconds=settings.ARC_SESSION_IDLE_SECONDS)


def age_limit() -> timedelta:
    return timedelta(seconds=settings.ARC_SESSION_SECONDS)


class UserSessionQuerySet(models.QuerySet["UserSession"]):
    def live(self) -> Self:
        """Those that let a person in: not ended, not idle too long, not too old, of an active user."""
        return self.filter(
            ended_at=None,
            last_seen_at__gt=ago(idle_limit()),
            created_at__gt=ago(age_limit()),
            user__is_active=True,
        )

    def lapsed(self) -> Self:
        """Those that ran out, though nobody came to see it: still to be marked as ended."""
        over = Q(last_seen_at__lte=ago(idle_limit())) | Q(created_at__lte=ago(age_limit()))
        return self.filter(over, ended_at=None)

    def mark_lapsed(self) -> int:
        reason = Case(
            When(created_at__lte=ago(age_limit()), then=Value("expired")),
            default=Value("idle"),
            output_field=CharField(),
        )
        return self.lapsed().update(ended_at=Now(), ended_reason=reason)

    def with_user(self, key_hash: str) -> UserSession | None:
        """The record of that key, its user with it (one query), and `read_at`: now by the database."""
        return self.select_related("user").annotate(read_at=Now()).filter(key_hash=key_hash).first()

    def seen(self, pk: int) -> int:
        """Note that it was used just now, at most once a SEEN_EVERY."""
        rows = self.filter(pk=pk, ended_at=None, last_seen_at__lte=ago(SEEN_EVERY))
        return rows.update(last_seen_at=Now())

    def known_place(self, username: str, address: str, age: timedelta) -> bool:
        """Whether that user logged in from that address not longer than `age` ago."""
        return self.filter(user__username=username, address=address, created_at__gt=ago(age)).exists()

    def ends_of(self, key_hashes: Iterable[str]) -> dict[str, str]:
        """By the hash of its key, why that login has ended ("revoked"); "" for one that has not. One query.

        A key that is missing in the answer has no record: nobody is logged in by it.
        """
        found = self.filter(key_hash__in=list(key_hashes))
        return {
            row.key_hash: row.get_ended_reason_display() for row in found.only("key_hash", "ended_reason")
        }

    def ended_before(self, age: timedelta) -> Self:
        return self.filter(ended_at__lt=ago(age))


class Tally(NamedTuple):
    """How an account, an address, or a pair of both stands after a try was counted."""

    account: str
    address: str
    failures: int
    refused: int  #: tries since it was locked, this one among them; 0: this try is not refused
    seconds: float  #: until the lock ends; 0: not locked


#: The rows come in one order of scopes, so that tries at once wait for each other and never deadlock.
COUNT = """
INSERT INTO accounts_loginthrottle AS t (account, address, failures, locked_until)
SELECT account, address, 1, CASE WHEN most <= 1 THEN {until} END
FROM unnest(%(accounts)s::text[], %(addresses)s::text[], %(most)s::int[])
WITH ORDINALITY AS tried (account, address, most, position)
ORDER BY position
ON CONFLICT (account, address) DO UPDATE SET
    last_at = statement_timestamp(),
    first_at = CASE WHEN {over} THEN statement_timestamp() ELSE t.first_at END,
    failures = CASE WHEN {locked} THEN t.failures WHEN {over} THEN 1 ELSE t.failures + 1 END,
    refused = CASE WHEN {locked} THEN t.refused + 1 ELSE 0 END,
    locked_until = CASE
        WHEN {locked} THEN t.locked_until
        WHEN (CASE WHEN {over} THEN 1 ELSE t.failures + 1 END)
            >= CASE WHEN t.account <> '' AND t.address <> '' THEN %(tight)s ELSE %(loose)s END
        THEN {until}
    END
RETURNING t.account, t.address, t.failures, t.refused,
    coalesce(extract(epoch FROM t.locked_until - statement_timestamp()), 0)::float
"""
for _name, _meaning in {
    "{locked}": "coalesce(t.locked_until > statement_timestamp(), false)",
    "{over}": "coalesce(t.locked_until, t.first_at + {lock}) <= statement_timestamp()",
    "{until}": "statement_timestamp() + {lock}",
    "{lock}": "make_interval(secs => %(lock)s)",
}.items():
    COUNT = COUNT.replace(_name, _meaning)


class LoginThrottleQuerySet(models.QuerySet["LoginThrottle"]):
    def locks(self, scopes: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
        """Which of these (account, address) are locked, and for how many seconds more."""
        left: Any = models.ExpressionWrapper(F("locked_until") - Now(), output_field=models.DurationField())
        rows = self._any_of(scopes).filter(locked_until__gt=Now())
        found = rows.values_list("account", "address", left)
        return {(account, address): left.total_seconds() for account, address, left in found}

    def count_try(
        self, scopes: Sequence[tuple[str, str]], *, tight: int, loose: int, lock: timedelta
    ) -> list[Tally]:
        """Count one try in each of these scopes in one statement; the one that reaches the limit locks.

        `tight` failures within `lock` lock a pair of account and address, `loose` either alone.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                COUNT,
                {
                    "accounts": [account for account, _ in scopes],
                    "addresses": [address for _, address in scopes],
                    "most": [tight if all(scope) else loose for scope in scopes],
                    "lock": lock.total_seconds(),
                    "tight": tight,
                    "loose": loose,
                },
            )
            return [Tally(*row) for row in cursor.fetchall()]

    def take_back(self, scopes: Sequence[tuple[str, str]], *, loose: int) -> None:
        """After a success: forget the pair, and the one try that was counted for either alone."""
        for account, address in scopes:
            rows = self.filter(account=account, address=address)
            if account and address:
                rows.delete()
            else:
                fewer = Greatest(F("failures") - 1, Value(0))
                still = When(failures__gt=loose, then=F("locked_until"))
                rows.update(failures=fewer, locked_until=Case(still, default=None))

    def of_account(self, account: str) -> Self:
        return self.filter(account=account)

    def from_address(self, address: str) -> Self:
        return self.filter(address=address)

    def forgotten(self, age: timedelta) -> Self:
        """Neither tried nor locked for that long."""
        return self.filter(last_at__lt=ago(age)).exclude(locked_until__gt=Now())

    def _any_of(self, scopes: Sequence[tuple[str, str]]) -> Self:
        wanted = Q()
        for account, address in scopes:
            wanted |= Q(account=account, address=address)
        return self.filter(wanted)
