"""What other roles may do in the database: as in live now. Other services have grants that no copy knows.

Settings of the database itself (ALTER DATABASE … SET) and its own grants go along.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from arcweb.backups.restore.carry.copying import Both

#: Grants to others than the owner of the thing. A column's grants are part of its table's life and rare:
#: they are read apart.
GRANTS = """
    SELECT found.kind, found.name, found.col, coalesce(r.rolname, ''), found.privilege, found.again
    FROM (
    SELECT 'SCHEMA', ARRAY[n.nspname::text], '', a.grantee, a.privilege_type, a.is_grantable
    FROM pg_namespace AS n, aclexplode(n.nspacl) AS a
    WHERE a.grantee <> n.nspowner AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, ARRAY[n.nspname, c.relname]::text[], '',
           a.grantee, a.privilege_type, a.is_grantable
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace, aclexplode(c.relacl) AS a
    WHERE a.grantee <> c.relowner AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'TABLE', ARRAY[n.nspname, c.relname]::text[], t.attname,
           a.grantee, a.privilege_type, a.is_grantable
    FROM pg_attribute AS t JOIN pg_class AS c ON c.oid = t.attrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace, aclexplode(t.attacl) AS a
    WHERE a.grantee <> c.relowner AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ) AS found (kind, name, col, grantee, privilege, again)
    LEFT JOIN pg_roles AS r ON r.oid = found.grantee
    WHERE found.grantee = 0 OR r.oid IS NOT NULL
"""
DATABASE = """
    SELECT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable
    FROM pg_database AS d, aclexplode(d.datacl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
    WHERE d.datname = current_database() AND a.grantee <> d.datdba AND (a.grantee = 0 OR r.oid IS NOT NULL)
"""
SETTINGS = """
    SELECT split_part(pair, '=', 1), substr(pair, strpos(pair, '=') + 1)
    FROM pg_db_role_setting, unnest(setconfig) AS pair
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) AND setrole = 0
"""
CLOSED = "SELECT datacl IS NOT NULL FROM pg_database WHERE datname = current_database()"
EXISTS = {"SCHEMA": "to_regnamespace", "TABLE": "to_regclass", "SEQUENCE": "to_regclass"}


def carry(both: Both, taken_at: str) -> list[str]:
    known = both.new.execute(GRANTS).fetchall()
    given = sum(_grant(both.new, *row) for row in both.live.execute(GRANTS).fetchall() if row not in known)
    _database(both)
    refused = _settings(both)
    said = [f"{given} grant{'' if given == 1 else 's'} to other roles carried over."] if given else []
    if refused:
        said.append(
            f"These settings of the database could not be carried over, for lack of a right to set them: "
            f"{', '.join(refused)}."
        )
    return said


def _grant(
    new: psycopg.Connection[Any],
    kind: str,
    name: list[str],
    column: str,
    role: str,
    privilege: str,
    again: bool,
) -> bool:
    """Whether it was given: what the copy has not, or this role does not own, cannot be granted on."""
    there = new.execute(
        f"SELECT {EXISTS[kind]}(%s) IS NOT NULL", [sql.Identifier(*name).as_string()]
    ).fetchone()
    if there is None or not there[0]:
        return False
    what = sql.SQL(privilege)
    if column:
        what = sql.SQL("{} ({})").format(what, sql.Identifier(column))  # type: ignore[assignment]
    return _tried(
        new,
        sql.SQL("GRANT {} ON {} {} TO {}{}").format(
            what,
            sql.SQL(kind),
            sql.Identifier(*name),
            sql.Identifier(role) if role else sql.SQL("PUBLIC"),
            sql.SQL(" WITH GRANT OPTION" if again else ""),
        ),
    )


def _database(both: Both) -> None:
    """A new database is for its owner alone until it is live: then it is for whom live was."""
    name = sql.Identifier(both.new.info.dbname)
    row = both.live.execute(CLOSED).fetchone()
    if row is None or not row[0]:
        open_to_all(both.new)
        return
    for role, privilege, again in both.live.execute(DATABASE).fetchall():
        _tried(
            both.new,
            sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                sql.SQL(privilege),
                name,
                sql.Identifier(role) if role else sql.SQL("PUBLIC"),
                sql.SQL(" WITH GRANT OPTION" if again else ""),
            ),
        )


def open_to_all(new: psycopg.Connection[Any]) -> None:
    """What PostgreSQL gives everybody in a database whose rights nobody set."""
    new.execute(
        sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO PUBLIC").format(sql.Identifier(new.info.dbname))
    )


def _settings(both: Both) -> list[str]:
    """Names of those that this role may not set."""
    refused = []
    for name, value in both.live.execute(SETTINGS).fetchall():
        parts = sql.Identifier(*name.split("."))
        try:
            with both.new.transaction():
                before = both.new.execute("SELECT current_setting(%s, true)", [name]).fetchone()
                # As a list is stored (search_path), it is no literal that SET … TO takes.
                both.new.execute("SELECT set_config(%s, %s, true)", [name, value])
                both.new.execute(
                    sql.SQL("ALTER DATABASE {} SET {} FROM CURRENT").format(
                        sql.Identifier(both.new.info.dbname), parts
                    )
                )
                # What follows in this transaction is not to be cut off by live's statement_timeout.
                if before and before[0] is not None:
                    both.new.execute("SELECT set_config(%s, %s, true)", [name, before[0]])
        except psycopg.Error:
            refused.append(name)
    return refused


def _tried(new: psycopg.Connection[Any], statement: sql.Composed) -> bool:
    try:
        with new.transaction():
            new.execute(statement)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject):
        return False
    return True
