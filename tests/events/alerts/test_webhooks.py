"""Where a webhook may lead, and how long it may take."""

from __future__ import annotations

import hashlib
import hmac
import socket
import threading
import time
from typing import Any

import pytest

from arcweb.events.alerts import webhooks
from arcweb.events.alerts.channels import masked
from arcweb.events.alerts.undelivered import Undelivered
from tests.events.alerts.receivers import hang, receiver, redirect_to, reply

HERE = ["127.0.0.1"]


def refused(address: str, inside: list[str] | None = None, deadline: float = 60.0) -> str:
    with pytest.raises(Undelivered) as told:
        webhooks.post(address, b"{}", {}, inside=inside or [], deadline=deadline)
    assert "s3cr3t" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "169.254.169.254",
        "10.0.0.8",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "localhost",
    ],
)
def test_what_leads_inside_is_refused(host: str) -> None:
    assert "leads inside" in refused(f"https://{host}/s3cr3t") or "resolved" in refused(f"https://{host}/")


def test_a_name_that_resolves_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(0, 0, 0, "", ("93.184.216.34", 443)), (0, 0, 0, "", ("10.1.2.3", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: rows)
    assert "leads inside" in refused("https://hooks.example.org/")


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800:220:1::", "64:ff9b::5db8:d822", "1.1.1.1"])
def test_the_internet_at_large_is_public(text: str) -> None:
    assert webhooks.is_public(text)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://example.org/", "not https"),
        ("ftp://example.org/", "must begin with https"),
        ("file:///etc/passwd", "must begin with https"),
        ("https:///nothing", "must begin with https"),
        ("https://[::1/", "cannot be read"),
        ("https://example.org:99999/", "cannot be read"),
        ("https://no-such-host.invalid/", "cannot be resolved"),
    ],
)
def test_an_address_that_is_no_fit_one(address: str, told: str) -> None:
    assert told in refused(address)


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers differently the second time gains nothing: there is no second time."""
    with receiver() as got:
        real, asked = socket.getaddrinfo, []

        def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host != "rebind.example":
                return real(host, port, *args, **kwargs)
            asked.append(host)
            return real("127.0.0.1" if len(asked) == 1 else "169.254.169.254", port, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        webhooks.post(f"http://rebind.example:{got.port}/x", b"{}", {}, inside=["rebind.example"])
        assert len(asked) == 1
        assert got.headers[0]["Host"] == f"rebind.example:{got.port}"


def test_one_that_hangs_is_given_up_in_time() -> None:
    with receiver() as got:
        got.behave = hang
        began = time.monotonic()
        assert "did not answer within 0.5 s" in refused(got.url, HERE, 0.5)
        assert time.monotonic() - began < 40  # it hangs for ever


def test_one_that_takes_no_connection_is_given_up_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = []
        for _ in range(4):  # fills its queue: further ones hang in connect
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(full.getsockname())
            others.append(other)
        began = time.monotonic()
        refused(f"http://127.0.0.1:{full.getsockname()[1]}/", HERE, 0.5)
        assert time.monotonic() - began < 40  # the kernel tries for minutes
        for other in others:
            other.close()


def test_a_resolver_that_hangs_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hung, over = [], threading.Event()

    def hanging(*_: Any, **__: Any) -> Any:
        hung.append(threading.current_thread())
        over.wait(20)
        raise socket.gaierror("it took too long")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    try:
        assert "was not resolved within 0.3 s" in refused("https://slow.example/", deadline=0.3)
        assert not over.is_set()
    finally:
        over.set()  # its thread ends with this test, not in the middle of another
        for thread in hung:
            thread.join()


def test_a_redirect_is_not_followed() -> None:
    with receiver() as got, receiver() as other:
        got.behave = redirect_to(f"http://127.0.0.1:{other.port}/latest/meta-data/")
        assert "redirects (status 302), which is not followed" in refused(got.url, HERE)
        assert other.got == []


def test_what_the_receiver_says_is_never_shown() -> None:
    with receiver() as got:
        got.behave = lambda handler: reply(handler, 500)
        told = refused(got.url, HERE)
        assert "status 500" in told
        assert "LEAKED" not in told


def test_nobody_listens() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    assert "cannot be reached" in refused(f"http://127.0.0.1:{port}/s3cr3t", HERE)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as got:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        webhooks.post(got.url, b"{}", {}, inside=HERE)
        assert got.got == [{}]


def test_the_signature_can_be_checked() -> None:
    expected = hmac.new(b"key", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert webhooks.signature("key", b'{"a":1}', 1_700_000_000) == f"t=1700000000,v1={expected}"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://hooks.example.org/services/T0/B0/s3cr3t", "https://hooks.example.org/…"),
        ("https://user:s3cr3t@example.org:8443/?token=s3cr3t", "https://example.org:8443/…"),
        ("https://[2606::1]/#s3cr3t", "https://[2606::1]/…"),
        ("https://example.org", "https://example.org/"),
        ("https://[s3cr3t", "with an address that cannot be read"),
    ],
)
def test_secrets_of_an_address_are_masked(address: str, shown: str) -> None:
    assert masked(address) == shown
