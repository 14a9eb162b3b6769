"""What belongs to a database and stands in no dump of it: who may connect, settings, limit, comment.

All of it is in the catalogs that a cluster's databases share, so that it is read without entering live.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from arcweb.backups.restore.carry.needs import Need, Part, about, granting, named, rights

Connection = psycopg.Connection[Any]
#: (role, "" for everybody; name) → value.
Settings = Mapping[tuple[str, str], str]
#: Who owns it, how many sessions it takes (-1: any number), what is said of it, who may do what.
DATABASE = """
    SELECT pg_get_userbyid(d.datdba), d.datconnlimit, coalesce(shobj_description(d.oid, 'pg_database'), ''),
        coalesce((
        SELECT json_agg(json_build_array(coalesce(r.rolname, ''), a.privilege_type, a.is_grantable))
        FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
        LEFT JOIN pg_roles AS r ON r.oid = a.grantee
        WHERE a.grantee <> d.datdba AND (a.grantee = 0 OR r.oid IS NOT NULL)), '[]')
    FROM pg_database AS d WHERE d.datname = %s
"""
#: For everybody (role "") and for single roles.
SETTINGS = """
    SELECT coalesce(r.rolname, ''), split_part(pair, '=', 1), substr(pair, strpos(pair, '=') + 1)
    FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase
    LEFT JOIN pg_roles AS r ON r.oid = s.setrole
    CROSS JOIN LATERAL unnest(s.setconfig) AS pair
    WHERE d.datname = %s AND (s.setrole = 0 OR r.oid IS NOT NULL)
"""
#: Kept as lists of quoted names, which a single literal would make one name of (pg_dump's
#: variable_is_guc_list_quote, src/bin/pg_dump/dumputils.c).
LISTS = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
)
#: Where people find what no page, log or journal shows.
VALUE = " (its value stands in pg_db_role_setting of the database of before, which is kept for a day)"
ITEM = re.compile(r'"((?:[^"]|"")*)"|([^,\s]+)')


def needs(old: Connection, live: str, new: Connection, made: str, *, revokes: bool) -> Iterator[Need]:
    """What the database `made` lacks of `live`; each is read over its own connection.

    revokes: whether rights that live does not give are taken back.
    """
    was = old.execute(DATABASE, [live]).fetchone()
    now = new.execute(DATABASE, [made]).fetchone()
    if was is None or now is None:
        return
    (owner, limit, comment, wanted), (maker, limit_now, comment_now, there) = was, now
    yield from granting(
        {who: again for who, again in rights(wanted).items() if who[0] != maker},
        {who: again for who, again in rights(there).items() if who[0] != owner},
        about("DATABASE {}"),
        "the database",
        revokes=revokes,
    )
    yield from _settings(*(
        {(role, name): value for role, name, value in side.execute(SETTINGS, [database])}
        for side, database in ((old, live), (new, made))
    ))  # fmt: skip
    if limit != limit_now:
        words = f"at most {limit} sessions" if limit >= 0 else "any number of sessions"
        yield Need(words, about("ALTER DATABASE {} CONNECTION LIMIT {}", sql.Literal(limit)))
    if comment != comment_now:
        said = sql.Literal(comment) if comment else sql.SQL("NULL")
        yield Need("the comment on the database", about("COMMENT ON DATABASE {} IS {}", said))
    if owner != maker:
        yield Need(
            f"{owner} owns the database", about("ALTER DATABASE {} OWNER TO {}", named(owner)), tried=False
        )


def _settings(live: Settings, new: Settings) -> Iterator[Need]:
    for role, name in sorted(live.keys() | new.keys()):
        if live.get((role, name)) == new.get((role, name)):
            continue
        parameter = sql.Identifier(*name.split("."))
        # Names with a dot are an application's own, and their values may be its passwords.
        secret = "." in name
        words = f"setting {name}" + (f" of {role}" if role else "")
        given, taken = f"the {words}{VALUE if secret else ''}", f"no {words}"
        if (value := live.get((role, name))) is None:
            reset = sql.SQL("RESET {}").format(parameter)
            yield Need(taken, _setting(role, reset), contrary=given)
        elif secret:
            yield Need(
                given,
                _setting(role, sql.SQL("SET {} FROM CURRENT").format(parameter)),
                _setting(role, sql.SQL("SET {} TO '…'").format(parameter)),
                contrary=taken,
                given=(name, value),
            )
        else:
            change = sql.SQL("SET {} TO {}").format(parameter, _literal(name, value))
            yield Need(given, _setting(role, change), contrary=taken)


def _setting(role: str, change: sql.Composable) -> Part:
    if not role:
        return about("ALTER DATABASE {} {}", change)
    return lambda database: sql.SQL("ALTER ROLE {} IN DATABASE {} {}").format(
        sql.Identifier(role), sql.Identifier(database), change
    )


def _literal(name: str, value: str) -> sql.Composable:
    if name not in LISTS:
        return sql.Literal(value)
    items = [plain or quoted.replace('""', '"') for quoted, plain in ITEM.findall(value)]
    return sql.SQL(", ").join(map(sql.Literal, items or [""]))
