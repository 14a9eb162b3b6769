"""Who acts: a person in a request, this system in a job or command, or another service."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal

ActorKind = Literal["user", "system", "service"]
LONGEST_USER_AGENT = 300  # characters; a header may have thousands


@dataclass(frozen=True)
class Actor:
    """`id` is a fact and stays; name, address and user agent are kept where they can be erased."""

    kind: ActorKind = "system"
    id: str = ""
    name: str = ""
    address: str | None = None
    user_agent: str = ""

    @classmethod
    def of_user(cls, user: Any, origin: Actor | None = None) -> Actor:
        """The actor for a user (or None, or AnonymousUser: a person nobody knows), seen at `origin`."""
        base = origin or cls()
        if user is None or not user.is_authenticated:
            return replace(base, kind="user", id="", name="")
        return replace(base, kind="user", id=str(user.pk), name=user.get_username())


SYSTEM = Actor("system", "arcweb", "ARC Web")
#: A callable puts off reading request.user, so that a request that records nothing queries nothing.
_acting: ContextVar[Actor | Callable[[], Actor]] = ContextVar("acting", default=SYSTEM)


def current_actor() -> Actor:
    """Whoever acts in this thread now; the system itself where nobody was named."""
    acting = _acting.get()
    return acting() if callable(acting) else acting


@contextmanager
def acting_as(actor: Actor | Callable[[], Actor]) -> Iterator[None]:
    """Within the block, what is recorded is recorded as done by `actor`."""
    token = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(token)


def request_origin(meta: Mapping[str, Any], *, behind_proxy: bool) -> Actor:
    """Address and user agent out of a request's META.

    X-Forwarded-For is anybody's to send, so it counts only behind a proxy, and then only its last
    entry: the one that the proxy itself appended.
    """
    address = str(meta.get("REMOTE_ADDR", ""))
    if behind_proxy:
        address = str(meta.get("HTTP_X_FORWARDED_FOR", "")).rpartition(",")[2].strip() or address
    return Actor(
        "user",
        address=_address(address),
        user_agent=str(meta.get("HTTP_USER_AGENT", ""))[:LONGEST_USER_AGENT],
    )


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))  # PostgreSQL's inet knows no zone
    except ValueError:
        return None
