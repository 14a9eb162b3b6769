"""Whether the server and its extensions are out of date, as far as that is known without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.utils import timezone

from arcweb.database.findings import Finding
from arcweb.database.safety.rows import rows_of
from arcweb.database.safety.unknown import Unknown
from arcweb.database.standing import Standing, quoted, standing

#: The day of the last release of each major version, by https://www.postgresql.org/support/versioning/.
ENDS = {
    13: date(2025, 11, 13),
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}
SOURCE = "The dates are those of postgresql.org/support/versioning."
#: How long before its end a version is a reason to plan.
SOON = timedelta(days=180)
EXTENSIONS = """
    SELECT name, installed_version AS installed, default_version AS offered
    FROM pg_available_extensions WHERE installed_version IS NOT NULL ORDER BY name
"""


@dataclass(frozen=True)
class Extension:
    """`offered` is the version whose files are on the server."""

    name: str
    installed: str
    offered: str

    @property
    def old(self) -> bool:
        return self.installed != self.offered


@dataclass(frozen=True)
class Versions:
    server: str
    ends: date | None
    extensions: list[Extension]
    findings: list[Finding]


def versions() -> Versions:
    """One query, beside the server's standing."""
    server, extensions = standing(), rows_of(Extension, EXTENSIONS)
    findings = [*judge_server(server.major, server.version_text, timezone.now().date()), *judge(extensions)]
    findings.append(_minor(server))
    return Versions(server.version_text, ENDS.get(server.major), extensions, findings)


def judge_server(major: int, words: str, today: date) -> list[Finding]:
    """Whether that major version still gets fixes on that day."""
    ends = ENDS.get(major)
    if ends is None:
        if major < min(ENDS):
            return [Finding("bad", f"PostgreSQL {words} gets no fixes any more: upgrade it.", why=SOURCE)]
        return [
            Unknown(
                "unknown",
                f"Until when PostgreSQL {major} gets fixes is not known here.",
                why=SOURCE,
                thing=f"until when PostgreSQL {major} gets fixes",
            )
        ]
    if ends < today:
        return [
            Finding(
                "bad",
                f"PostgreSQL {words} has got no fixes since {ends:%Y-%m-%d}: upgrade it.",
                why=SOURCE,
            )
        ]
    if ends - today < SOON:
        left = (ends - today).days
        return [
            Finding(
                "warn",
                f"PostgreSQL {words} gets its last fixes on {ends:%Y-%m-%d}, in {left} days: plan for it.",
                why=SOURCE,
            )
        ]
    return []


def judge(extensions: Sequence[Extension]) -> list[Finding]:
    return [
        Finding(
            "warn",
            f"The extension {extension.name} is of version {extension.installed}; the server has the "
            f"files of {extension.offered}.",
            statement=f"ALTER EXTENSION {quoted(extension.name)} UPDATE;",
            why="By pg_available_extensions. Read the extension's notes first.",
        )
        for extension in extensions
        if extension.old
    ]


def _minor(server: Standing) -> Finding:
    """To know, and no lack of this role: no server tells it, whatever is granted."""
    return Finding(
        "idle",
        f"Whether {server.version_text} is the newest release of PostgreSQL {server.major} is not known "
        "here, without a network: compare it with postgresql.org/support/versioning.",
    )
