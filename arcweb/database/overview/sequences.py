"""How full sequences are: a column that runs out of numbers takes no more rows."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS, connections

from arcweb.database.findings import Finding
from arcweb.database.standing import quoted

#: Percent used.
NEARLY_FULL, FULL = 85.0, 95.0
WHY = (
    "Threshold: 85 and 95 % of the sequence or of its column's type, whichever ends first; the limits that "
    "check_postgres uses. A sequence that begins anew (CYCLE) is passed over."
)
SHOWN = 20
# A serial or identity column owns its sequence; a plain DEFAULT nextval() only names it. The narrowest column
# decides: a bigint sequence that fills an integer column ends with the integer.
FILLED = """
    SELECT namespace.nspname, sequence.relname, seen.last_value,
           link.relation::regclass::text, attribute.attname, attribute.atttypid::regtype::text,
           CASE WHEN sort.seqincrement > 0
                THEN (seen.last_value - sort.seqmin)::numeric / nullif(last.most - sort.seqmin, 0)
                ELSE (sort.seqmax - seen.last_value)::numeric / nullif(sort.seqmax - last.least, 0)
           END::float8 * 100 AS percent,
           CASE WHEN sort.seqincrement > 0 THEN last.most - seen.last_value
                ELSE seen.last_value - last.least END / abs(sort.seqincrement) AS left_over
    FROM pg_sequence AS sort
    JOIN pg_class AS sequence ON sequence.oid = sort.seqrelid
    JOIN pg_namespace AS namespace ON namespace.oid = sequence.relnamespace
    JOIN pg_sequences AS seen ON seen.schemaname = namespace.nspname AND seen.sequencename = sequence.relname
    LEFT JOIN LATERAL (
        SELECT held.relation, held.number
        FROM (
            SELECT refobjid AS relation, refobjsubid AS number FROM pg_depend
            WHERE classid = 'pg_class'::regclass AND objid = sequence.oid
                AND refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND deptype IN ('a', 'i')
            UNION ALL
            SELECT adrelid, adnum FROM pg_depend JOIN pg_attrdef ON pg_attrdef.oid = objid
            WHERE classid = 'pg_attrdef'::regclass AND refclassid = 'pg_class'::regclass
                AND refobjid = sequence.oid
        ) AS held
        JOIN pg_attribute AS width ON width.attrelid = held.relation AND width.attnum = held.number
        ORDER BY width.attlen < 0, width.attlen LIMIT 1
    ) AS link ON true
    LEFT JOIN pg_attribute AS attribute
        ON attribute.attrelid = link.relation AND attribute.attnum = link.number
    CROSS JOIN LATERAL (
        SELECT CASE attribute.atttypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647
               ELSE sort.seqmax END AS highest,
               CASE attribute.atttypid WHEN 'int2'::regtype THEN -32768 WHEN 'int4'::regtype THEN -2147483648
               ELSE sort.seqmin END AS lowest
    ) AS of_type
    CROSS JOIN LATERAL (
        SELECT least(sort.seqmax, of_type.highest) AS most, greatest(sort.seqmin, of_type.lowest) AS least
    ) AS last
    WHERE NOT sort.seqcycle AND seen.last_value IS NOT NULL
    ORDER BY percent DESC NULLS LAST
    LIMIT %s
"""
# The planner may test the privilege first, and there is none on what is no sequence.
UNSEEN = """
    SELECT count(*) FROM pg_class
    WHERE CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege(oid, 'SELECT, USAGE') ELSE false END
"""


@dataclass(frozen=True)
class Sequence:
    """`table` (as an SQL name), `column` and `type` are "" for a sequence that belongs to no column."""

    schema: str
    name: str
    last: int
    table: str
    column: str
    type: str
    percent: float
    left: int  #: numbers that are still to come

    @property
    def place(self) -> str:
        return f"{self.table}.{self.column}" if self.table else f"{self.schema}.{self.name}"

    @property
    def cure(self) -> str:
        sequence = f"{quoted(self.schema)}.{quoted(self.name)}"
        lines = [f"ALTER SEQUENCE {sequence} AS bigint;"]
        if self.table and self.type != "bigint":
            lines.append(
                f"ALTER TABLE {self.table} ALTER COLUMN {quoted(self.column)} TYPE bigint;  -- rewrites the "
                "table, which is locked meanwhile"
            )
        elif self.type == "bigint" or not self.table:
            lines.append(f"ALTER SEQUENCE {sequence} NO MAXVALUE;")
        return "\n".join(lines)


def fullest(using: str = DEFAULT_DB_ALIAS) -> list[Sequence]:
    """The SHOWN fullest ones that the role may see, fullest first. Raises django.db.Error."""
    with connections[using].cursor() as cursor:
        cursor.execute(FILLED, [SHOWN])
        return [
            Sequence(schema, name, last, table or "", column or "", kind or "", percent or 0.0, int(left))
            for schema, name, last, table, column, kind, percent, left in cursor.fetchall()
        ]


def unseen(using: str = DEFAULT_DB_ALIAS) -> int:
    """How many sequences the role may not look into."""
    with connections[using].cursor() as cursor:
        cursor.execute(UNSEEN)
        return int(cursor.fetchone()[0])


def findings(found: list[Sequence]) -> list[Finding]:
    return [
        Finding(
            "bad" if sequence.percent >= FULL else "warn",
            f"The numbers of {sequence.place} are nearly used up: {sequence.percent:.1f} %, "
            f"{sequence.left:,} are left. After them every INSERT fails.",
            statement=sequence.cure,
            why=WHY,
        )
        for sequence in found
        if sequence.percent >= NEARLY_FULL
    ]
