"""What everybody (PUBLIC) may do in this database, and functions that lend their owner's rights."""

from __future__ import annotations

from dataclasses import dataclass

from arcweb.database.findings import Finding
from arcweb.database.safety.rows import rows_of
from arcweb.database.standing import quoted

#: Findings of one kind; the others are counted.
MOST = 20
SCHEMAS = """
    SELECT nspname AS name
    FROM pg_namespace, LATERAL aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS acl
    WHERE acl.grantee = 0 AND acl.privilege_type = 'CREATE'
      AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    ORDER BY 1
"""
# What an extension grants is its own affair (pg_stat_statements shows everybody its own rows).
TABLES = """
    SELECT nspname AS schema, relname AS name, relkind = 'S' AS sequence,
           string_agg(DISTINCT acl.privilege_type, ', ' ORDER BY acl.privilege_type) AS privileges
    FROM pg_class AS class
    JOIN pg_namespace AS schema ON schema.oid = relnamespace, LATERAL aclexplode(relacl) AS acl
    WHERE acl.grantee = 0 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
      AND NOT EXISTS (
          SELECT FROM pg_depend
          WHERE classid = 'pg_class'::regclass AND objid = class.oid AND deptype = 'e'
      )
    GROUP BY 1, 2, 3 ORDER BY 1, 2
    LIMIT 500
"""
DEFINERS = """
    SELECT format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(proc.oid)) AS name,
           nspname AS schema, pg_get_userbyid(proowner) AS owner,
           prokind = 'p' AS procedure, has_function_privilege('public', proc.oid, 'EXECUTE') AS everybody
    FROM pg_proc AS proc
    JOIN pg_namespace AS schema ON schema.oid = pronamespace
    WHERE prosecdef AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE 'search\\_path=%')
      AND NOT EXISTS (
          SELECT FROM pg_depend
          WHERE classid = 'pg_proc'::regclass AND objid = proc.oid AND deptype = 'e'
      )
    ORDER BY 1
    LIMIT 500
"""
# Rows without a schema repeat what is built in: EXECUTE on functions, USAGE on types.
DEFAULTS = """
    SELECT pg_get_userbyid(defaclrole) AS role, nspname AS schema,
           CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kind,
           string_agg(DISTINCT acl.privilege_type, ', ' ORDER BY acl.privilege_type) AS privileges
    FROM pg_default_acl
    LEFT JOIN pg_namespace AS schema ON schema.oid = defaclnamespace, LATERAL aclexplode(defaclacl) AS acl
    WHERE acl.grantee = 0 AND (defaclnamespace <> 0 OR defaclobjtype NOT IN ('f', 'T'))
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    LIMIT 100
"""
READS = {"SELECT", "USAGE"}


@dataclass(frozen=True)
class Schema:
    name: str


@dataclass(frozen=True)
class Table:
    schema: str
    name: str
    sequence: bool
    privileges: str

    @property
    def reads_only(self) -> bool:
        return set(self.privileges.split(", ")) <= READS


@dataclass(frozen=True)
class Definer:
    """A function that runs as its owner, with the search_path of whoever calls it."""

    name: str
    schema: str
    owner: str
    procedure: bool
    everybody: bool


@dataclass(frozen=True)
class Default:
    role: str
    schema: str | None
    kind: str
    privileges: str


def grants() -> list[Finding]:
    """Four queries of the catalog."""
    return [
        *_limited([_schema(row) for row in rows_of(Schema, SCHEMAS)]),
        *_limited([_table(row) for row in rows_of(Table, TABLES)]),
        *_limited([_definer(row) for row in rows_of(Definer, DEFINERS)]),
        *_limited([_default(row) for row in rows_of(Default, DEFAULTS)]),
    ]


def _limited(findings: list[Finding]) -> list[Finding]:
    more = len(findings) - MOST
    if more <= 0:
        return findings
    return [*findings[:MOST], Finding(findings[0].state, f"{more} more of this kind are not shown.")]


def _schema(row: Schema) -> Finding:
    return Finding(
        "warn",
        f"Everybody who may connect may create objects in the schema {row.name}, and so have others run "
        "functions that only look like the real ones.",
        statement=f"REVOKE CREATE ON SCHEMA {quoted(row.name)} FROM PUBLIC;",
        why="CVE-2018-1058; new databases refuse it since PostgreSQL 15, upgraded ones keep it.",
    )


def _table(row: Table) -> Finding:
    kind = "SEQUENCE" if row.sequence else "TABLE"
    return Finding(
        "warn" if row.reads_only else "bad",
        f"Everybody who may connect has {row.privileges} on {row.schema}.{row.name}.",
        statement=f"REVOKE ALL ON {kind} {quoted(row.schema)}.{quoted(row.name)} FROM PUBLIC;",
    )


def _definer(row: Definer) -> Finding:
    kind = "PROCEDURE" if row.procedure else "FUNCTION"
    who = "everybody" if row.everybody else "whoever may call it"
    return Finding(
        "bad" if row.everybody else "warn",
        f"{row.name} runs as {row.owner} (SECURITY DEFINER) and finds names by the search_path of {who}, who "
        "can have it call something else.",
        statement=f"ALTER {kind} {row.name} SET search_path = pg_catalog, {quoted(row.schema)}, pg_temp;",
        why="PostgreSQL's manual, “Writing SECURITY DEFINER Functions Safely”.",
    )


def _default(row: Default) -> Finding:
    where = f" in the schema {row.schema}" if row.schema else ""
    inside = f" IN SCHEMA {quoted(row.schema)}" if row.schema else ""
    return Finding(
        "warn",
        f"What {row.role} creates{where} from now on gives everybody {row.privileges} ({row.kind.lower()}).",
        statement=f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(row.role)}{inside} REVOKE ALL ON {row.kind} "
        "FROM PUBLIC;",
    )
