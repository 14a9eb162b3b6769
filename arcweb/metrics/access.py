"""Who may read the metrics: whoever sends the token, or asks from one of the addresses. No session."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare

from arcweb.events.actors import request_origin

OFF = "Metrics are off. Set ARC_METRICS_TOKEN, or ARC_METRICS_ADDRESSES, and start the web process again.\n"
NO_TOKEN = "Send the token of ARC_METRICS_TOKEN: Authorization: Bearer …\n"  # noqa: S105 - says where it is
NOT_FROM_HERE = "Metrics are not given to this address: ARC_METRICS_ADDRESSES lists those that may ask.\n"


def refusal(meta: Mapping[str, Any]) -> tuple[int, str] | None:
    """Status and sentence for a request with that META, or None when it may read. With both a token and
    addresses set, both must hold."""
    token, networks = settings.ARC_METRICS_TOKEN, settings.ARC_METRICS_ADDRESSES
    if not token and not networks:
        return 404, OFF
    if networks and not _inside(meta, networks):
        return 403, NOT_FROM_HERE
    if token and not _bears(str(meta.get("HTTP_AUTHORIZATION", "")), token):
        return 401, NO_TOKEN
    return None


def _bears(header: str, token: str) -> bool:
    scheme, _, sent = header.partition(" ")
    # Compared whatever the scheme is: the time says nothing.
    return constant_time_compare(sent.strip(), token) and scheme.lower() == "bearer"


def _inside(meta: Mapping[str, Any], networks: list[Any]) -> bool:
    text = request_origin(meta, behind_proxy=settings.ARC_BEHIND_PROXY).address
    if text is None:
        return False
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
