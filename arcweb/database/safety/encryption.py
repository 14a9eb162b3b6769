"""Whether what goes over the network is encrypted: this connection, those of others, and what is offered."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from arcweb.database.findings import Finding
from arcweb.database.safety.rows import rows_of
from arcweb.database.safety.unknown import Unknown
from arcweb.database.standing import standing

CONNECTIONS = """
    SELECT coalesce(usename, '') AS role, host(client_addr) AS address, coalesce(ssl.ssl, false) AS ssl,
           coalesce(ssl.version, '') AS version, count(*)::int AS count,
           bool_or(pid = pg_backend_pid()) AS own
    FROM pg_stat_activity
    JOIN pg_stat_ssl AS ssl USING (pid)
    WHERE backend_type IN ('client backend', 'walsender')
    GROUP BY 1, 2, 3, 4
    ORDER BY own DESC, count DESC
    LIMIT 200
"""
OFFERED = """
    SELECT current_setting('ssl') = 'on' AS ssl, current_setting('listen_addresses') AS listens,
           current_setting('ssl_min_protocol_version') AS oldest
"""
WEAK = ("TLSv1", "TLSv1.1")
LOCAL_NAMES = ("", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Group:
    """Connections of one role from one address. address: None by the socket (or not to be seen)."""

    role: str
    address: str | None
    ssl: bool
    version: str
    count: int
    own: bool

    @property
    def local(self) -> bool:
        """Never leaves the machine."""
        return self.address is None or ipaddress.ip_address(self.address).is_loopback

    @property
    def state(self) -> str:
        return "good" if self.ssl or self.local else "bad" if self.own else "warn"

    @property
    def word(self) -> str:
        if self.ssl:
            return self.version or "SSL"
        return "Socket" if self.address is None else "Loopback" if self.local else "In clear"


@dataclass(frozen=True)
class Offered:
    """listens: listen_addresses; oldest: the oldest TLS that is accepted."""

    ssl: bool
    listens: str
    oldest: str

    @property
    def network(self) -> bool:
        return any(name.strip() not in LOCAL_NAMES for name in self.listens.split(","))


@dataclass(frozen=True)
class Encryption:
    groups: list[Group]
    offered: Offered
    findings: list[Finding]


def encryption() -> Encryption:
    """Two queries. What others' connections are is unknown without pg_monitor, and said so."""
    groups, offered = rows_of(Group, CONNECTIONS), rows_of(Offered, OFFERED)[0]
    why_not = standing().why_not("activity")
    findings = judge(groups, offered)
    if why_not:
        findings.append(
            Unknown(
                "unknown",
                f"Whether others connect without SSL is not known. {why_not}",
                thing="whether others connect without SSL",
            )
        )
        groups = [group for group in groups if group.own]
    return Encryption(groups, offered, findings)


def judge(groups: Sequence[Group], offered: Offered) -> list[Finding]:
    found = []
    for group in groups:
        if group.state == "good":
            continue
        many = "1 connection" if group.count == 1 else f"{group.count} connections"
        if group.own:
            found.append(
                Finding(
                    "bad",
                    "The connection of ARC Web itself crosses the network in clear, hashes of passwords and "
                    "contents of memories with it: set POSTGRES_SSLMODE=verify-full or require, and restart.",
                )
            )
        else:
            found.append(
                Finding(
                    "warn",
                    f"{many} of the role {group.role} from {group.address} {_cross(group.count)} the network "
                    "in clear: in pg_hba.conf, hostssl in place of host lets nobody in without SSL.",
                    statement="SELECT pg_reload_conf();",
                    why="Shown by pg_stat_ssl; the socket and loopback never leave the machine.",
                )
            )
    if offered.network and not offered.ssl:
        found.append(
            Finding(
                "warn",
                f"The server listens on the network (listen_addresses = '{offered.listens}') and offers no "
                "SSL. With server.crt and server.key in its data folder:",
                statement="ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf();",
            )
        )
    if offered.ssl and offered.oldest in ("", *WEAK):
        found.append(
            Finding(
                "warn",
                f"TLS as old as {offered.oldest or '1.0'} is accepted.",
                statement="ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.2'; SELECT pg_reload_conf();",
                why="TLS 1.0 and 1.1 are deprecated (RFC 8996); PostgreSQL's default is TLSv1.2.",
            )
        )
    return found


def _cross(count: int) -> str:
    return "crosses" if count == 1 else "cross"
