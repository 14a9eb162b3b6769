"""ALTER SYSTEM: written after an event, loaded, then looked at: whether it holds, and if not, what wins."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from psycopg import sql

from arcweb.database.tuning import reading
from arcweb.database.tuning.reading import Parameter
from arcweb.database.tuning.units import amount, base, words
from arcweb.events import record
from arcweb.events.sentences import describe
from arcweb.panels import State

describe("postgres.configured", "set {setting} of PostgreSQL from “{old}” to “{new}”")
describe("postgres.setting_reset", "reset {setting} of PostgreSQL, which was “{old}”")
describe("postgres.configure_refused", "failed to set {setting} of PostgreSQL to “{new}”")
describe("postgres.reloaded", "had PostgreSQL read its configuration files again")
describe("postgres.restart_asked", "had PostgreSQL restarted")

TURN = "SELECT pg_try_advisory_xact_lock(hashtextextended('arcweb.database.setting.' || %s, 0))"
#: Seconds that a reload may take to reach a session.
LOADED_WITHIN = 3.0


class SettingError(Exception):
    """It was not changed; the message is a sentence."""


class ConflictError(SettingError):
    """Somebody else changed it meanwhile."""


@dataclass(frozen=True)
class Effect:
    """What came of it, in a sentence that hides nothing."""

    state: State
    sentence: str


def trouble(one: Parameter, text: str) -> str:
    """Why PostgreSQL would not take that value, in a sentence; "" when it should."""
    if one.vartype == "bool":
        return "" if text in ("on", "off") else f"{one.name} is on or off."
    if one.vartype == "enum":
        return "" if text in one.choices else f"{one.name} is one of {', '.join(one.choices)}."
    if one.vartype == "string":
        return ""
    value = amount(text, one.unit)
    if value is None:
        example = f", such as {one.words}" if one.value else ""
        unit = " with a unit" if one.unit else ""
        return f"{one.name} takes a number{unit}{example}; units are spelled as there."
    low, high = (base(bound or "", one.unit) for bound in (one.min_val, one.max_val))
    if one.vartype == "integer" and not one.unit and value != int(value):
        return f"{one.name} takes a whole number."
    if (low is not None and value < low) or (high is not None and value > high):
        lowest = "" if low is None else words(low, one.unit)
        return f"{one.name} lies between {lowest} and {'' if high is None else words(high, one.unit)}."
    return ""


def change(one: Parameter, *, value: str | None, seen: str, written: str, reload: bool) -> Effect:
    """ALTER SYSTEM SET, or RESET for None, if it still is what the person saw. The event is written first.

    seen: `Parameter.words` as the form showed it; written: `reading.written` at that time.
    Raises ConflictError, SettingError, and django.db.Error when the server goes away.
    """
    with _turn(one.name) as turn:
        now = _read(turn, one.name)
        if now is None or now.words != seen:
            other = "" if now is None else now.words
            raise ConflictError(
                f"{one.name} was changed meanwhile, from “{seen}” to “{other}”. Look at it again."
            )
        if (by_now := reading.written(one.name)) != written:
            raise ConflictError(
                f"{one.name} was changed meanwhile: “{by_now}” is written in the files and not loaded yet. "
                "Look at it again."
            )
        return _change(now, value, reload)


def _change(one: Parameter, value: str | None, reload: bool) -> Effect:
    facts = {"setting": one.name, "old": one.words, "new": value}
    subject = {"object_type": "postgres.setting", "object_id": one.name}
    kind = "postgres.setting_reset" if value is None else "postgres.configured"
    record(kind, data=facts, label=one.name, **subject)  # type: ignore[arg-type]
    statement = sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(one.name))
    if value is not None:
        statement = sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(one.name), sql.Literal(value))
    with _own() as own:
        try:
            with own.cursor() as cursor:
                cursor.execute(statement)
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", None) is None:
                raise
            words_of = str(error).strip().splitlines()[0]
            record("postgres.configure_refused", data=facts, label=one.name, note=words_of, **subject)  # type: ignore[arg-type]
            raise SettingError(f"The server refused it, and nothing changed: {words_of}.") from error
        if not reload:
            return Effect("warn", f"{one.name} is written to {reading.AUTO}; it is not loaded yet.")
        if not _load(own):
            return Effect(
                "warn",
                f"{one.name} is written to {reading.AUTO}; the server was told to load it and has not yet.",
            )
    with _own() as own:  # a session of its own: what a new client would see
        after = _read(own, one.name)
        error_of = _file_error(own, one.name)
    return effect(after, value, error_of)


def reload() -> None:
    """Have the server read its files again. Raises SettingError when this role may not."""
    if not reading.may_reload():
        raise SettingError(
            "This role may not have the files read again. A superuser allows it with "
            "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO the role, or does it: SELECT pg_reload_conf();"
        )
    record("postgres.reloaded", object_type="postgres.server")
    with _own() as own:
        if not _load(own):
            raise SettingError(
                "The server was told to, but has not read its files within 3 s: its log says why."
            )


def effect(after: Parameter | None, value: str | None, error: str = "") -> Effect:
    """What a new session sees after the change (value None: the RESET), judged. Pure."""
    if after is None:
        return Effect("unknown", "The server no longer knows that setting.")
    if error:
        return Effect("bad", f"{after.name} is written, but the server does not take it: {error}.")
    # The flag stays up when a value that never held is taken back.
    if after.pending and (value is not None or after.source == "configuration file"):
        return Effect(
            "warn",
            f"{after.name} is written and waits for a restart of PostgreSQL; until then it is {after.words}.",
        )
    if value is None:
        if after.altered:
            return Effect("bad", f"{after.name} still comes from ALTER SYSTEM: {after.words}.")
        return Effect("good", f"{after.name} is {after.words} again, from: {after.where or 'its default'}.")
    if after.override:
        return Effect("bad", f"{after.name} is written, but {after.override}: it is {after.words}.")
    if not after.is_already(value) or (not after.altered and after.source not in ("session", "client")):
        from_where = f", from {after.where}" if after.where else ""
        return Effect("bad", f"{after.name} is written, but a new session has {after.words}{from_where}.")
    return Effect("good", f"{after.name} is {after.words} now, for every new session and statement.")


def risk(one: Parameter, value: float | None, ram: int | None) -> str:
    """What to mind before that value is set; "" for nothing. `value` as `units.base` gives it."""
    if value is None:
        return ""
    if ram is not None and one.name == "shared_buffers" and value > 0.8 * ram:
        return "That is more than 80 % of the machine's memory: PostgreSQL may not start again."
    if one.name == "max_connections" and one.number is not None and value < one.number:
        return "Replicas that have more stop replaying until they have as many or fewer."
    if one.name in ("statement_timeout", "lock_timeout") and value > 0:
        return "It holds for every session: backups, migrations and index builds are stopped by it too."
    if one.name == "idle_in_transaction_session_timeout" and value == 0:
        return "A forgotten transaction then holds its locks, and VACUUM back, for ever."
    return ""


@contextmanager
def _turn(name: str) -> Iterator[Any]:
    """One change of a setting at a time, whoever asks: what was read is still so when it is written.

    The lock stands in a transaction of its own: ALTER SYSTEM runs in none, and a pooler keeps nothing beyond
    one. Raises ConflictError instead of waiting.
    """
    with _own() as turn:
        turn.set_autocommit(False)
        try:
            with turn.cursor() as cursor:
                cursor.execute(TURN, [name])
                if not cursor.fetchone()[0]:
                    raise ConflictError(f"Somebody else changes {name} just now. Look at it again.")
            yield turn
        finally:
            turn.rollback()


@contextmanager
def _own() -> Iterator[Any]:
    """A session of its own in autocommit: ALTER SYSTEM runs in no transaction."""
    own: Any = connections[DEFAULT_DB_ALIAS].copy()
    try:
        yield own
    finally:
        own.close()


def _load(own: Any) -> bool:
    """Whether the reload reached a session within LOADED_WITHIN seconds; without the right to, False."""
    with own.cursor() as cursor:
        cursor.execute(reading.MAY_RELOAD)
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT pg_conf_load_time()")
        (before,) = cursor.fetchone()
        cursor.execute("SELECT pg_reload_conf()")
        end = time.monotonic() + LOADED_WITHIN
        while time.monotonic() < end:
            cursor.execute("SELECT pg_conf_load_time() > %s", [before])
            if cursor.fetchone()[0]:
                return True
            time.sleep(0.05)
    return False


def _read(own: Any, name: str) -> Parameter | None:
    with own.cursor() as cursor:
        cursor.execute(reading.READ, [[name]])
        row = cursor.fetchone()
        names = [column.name for column in cursor.description]
    return Parameter(**dict(zip(names, row, strict=True))) if row else None


def _file_error(own: Any, name: str) -> str:
    with own.cursor() as cursor:
        cursor.execute(reading.MAY_SEE_FILES)
        if not cursor.fetchone()[0]:
            return ""
        cursor.execute(f"SELECT error FROM ({reading.FILE_ERRORS}) AS faults WHERE name = %s", [name])  # noqa: S608
        row = cursor.fetchone()
        return str(row[0]) if row else ""
