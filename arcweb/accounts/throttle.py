"""Failed logins, counted in PostgreSQL, and the lock that they lead to.

Three counts: an account from an address, which locks after ARC_LOGIN_FAILURES; an account from anywhere,
and an address on any account, which lock after LOOSE times as many. Naming an account again and again
locks it only for strangers: an address from which its owner has logged in stays open to the owner, within
the first count. A try is counted before the password is looked at, so that tries at once gain nothing.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.utils.crypto import salted_hmac

from arcweb.accounts.models import LoginThrottle, UserSession
from arcweb.accounts.records import KEPT
from arcweb.events import record

LOOSE = 10
#: One who has an IPv6 address has the 2**64 beside it.
IPV6_PREFIX = 64
Scope = tuple[str, str]


@dataclass(frozen=True)
class Try:
    """One try to log in, as `begin` counted it."""

    scopes: tuple[Scope, ...]
    seconds: int  #: refused for so long; 0: the password may be looked at
    locks: tuple[Scope, ...] = ()  #: what this try locks if it fails


def account_key(name: str) -> str:
    """What stands for a typed name: it may be a password in the wrong field, so nobody can read it."""
    return salted_hmac("arcweb.accounts.throttle", name, algorithm="sha256").hexdigest()


def address_key(address: str | None) -> str:
    if not address:
        return "unknown"
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, IPV6_PREFIX), strict=False))
    return str(ip)


def _lock() -> timedelta:
    return timedelta(seconds=settings.ARC_LOGIN_LOCK_SECONDS)


def begin(name: str, address: str | None) -> Try:
    """Count a try to log in as `name` from `address`, unless it is refused already."""
    name = User.normalize_username(name)
    account, place = account_key(name), address_key(address)
    # Pairs before accounts before addresses: the order in which rows are locked.
    scopes: tuple[Scope, ...] = ((account, place), (account, ""), ("", place))
    locks = LoginThrottle.objects.locks(scopes)
    if address and scopes[1] in locks and UserSession.objects.known_place(name, address, KEPT):
        del locks[scopes[1]]
        scopes = (scopes[0], scopes[2])
    if locks:
        return Try(scopes, _seconds(max(locks.values())))
    tight = settings.ARC_LOGIN_FAILURES
    tallies = LoginThrottle.objects.count_try(scopes, tight=tight, loose=tight * LOOSE, lock=_lock())
    late = [tally.seconds for tally in tallies if tally.refused]  # another try locked it in between
    if late:
        return Try(scopes, _seconds(max(late)))
    return Try(scopes, 0, tuple((tally.account, tally.address) for tally in tallies if tally.seconds))


def failed(attempt: Try, name: str) -> int:
    """The password was wrong. Returns for how many seconds further tries are refused; 0: they are not."""
    if not attempt.locks:
        return 0
    for account, place in attempt.locks:
        what = "account and address" if account and place else "account" if account else "address"
        seconds = settings.ARC_LOGIN_LOCK_SECONDS
        data = {"locked": what, "seconds": seconds}
        record("auth.locked_out", object_type="auth.user", label=name[:150] if account else place, data=data)
    return int(settings.ARC_LOGIN_LOCK_SECONDS)


def succeeded(attempt: Try) -> None:
    """The password was right: nothing is held against the pair; either alone keeps its earlier failures."""
    loose = settings.ARC_LOGIN_FAILURES * LOOSE
    LoginThrottle.objects.take_back(attempt.scopes, loose=loose)


def unlock(what: str) -> int:
    """Forget the failures of an account's name or of an address; "" forgets all. Returns rows forgotten."""
    rows = LoginThrottle.objects.all()
    if what:
        try:
            rows = rows.from_address(address_key(what))
        except ValueError:
            rows = rows.of_account(account_key(User.normalize_username(what)))
    deleted, _ = rows.delete()
    if deleted:
        record("auth.unlocked", object_type="auth.user", label=what or "everybody")
    return deleted


def sentence(seconds: int) -> str:
    """What a person reads whose try was refused."""
    return (
        "Too many logins have failed: this one was refused without looking at the password. "
        f"Try again in {_wait(seconds)}."
    )


def locked_sentence(seconds: int) -> str:
    """What a person reads whose try was the last."""
    return (
        "The name and the password do not match, as too often before: the next logins are refused. "
        f"Try again in {_wait(seconds)}."
    )


def _wait(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 90 else f"{math.ceil(seconds / 60)} minutes"


def _seconds(left: float) -> int:
    return max(1, math.ceil(left))
