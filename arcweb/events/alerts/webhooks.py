"""POSTs one message to one address, and to nowhere else: an address that leads inside is refused.

A name is resolved once, every address that it has is checked, and the connection goes to the first of them:
a name that changes its mind between the check and the connection gains nothing. No redirect is followed, no
proxy is used, what the receiver says is not read, and all of it ends within DEADLINE seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx2

from arcweb.events.alerts.undelivered import Undelivered

#: Seconds for all of it: the name, the connection, TLS, the request and the receiver's status.
DEADLINE = 5.0
#: IPv6 networks whose addresses hold one of IPv4, and where: the bits to shift it to the right.
HOLDERS = (
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
    (ipaddress.IPv6Network("::/96"), 0),  # IPv4-compatible, RFC 4291
)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def post(
    address: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    inside: Collection[str],
    deadline: float = DEADLINE,
) -> None:
    """Send it; the receiver answered with a status of success when this returns.

    inside: hosts that may be private or loopback, and need no TLS. Raises Undelivered with a sentence that
    holds neither the address's path or query nor what the receiver said.
    """
    ends = time.monotonic() + deadline
    scheme, host, port = taken_apart(address, inside)
    target = resolve(host, port, inside, deadline)
    left = ends - time.monotonic()
    try:
        with ThreadPoolExecutor(1) as own:  # whatever loop the caller's thread runs
            posting = asyncio.wait_for(_post(address, target, host, body, headers), max(left, 0.01))
            status = own.submit(asyncio.run, posting).result()
    except TimeoutError:
        raise Undelivered(
            f"The receiver did not answer within {deadline:g} s; it may or may not have got it."
        ) from None
    except httpx2.HTTPError as error:
        # Without its words, which may hold the address.
        raise Undelivered(_why(error, scheme)) from None
    if 300 <= status < 400:
        raise Undelivered(f"The receiver redirects (status {status}), which is not followed.")
    if not 200 <= status < 300:
        raise Undelivered(f"The receiver answered with status {status}.")


def taken_apart(address: str, inside: Collection[str]) -> tuple[str, str, int]:
    """Scheme, host and port. Raises Undelivered for what is no fit address."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Undelivered("The address cannot be read; it must look like https://host/path.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise Undelivered("The address must begin with https:// and name a host.")
    if parts.scheme == "http" and not _is_inside(host, inside):
        raise Undelivered(
            "The address is not https, so that anybody on the way could read it. Where that is meant, "
            "name its host in ARC_ALERT_WEBHOOK_INSIDE."
        )
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)


def resolve(host: str, port: int, inside: Collection[str], seconds: float) -> str:
    """The one address to connect to. Raises Undelivered when there is none, or one that leads inside."""
    found: queue.Queue[list[str] | OSError | UnicodeError] = queue.Queue(1)

    def ask() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put([str(row[4][0]) for row in rows])
        except (OSError, UnicodeError) as error:
            found.put(error)

    # A thread of its own, since nothing stops the resolver of the system once it asks.
    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = found.get(timeout=seconds)
    except queue.Empty:
        raise Undelivered(f"The name of its host was not resolved within {seconds:g} s.") from None
    if isinstance(answer, (OSError, UnicodeError)) or not answer:
        raise Undelivered("The name of its host cannot be resolved.")
    if not _is_inside(host, inside) and not all(is_public(text) for text in answer):
        raise Undelivered(
            "Its host leads inside (a private, loopback or link-local address), which is refused. Where "
            "that is meant, name it in ARC_ALERT_WEBHOOK_INSIDE."
        )
    return answer[0]


def is_public(text: str) -> bool:
    """Whether an IP address is one of the internet at large, also where it holds another in itself."""
    address: IPAddress = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if held := _held(address):
            return is_public(str(held))
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def signature(secret: str, body: bytes, moment: int) -> str:
    """The value of Arc-Signature: HMAC-SHA256 over "<seconds since 1970>.<body>", in hexadecimal."""
    signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256)
    return f"t={moment},v1={signed.hexdigest()}"


def _held(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.teredo:
        return address.teredo[1]
    for network, shift in HOLDERS:
        if address in network:
            return ipaddress.IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
    return None


def _is_inside(host: str, inside: Collection[str]) -> bool:
    return host.lower() in {name.strip("[]").lower() for name in inside}


async def _post(address: str, target: str, host: str, body: bytes, headers: Mapping[str, str]) -> int:
    url = httpx2.URL(address)
    pinned = url.copy_with(host=target)
    shown = url.netloc.decode("ascii")
    async with (
        httpx2.AsyncClient(
            verify=httpx2.create_ssl_context(), trust_env=False, follow_redirects=False, timeout=None
        ) as client,
        client.stream(
            "POST",
            pinned,
            content=body,
            headers={**headers, "Host": shown},
            extensions={"sni_hostname": host},
        ) as response,
    ):
        return int(response.status_code)


def _why(error: httpx2.HTTPError, scheme: str) -> str:
    if isinstance(error, httpx2.ConnectError):
        what = "or its certificate is not valid" if scheme == "https" else "there"
        return f"The receiver cannot be reached: nothing listens, {what}."
    return f"The receiver broke off ({type(error).__name__})."
