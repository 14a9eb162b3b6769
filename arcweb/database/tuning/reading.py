"""The settings as the server has them, each with where it comes from and who may change it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from django.db import connection

from arcweb.database.standing import quoted, standing
from arcweb.database.storage.tables import rows
from arcweb.database.tuning.catalogue import SETTINGS, Setting
from arcweb.database.tuning.rules import Advice, Load, Machine, Worst, worst_case
from arcweb.database.tuning.units import amount, base, words

# Not `setting`, which this transaction's own time limits change: what RESET would give back.
READ = """
    SELECT name, coalesce(reset_val, setting) AS value, coalesce(unit, '') AS unit, context, vartype,
           coalesce(enumvals, '{}') AS choices, min_val, max_val, source, sourcefile, sourceline,
           coalesce(pending_restart, false) AS pending,
           has_parameter_privilege(name, 'ALTER SYSTEM') AS may
    FROM pg_settings
    WHERE name = ANY (%s)
"""
PENDING = "SELECT name FROM pg_settings WHERE pending_restart ORDER BY name"
MAY_SEE_FILES = """
    SELECT has_table_privilege('pg_file_settings', 'SELECT')
        AND has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')
"""
# A value that waits for a restart "could not be applied" too, and is no fault.
FILE_ERRORS = """
    SELECT coalesce(name, '') AS name, sourcefile, sourceline, error
    FROM pg_file_settings AS line
    WHERE error IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_settings WHERE pg_settings.name = line.name AND pending_restart
    )
    ORDER BY sourcefile, sourceline
"""
#: The last line for a name is the one that will hold.
WAITS = """
    SELECT DISTINCT ON (name) name, setting FROM pg_file_settings
    WHERE name = ANY (%s) ORDER BY name, seqno DESC
"""
MAY_RELOAD = "SELECT has_function_privilege('pg_reload_conf()', 'EXECUTE')"
AUTO = "postgresql.auto.conf"
OVERRIDES = {
    "command line": "the server's command line sets it, and wins over every file",
    "environment variable": "an environment variable of the server sets it, and wins over every file",
    "database": "ALTER DATABASE … SET gives this database another value, which wins",
    "user": "ALTER ROLE … SET gives the application's role another value, which wins",
    "database user": "ALTER ROLE … IN DATABASE … SET gives the application another value, which wins",
}


@dataclass(frozen=True)
class Parameter:
    """One row of pg_settings; `value` as its text, in `unit`."""

    name: str
    value: str
    unit: str
    context: str
    vartype: str
    choices: Sequence[str]
    min_val: str | None
    max_val: str | None
    source: str
    sourcefile: str | None
    sourceline: int | None
    pending: bool
    may: bool

    @property
    def number(self) -> float | None:
        """Bytes, milliseconds, a plain number; a boolean as 0 or 1; None for a word."""
        if self.vartype == "bool":
            return float(self.value == "on")
        return base(self.value, self.unit) if self.vartype in ("integer", "real") else None

    @property
    def words(self) -> str:
        return self.of(self.number) if self.number is not None else self.value

    def is_already(self, text: str) -> bool:
        """Whether that is its value."""
        if self.vartype in ("integer", "real"):
            return amount(text, self.unit) == self.number
        return text == self.value

    @property
    def needs_restart(self) -> bool:
        return self.context == "postmaster"

    @property
    def override(self) -> str:
        """What wins over ALTER SYSTEM; "" when nothing does."""
        return OVERRIDES.get(self.source, "")

    @property
    def altered(self) -> bool:
        return bool(self.sourcefile) and PurePath(self.sourcefile or "").name == AUTO

    @property
    def where(self) -> str:
        """Where the value comes from, in words."""
        if self.sourcefile:
            if self.altered:
                return "ALTER SYSTEM"
            return f"{PurePath(self.sourcefile).name}, line {self.sourceline}"
        return {"default": "default", "session": "", "override": "fixed by the server"}.get(
            self.source, self.source
        )

    def of(self, number: float) -> str:
        """A number as this setting writes it."""
        if self.vartype == "bool":
            return "on" if number else "off"
        return words(number, self.unit)


@dataclass(frozen=True)
class Line:
    """A setting, what it is and what it should be."""

    setting: Setting
    now: Parameter
    advice: Advice

    @property
    def recommended(self) -> str:
        return "" if self.advice.value is None else self.now.of(self.advice.value)

    @property
    def off(self) -> bool:
        return self.advice.value is not None and self.advice.fits is False

    @property
    def statement(self) -> str:
        return f"ALTER SYSTEM SET {self.setting.name} = '{self.recommended}';" if self.off else ""

    @property
    def why_not(self) -> str:
        """Why this role may not change it; "" when it may."""
        return why_not(self.now)


@dataclass(frozen=True)
class FileError:
    name: str
    sourcefile: str
    sourceline: int
    error: str


def parameters(names: Iterable[str]) -> dict[str, Parameter]:
    """Those of the names that this server has."""
    return {row["name"]: Parameter(**row) for row in rows(READ, [list(names)])}


def lines(found: dict[str, Parameter], machine: Machine, load: Load) -> list[Line]:
    """Those of the catalogue, in its order. Pure."""
    values = numbers(found)
    return [
        Line(setting, found[name], setting.rule(machine, load, values))
        for name, setting in SETTINGS.items()
        if name in found
    ]


def numbers(found: dict[str, Parameter]) -> dict[str, float]:
    return {name: one.number for name, one in found.items() if one.number is not None}


def worst(found: dict[str, Parameter], connections: float | None = None) -> Worst | None:
    """At worst, at so many connections or at max_connections; None when the server does not say."""
    values = numbers(found)
    if not {"shared_buffers", "work_mem", "maintenance_work_mem", "max_connections"} <= values.keys():
        return None
    return worst_case(values, values["max_connections"] if connections is None else connections)


def pending() -> dict[str, str]:
    """Settings, ours or not, whose new value waits for a restart, and that value; "" for one not known.

    PostgreSQL leaves the flag up when such a value is taken back before the restart and no file has another:
    where the files are to be seen, they tell.
    """
    flagged = [row["name"] for row in rows(PENDING)]
    if not flagged or why_no_files():
        return dict.fromkeys(flagged, "")
    files = {row["name"]: row["setting"] or "" for row in rows(WAITS, [flagged])}
    found = parameters(flagged)
    waiting = {}
    for name, one in found.items():
        if name not in files:
            if one.source == "configuration file":  # it falls back to its default
                waiting[name] = ""
        elif not one.is_already(files[name]):
            waiting[name] = files[name]
    return waiting


def why_no_files() -> str:
    """Why faults of the configuration files are unknown; "" when they are known."""
    with connection.cursor() as cursor:
        cursor.execute(MAY_SEE_FILES)
        if cursor.fetchone()[0]:
            return ""
    role = quoted(standing().role)
    return (
        "Whether the configuration files have faults is unknown. A superuser shows it with "
        f"GRANT SELECT ON pg_file_settings TO {role}; "
        f"GRANT EXECUTE ON FUNCTION pg_show_all_file_settings() TO {role};"
    )


def file_errors() -> list[FileError]:
    """Lines that the server does not take; ask `why_no_files` first."""
    return [FileError(**row) for row in rows(FILE_ERRORS)]


def written(name: str) -> str:
    """What the files have for that setting, loaded or not; "" for nothing, or when they may not be seen."""
    if why_no_files():
        return ""
    return next((row["setting"] or "" for row in rows(WAITS, [[name]])), "")


def may_reload() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(MAY_RELOAD)
        return bool(cursor.fetchone()[0])


def why_not(one: Parameter) -> str:
    if one.context == "internal":
        return f"{one.name} is fixed when the server is built."
    if one.may:
        return ""
    role = standing().role
    return (
        f"The role {role} may not change {one.name}. A superuser allows it with "
        f"GRANT ALTER SYSTEM ON PARAMETER {one.name} TO {quoted(role)};"
    )
