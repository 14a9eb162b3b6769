"""What a schema from outside would run, as PostgreSQL itself understood it: asked before any row goes in.

Functions: only those of this project, unchanged in every respect (`known_functions`), since triggers and
defaults call them with the application's rights. Conditions, defaults, indexes and the like: they may call
PostgreSQL's own functions and those of the template's extensions, as long as these have no side effects.
"""

from __future__ import annotations

from typing import Any

import psycopg

from arcweb.backups.proving import known_functions
from arcweb.backups.proving.ladder import NotTried

#: Volatile functions that a default may call, all of pg_catalog.
IN_DEFAULTS = (
    "nextval",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "random",
    "clock_timestamp",
    "timeofday",
    "now",
)
#: Named at most in one sentence.
MOST = 5

OURS = """
    SELECT FROM pg_depend AS d WHERE d.classid = {catalog}::regclass AND d.objid = {oid} AND d.deptype = 'e'
"""
FUNCTIONS = f"""
    SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid),
           encode(sha256(convert_to(concat_ws(E'\\n', l.lanname, p.prokind, p.prosecdef, p.provolatile,
               p.proisstrict, p.proleakproof, p.proretset, array_to_string(p.proconfig, ' '),
               pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), p.prosrc), 'UTF8')), 'hex')
    FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_language AS l ON l.oid = p.prolang
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS ({OURS.format(catalog="'pg_proc'", oid="p.oid")})
    ORDER BY 1, 2, 3
"""  # noqa: S608 - parts of this file alone
# The trees name each function and operator by its number; what is not stored as a tree runs nothing.
CALLS = f"""
    WITH expressions (what, of_default, tree) AS (
        SELECT 'the condition ' || conname, false, conbin::text FROM pg_constraint WHERE conbin IS NOT NULL
        UNION ALL
        SELECT 'column ' || a.attname || ' of ' || d.adrelid::regclass, a.attgenerated = '', d.adbin::text
        FROM pg_attrdef AS d
        JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        UNION ALL
        SELECT 'the index ' || indexrelid::regclass, false, concat_ws(' ', indexprs::text, indpred::text)
        FROM pg_index WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
        UNION ALL
        SELECT 'the trigger ' || tgname, false, tgqual::text FROM pg_trigger WHERE tgqual IS NOT NULL
        UNION ALL
        SELECT 'the partitions of ' || partrelid::regclass, false, partexprs::text
        FROM pg_partitioned_table WHERE partexprs IS NOT NULL
        UNION ALL
        SELECT 'the type ' || oid::regtype, false, typdefaultbin::text
        FROM pg_type WHERE typdefaultbin IS NOT NULL
        UNION ALL
        SELECT 'the arguments of ' || oid::regprocedure, true, proargdefaults::text
        FROM pg_proc AS p WHERE proargdefaults IS NOT NULL AND oid >= 16384
          AND NOT EXISTS ({OURS.format(catalog="'pg_proc'", oid="p.oid")})
    ), calls AS (
        SELECT what, of_default, (match)[1]::oid AS function
        FROM expressions,
             regexp_matches(tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\\d+)', 'g') AS match
        UNION
        SELECT what, of_default, operator.oprcode
        FROM expressions, regexp_matches(tree, ':opno (\\d+)', 'g') AS match
        JOIN pg_operator AS operator ON operator.oid = (match)[1]::oid
    )
    SELECT DISTINCT calls.what, p.oid::regprocedure::text
    FROM calls JOIN pg_proc AS p ON p.oid = calls.function JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE NOT (p.provolatile <> 'v'
               OR (calls.of_default AND n.nspname = 'pg_catalog' AND p.proname = ANY (%s)))
    ORDER BY 1, 2
"""  # noqa: S608
# A schema called as the role comes before `public` in everybody's search_path: its tables would stand in for
# the application's. None of the others passes `entries`; one that stands here was read in two ways.
STRANGERS = f"""
    SELECT 'the schema ' || nspname || ', called as the role,' FROM pg_namespace WHERE nspname = current_user
    UNION ALL
    SELECT 'the rule ' || r.rulename || ' on ' || r.ev_class::regclass FROM pg_rewrite AS r
    JOIN pg_class AS c ON c.oid = r.ev_class
    WHERE c.oid >= 16384 AND NOT EXISTS ({OURS.format(catalog="'pg_class'", oid="c.oid")})
    UNION ALL SELECT 'the event trigger ' || evtname FROM pg_event_trigger
    UNION ALL SELECT 'the policy ' || polname FROM pg_policy
    UNION ALL SELECT 'the cast to ' || casttarget::regtype FROM pg_cast AS x
    WHERE x.oid >= 16384 AND NOT EXISTS ({OURS.format(catalog="'pg_cast'", oid="x.oid")})
    UNION ALL SELECT 'the operator ' || o.oid::regoperator FROM pg_operator AS o
    WHERE o.oid >= 16384 AND NOT EXISTS ({OURS.format(catalog="'pg_operator'", oid="o.oid")})
    UNION ALL SELECT 'the domain ' || t.oid::regtype FROM pg_type AS t
    WHERE t.typtype = 'd' AND t.oid >= 16384
    UNION ALL SELECT 'the foreign table ' || c.oid::regclass FROM pg_class AS c WHERE c.relkind = 'f'
    UNION ALL SELECT 'the subscription ' || subname FROM pg_subscription
    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608


def refuse(connection: psycopg.Connection[Any]) -> None:
    """Raises NotTried, with names, when that database holds code that did not come with ARC Web."""
    if troubles := strangers(connection):
        more = f"; and {len(troubles) - MOST:,} more" if len(troubles) > MOST else ""
        raise NotTried(
            "The file holds code that is not ARC Web's own, and would run with its rights: "
            f"{'; '.join(troubles[:MOST])}{more}."
        )


def strangers(connection: psycopg.Connection[Any]) -> list[str]:
    """What that code is, in words."""
    with connection.transaction():
        connection.execute("SELECT set_config('search_path', '', true)")
        found = [name for (name,) in connection.execute(STRANGERS).fetchall()]
        for schema, name, arguments, digest in connection.execute(FUNCTIONS).fetchall():
            if digest not in known_functions.DIGESTS.get((schema, name, arguments), ()):
                found.append(f"the function {schema}.{name}({arguments})")
        calls = connection.execute(CALLS, [list(IN_DEFAULTS)]).fetchall()
        return [*found, *(f"{what} calls {function}" for what, function in calls)]


def functions(connection: psycopg.Connection[Any]) -> dict[tuple[str, str, str], str]:
    """(schema, name, arguments) → digest of every function that no extension brought."""
    return {(row[0], row[1], row[2]): row[3] for row in connection.execute(FUNCTIONS).fetchall()}
