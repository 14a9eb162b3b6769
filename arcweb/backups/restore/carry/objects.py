"""What roles may do with the things inside of a database, and with those that will be made there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import sql

from arcweb.backups.restore.carry.copying import Both
from arcweb.backups.restore.carry.needs import Need, fixed, granting, named, rights, word

#: Every schema, table, column with grants, sequence, routine and type that is no extension's; whose it is,
#: and who else may do what. A thing without a list has PostgreSQL's own (acldefault): EXECUTE for all, say.
OBJECTS = """
    WITH found (kind, code, name, col, acl, owner) AS (
        SELECT 'SCHEMA', 'n', format('%I', n.nspname), '', n.nspacl, n.nspowner
        FROM pg_namespace AS n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        UNION ALL
        SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
               CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END,
               format('%I.%I', n.nspname, c.relname), '', c.relacl, c.relowner
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
          AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
          AND NOT EXISTS (SELECT FROM pg_depend AS d
                          WHERE (d.classid, d.objid, d.deptype) = ('pg_class'::regclass, c.oid, 'e'))
        UNION ALL
        SELECT 'TABLE', 'c', format('%I.%I', n.nspname, c.relname), t.attname, t.attacl, c.relowner
        FROM pg_attribute AS t JOIN pg_class AS c ON c.oid = t.attrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE t.attacl IS NOT NULL AND NOT t.attisdropped
          AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        UNION ALL
        SELECT 'ROUTINE', 'f', p.oid::regprocedure::text, '', p.proacl, p.proowner
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
          AND NOT EXISTS (SELECT FROM pg_depend AS d
                          WHERE (d.classid, d.objid, d.deptype) = ('pg_proc'::regclass, p.oid, 'e'))
        UNION ALL
        SELECT 'TYPE', 'T', format('%I.%I', n.nspname, t.typname), '', t.typacl, t.typowner
        FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
        WHERE t.typtype IN ('d', 'e', 'r') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
          AND NOT EXISTS (SELECT FROM pg_depend AS d
                          WHERE (d.classid, d.objid, d.deptype) = ('pg_type'::regclass, t.oid, 'e'))
    )
    SELECT kind, name, col, pg_get_userbyid(owner), coalesce((
        SELECT json_agg(json_build_array(coalesce(r.rolname, ''), a.privilege_type, a.is_grantable))
        FROM aclexplode(coalesce(acl, acldefault(code::"char", owner))) AS a
        LEFT JOIN pg_roles AS r ON r.oid = a.grantee
        WHERE a.grantee <> owner AND (a.grantee = 0 OR r.oid IS NOT NULL)), '[]')
    FROM found
"""
#: What those who make something give others by it. A schema's list comes to the general one.
DEFAULTS = """
    SELECT pg_get_userbyid(d.defaclrole), coalesce(n.nspname, ''), d.defaclobjtype::text, coalesce((
        SELECT json_agg(json_build_array(coalesce(r.rolname, ''), a.privilege_type, a.is_grantable))
        FROM aclexplode(d.defaclacl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
        WHERE a.grantee <> d.defaclrole AND (a.grantee = 0 OR r.oid IS NOT NULL)), '[]')
    FROM pg_default_acl AS d LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace
"""
STANDARD = """
    SELECT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable
    FROM pg_roles AS o CROSS JOIN LATERAL aclexplode(acldefault(%s::"char", o.oid)) AS a
    LEFT JOIN pg_roles AS r ON r.oid = a.grantee
    WHERE o.rolname = %s AND a.grantee <> o.oid
"""
COLUMN = """
    SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped
"""
OF_COLUMN = """
    SELECT 1 FROM pg_depend
    WHERE (classid, objid, refclassid) = ('pg_class'::regclass, to_regclass(%s), 'pg_class'::regclass)
      AND deptype IN ('a', 'i')
"""
#: pg_default_acl's letter → how ALTER DEFAULT PRIVILEGES calls it.
KINDS = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "ROUTINES",
    "T": "TYPES",
    "n": "SCHEMAS",
    "L": "LARGE OBJECTS",
}
Things = dict[tuple[str, str, str], tuple[str, dict[tuple[str, str], bool]]]


def needs(both: Both) -> Iterator[Need]:
    """Of everything that both have: what the new one lacks of live's rights, and gives beyond them."""
    live, new = _things(both.live), _things(both.new)
    for kind, name, column in new.keys() - live.keys():
        # Without any grant a column is in no list, unless it is none of live's at all.
        if column and (kind, name, "") in live and both.live.execute(COLUMN, [name, column]).fetchone():
            live[kind, name, column] = (live[kind, name, ""][0], {})
    owners = []
    mine_again: list[Need] = []
    for (kind, name, column), (owner, wanted) in sorted(live.items()):
        # A column that the copy grants nothing on is in no list of its own.
        mine, there = new.get((kind, name, column)) or (new.get((kind, name, ""), ("", {}))[0], {})
        if not mine or (column and not both.new.execute(COLUMN, [name, column]).fetchone()):
            continue  # the copy has no such thing
        words = f"the {kind.lower()} {name}" + (f" ({column})" if column else "")
        of = fixed("{} {}", word(kind), word(name))
        yield from granting(
            {who: again for who, again in wanted.items() if who[0] != mine},
            {who: again for who, again in there.items() if who[0] != owner},
            of,
            words,
            column=column,
            revokes=both.takes_back,
        )
        if mine != owner:
            # A column's own sequence goes with its table.
            if not column and (kind != "SEQUENCE" or not both.new.execute(OF_COLUMN, [name]).fetchone()):
                owners.append((kind, name, owner))
            # An owner needs none of them, and has none left once it is another's.
            ours = {who: again for who, again in wanted.items() if who[0] == mine}
            mine_again += granting(ours, {}, of, words, column=column, revokes=False)
    yield from _defaults(both)
    for kind, name, owner in owners:
        # Not tried: what the application may no longer read would be noticed by its pages first.
        statement = fixed("ALTER {} {} OWNER TO {}", word(kind), word(name), named(owner))
        yield Need(f"{owner} owns the {kind.lower()} {name}", statement, tried=False)
    yield from (replace(need, tried=False) for need in mine_again)


def _things(connection: psycopg.Connection[Any]) -> Things:
    return {
        (kind, name, column): (owner, rights(given))
        for kind, name, column, owner, given in connection.execute(OBJECTS).fetchall()
    }


def _defaults(both: Both) -> Iterator[Need]:
    live, new = (
        {(role, schema, kind): rights(given) for role, schema, kind, given in one.execute(DEFAULTS)}
        for one in (both.live, both.new)
    )
    schemas, others = (
        {name for (name,) in one.execute("SELECT nspname FROM pg_namespace")} for one in (both.live, both.new)
    )
    for role, schema, kind in sorted(live.keys() | new.keys()):
        if schema and schema not in schemas & others:
            continue
        letter = "s" if kind == "S" else kind
        standard = {} if schema else rights(both.new.execute(STANDARD, [letter, role]).fetchall())
        inside = sql.SQL(" IN SCHEMA {}").format(sql.Identifier(schema)) if schema else sql.SQL("")
        yield from granting(
            live.get((role, schema, kind), standard),
            new.get((role, schema, kind), standard),
            fixed("{}", word(KINDS[kind])),
            f"{KINDS[kind].lower()} that {role} makes" + (f" in {schema}" if schema else ""),
            prefix=sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{} ").format(named(role), inside),
            revokes=both.takes_back,
        )
