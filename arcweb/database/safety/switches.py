"""Settings that give up safety: of the data, or of what is told about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arcweb.database.findings import Finding
from arcweb.database.safety.rows import rows_of
from arcweb.panels import State


@dataclass(frozen=True)
class Switch:
    """safe: the values that are no reason for a finding. to: what the statement sets; "": no statement."""

    name: str
    safe: tuple[str, ...]
    state: State
    sentence: str
    to: str = ""
    why: str = ""


MANUAL = "PostgreSQL's manual, “Write Ahead Log”; on is the default."
SWITCHES = (
    Switch(
        "fsync",
        ("on",),
        "bad",
        "fsync is off: after a crash of the machine the whole cluster may be beyond repair.",
        "on",
        MANUAL,
    ),
    Switch(
        "full_page_writes",
        ("on",),
        "bad",
        "full_page_writes is off: a crash in the middle of a page leaves it corrupt, and nobody is told.",
        "on",
        MANUAL,
    ),
    Switch(
        "synchronous_commit",
        ("on", "local", "remote_write", "remote_apply"),
        "warn",
        "synchronous_commit is off: a crash loses the last transactions that were reported as done.",
        "on",
        MANUAL,
    ),
    Switch(
        "zero_damaged_pages",
        ("off",),
        "bad",
        "zero_damaged_pages is on: a damaged page is emptied as it is read, and its rows are gone.",
        "off",
        "It is for repairs, for as long as they last.",
    ),
    Switch(
        "ignore_checksum_failure",
        ("off",),
        "bad",
        "ignore_checksum_failure is on: pages that are known to be damaged are read as if they were not.",
        "off",
        "It is for repairs, for as long as they last.",
    ),
    Switch(
        "allow_system_table_mods",
        ("off",),
        "bad",
        "allow_system_table_mods is on: a slip can destroy the catalog.",
        "off",
    ),
    Switch(
        "data_checksums",
        ("on",),
        "warn",
        "Pages have no checksums: damage by a disk is not noticed. With the server stopped: pg_checksums "
        "--enable -D and its data folder.",
        why="On by default since PostgreSQL 18.",
    ),
    Switch(
        "log_statement",
        ("none", "ddl", "mod"),
        "warn",
        "log_statement is all: the server's log holds every statement, with the data and passwords in it.",
        "ddl",
    ),
    Switch(
        "log_connections",
        ("on", "true", "all", "receipt", "authentication", "authorization", "setup_durations"),
        "idle",
        "Logins are not logged (log_connections): who came in, and who tried to, cannot be told later.",
        "on",
    ),
)
ASK = """
    SELECT name, setting AS value, source, context FROM pg_settings WHERE name = ANY(%s) ORDER BY name
"""
RESTART = "postmaster"


@dataclass(frozen=True)
class Setting:
    """`context`: what a change needs; "postmaster" is a restart."""

    name: str
    value: str
    source: str
    context: str


@dataclass(frozen=True)
class Switches:
    settings: list[Setting]
    findings: list[Finding]


def switches() -> Switches:
    """One query. A setting that this version does not have is left out."""
    settings = rows_of(Setting, ASK, [[switch.name for switch in SWITCHES]])
    return Switches(settings, judge(settings))


def judge(settings: Sequence[Setting]) -> list[Finding]:
    known = {setting.name: setting for setting in settings}
    return [
        _finding(switch, known[switch.name])
        for switch in SWITCHES
        if switch.name in known and not _is_safe(switch, known[switch.name].value)
    ]


def _is_safe(switch: Switch, value: str) -> bool:
    """log_connections of PostgreSQL 18 is a list of what is logged."""
    return any(part.strip().lower() in switch.safe for part in value.split(","))


def _finding(switch: Switch, setting: Setting) -> Finding:
    statement = ""
    if switch.to:
        apply = "-- then restart the server" if setting.context == RESTART else "SELECT pg_reload_conf();"
        statement = f"ALTER SYSTEM SET {switch.name} = '{switch.to}'; {apply}"
    return Finding(switch.state, switch.sentence, statement=statement, why=switch.why)
