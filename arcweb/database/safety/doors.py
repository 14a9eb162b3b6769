"""The lines of pg_hba.conf: who is let in, and what is asked of whom."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from arcweb.database.findings import Finding
from arcweb.database.safety.rows import rows_of
from arcweb.database.safety.unknown import Unknown
from arcweb.database.standing import quoted, standing

MAY_SEE = """
    SELECT has_table_privilege('pg_hba_file_rules', 'SELECT')
        AND has_function_privilege('pg_hba_file_rules()', 'EXECUTE') AS lines
"""
LINES = """
    SELECT line_number AS number, coalesce(type, '') AS type, coalesce(array_to_string(database, ','), '')
               AS database, coalesce(array_to_string(user_name, ','), '') AS role,
           coalesce(address, '') AS address, coalesce(netmask, '') AS netmask,
           coalesce(auth_method, '') AS method, coalesce(error, '') AS error
    FROM pg_hba_file_rules
    WHERE auth_method IN ('trust', 'password', 'md5') OR error IS NOT NULL
    ORDER BY line_number LIMIT 100
"""
#: What a superuser types where the application's role may not look.
TYPE_LINES = (
    "SELECT line_number, type, database, user_name, address, netmask, auth_method, error FROM "
    "pg_hba_file_rules "
    "WHERE auth_method IN ('trust', 'password', 'md5') OR error IS NOT NULL;"
)


@dataclass(frozen=True)
class Seen:
    lines: bool


@dataclass(frozen=True)
class Line:
    """A line of pg_hba.conf that asks for too little, or that PostgreSQL cannot read."""

    number: int
    type: str
    database: str
    role: str
    address: str
    netmask: str
    method: str
    error: str

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
        """Whom it lets in; None for a name, or a word such as samehost."""
        try:
            bits = int(ipaddress.ip_address(self.netmask)).bit_count() if self.netmask else None
            where = self.address if bits is None else f"{self.address}/{bits}"
            return ipaddress.ip_network(where, strict=False)
        except ValueError:
            return None

    @property
    def local(self) -> bool:
        """Only from this machine."""
        if self.type == "local" or self.address in ("samehost", "localhost"):
            return True
        return self.network is not None and self.network.is_loopback

    @property
    def shown(self) -> str:
        where = self.address if self.network is None else str(self.network)
        return " ".join(part for part in (self.type, self.database, self.role, where, self.method) if part)


def doors() -> list[Finding]:
    """Lines that ask for too little or cannot be read, or that they may not be seen: at most two queries."""
    seen = rows_of(Seen, MAY_SEE)[0]
    return judge(rows_of(Line, LINES)) if seen.lines else [_unseen()]


def judge(found: list[Line]) -> list[Finding]:
    findings = []
    for line in found:
        where = f"Line {line.number} of pg_hba.conf"
        if line.error:
            findings.append(
                Finding(
                    "bad",
                    f"{where} cannot be read ({line.error}): the next reload is refused, and the next start "
                    "fails.",
                )
            )
        elif line.method == "trust":
            findings.append(
                Finding(
                    "warn" if line.local else "bad",
                    f"{where} lets {_who(line.role)} in without a password"
                    f"{', from this machine' if line.local else ''} ({line.shown}): write scram-sha-256 in "
                    "place of trust.",
                    statement="SELECT pg_reload_conf();",
                )
            )
        elif line.method == "password" and not line.local:
            findings.append(
                Finding(
                    "bad",
                    f"{where} has passwords sent in clear ({line.shown}): write scram-sha-256 in place of "
                    "password.",
                    statement="SELECT pg_reload_conf();",
                )
            )
        elif line.method == "md5":
            findings.append(
                Finding(
                    "warn",
                    f"{where} still accepts MD5 ({line.shown}): write scram-sha-256 in place of md5, once "
                    "every password is kept so.",
                    statement="SELECT pg_reload_conf();",
                )
            )
    return findings


def _unseen() -> Finding:
    role = quoted(standing().role)
    return Unknown(
        "unknown",
        f"Whether pg_hba.conf lets anybody in without a password is not known: {standing().role} may not "
        "read its lines. A superuser sees them with",
        statement=TYPE_LINES,
        why=f"GRANT SELECT ON pg_hba_file_rules TO {role}; GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO "
        f"{role}; shows them here.",
        thing="the lines of pg_hba.conf",
    )


def _who(role: str) -> str:
    return "every role" if role == "all" else f"the role {role}"
