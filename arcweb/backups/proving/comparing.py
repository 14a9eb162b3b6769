"""A restored database compared with the manifest of its copy, one rung after the other.

Raises CorruptCopy for the first rung that does not hold, with every difference of it.
"""

from __future__ import annotations

from typing import Any

import psycopg

from arcweb.backups import content
from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.manifest import Manifest, Table
from arcweb.backups.proving import looks
from arcweb.backups.proving.ladder import Ladder, NotTried
from arcweb.charts import size

#: Differences named in one sentence.
MOST = 5
Connection = psycopg.Connection[Any]


def compare(connection: Connection, manifest: Manifest, ladder: Ladder, megabytes: int = 0) -> None:
    """connection: in autocommit, to a database that the copy was restored into and nobody else uses.

    megabytes: what the comparison of rows counts in the ladder's progress. Raises CorruptCopy, NotTried for a
    manifest whose hashes are of another kind, psycopg.Error.
    """
    with ladder.step("rows", "comparing every row", megabytes) as step:
        step.sentence = rows(connection, manifest, ladder)
    with ladder.step("sequences") as step:
        step.sentence = sequences(connection, manifest)
    with ladder.step("structure", "looking at indexes and constraints") as step:
        step.sentence = structure(connection, manifest)
    with ladder.step("vectors", "searching by vector") as step:
        step.sentence = vectors(connection)


def rows(connection: Connection, manifest: Manifest, ladder: Ladder) -> str:
    """Every table's count and content hash, and which table each partition belongs to."""
    if manifest.client.get("outside"):  # arcweb.backups.transfer.receiving
        raise NotTried(
            "It was restored without an error. It came from outside without a manifest, so that nothing is "
            "known to compare its rows with: it never counts as proven."
        )
    if not manifest.tables:
        raise NotTried(
            "It was restored without an error. Its manifest names no table, so that there is nothing to "
            "compare its rows with: it never counts as proven."
        )
    version = str(manifest.client.get("content", content.VERSION))
    if version != content.VERSION:
        raise NotTried(
            f"The manifest's hashes are of kind {version}, and this version of ARC Web knows kind "
            f"{content.VERSION}: the rows cannot be compared. Use the version that took the copy."
        )

    def said(done: int, total: int, count: int, name: str) -> None:
        ladder.say(f"comparing: table {done + 1} of {total}, {count:,} rows of {name}")

    # Everything that is there, also where the manifest speaks of one schema: nothing comes in unseen.
    found = content.look(connection, progress=said)
    differences = _differences(manifest.tables, found.tables)
    if differences:
        more = f"; and {len(differences) - MOST:,} more tables" if len(differences) > MOST else ""
        raise CorruptCopy(
            f"What was restored is not what was copied: {'; '.join(differences[:MOST])}{more}. Every "
            f"other table of {len(manifest.tables):,} is the same."
        )
    partitions = sum(1 for table in found.tables if table.parent)
    attached = f", {partitions:,} of them attached as partitions" if partitions else ""
    return (
        f"{found.rows:,} rows in {len(found.tables):,} tables{attached}: every count and content hash is "
        "that of the copy's moment."
    )


def _differences(wanted: list[Table], found: list[Table]) -> list[str]:
    restored = {(table.schema, table.name): table for table in found}
    differences = []
    for table in wanted:
        name, other = f"{table.schema}.{table.name}", restored.pop((table.schema, table.name), None)
        if other is None:
            differences.append(f"{name} is missing")
        elif other.rows != table.rows:
            differences.append(f"{name} has {other.rows:,} rows instead of {table.rows:,}")
        elif other.sha256 != table.sha256:
            differences.append(f"{name} has {table.rows:,} rows as it should, but not the same content")
        elif other.parent != table.parent:
            belongs = f"a partition of {table.parent}" if table.parent else "a table of its own"
            differences.append(f"{name} is not {belongs}")
    differences += [f"{schema}.{name} is not in the manifest" for schema, name in restored]
    return differences


def sequences(connection: Connection, manifest: Manifest) -> str:
    """Every sequence is there, and none will give a number that its column has already.

    Sequences stand outside of snapshots: one that moved on while the copy was taken is no difference.
    """
    last = {(one.schema, one.name): one.last for one in content.sequences(connection)}
    wanted = {(one.schema, one.name): one.last for one in manifest.sequences}
    if missing := [".".join(name) for name in wanted if name not in last]:
        raise CorruptCopy(f"These sequences were not restored: {', '.join(missing[:MOST])}.")
    behind = [
        f"{'.'.join(feed.sequence)} stands at {feed.last or 0:,} and {feed.column} of "
        f"{'.'.join(feed.table)} goes to {feed.greatest:,}"
        for feed in looks.feeds(connection)
        # One that was behind already when the copy was taken is restored as it was.
        if feed.behind and feed.sequence in wanted and wanted[feed.sequence] != feed.last
    ]
    if behind:
        raise CorruptCopy(f"Sequences would give numbers that are taken: {'; '.join(behind[:MOST])}.")
    moved = sum(1 for name, value in wanted.items() if last[name] != value)
    also = f"; {moved:,} moved on while the copy was taken" if moved else ""
    return (
        f"{len(wanted):,} sequences stand where they should{also}." if wanted else "The copy has no sequence."
    )


def structure(connection: Connection, manifest: Manifest) -> str:
    """Indexes that PostgreSQL uses, constraints, generated columns, triggers and extensions."""
    found = looks.objects(connection)
    if found.invalid:
        raise CorruptCopy(f"PostgreSQL does not use these indexes: {', '.join(found.invalid[:MOST])}.")
    not_valid = f" (and {len(found.unproven):,} NOT VALID, as in the copy)" if found.unproven else ""
    here = looks.extensions(connection)
    others = [
        f"{name} {here[name]} here, {version} in the copy"
        for name, version in manifest.extensions.items()
        if name in here and here[name] != version
    ]
    versions = f" Extensions differ: {'; '.join(others)}." if others else ""
    hold = found.constraints - len(found.unproven)
    return (
        f"Valid indexes: {found.indexes:,}; constraints that hold: {hold:,}{not_valid}; generated "
        f"columns, computed again and hashed: {found.generated:,}; triggers: {found.triggers:,}.{versions}"
    )


def vectors(connection: Connection) -> str:
    """One search by vector for each index of pgvector, given by the index."""
    indexes = looks.vector_indexes(connection)
    if not indexes:
        return "The copy has no index of vectors."
    answered = []
    for index in indexes:
        used, distances = looks.nearest(connection, index)
        if not distances:
            answered.append(f"{index} holds no vector")
        elif used not in {one.name for one in indexes if one.table == index.table}:
            raise CorruptCopy(f"A search by vector does not use the index {index}.")
        else:
            answered.append(f"{used} ({index.method}) gave {len(distances)} neighbours")
    return f"Searched by vector: {'; '.join(answered)}."


def extensions(connection: Connection, manifest: Manifest) -> str:
    """What the copy needs and the database has; raises NotTried for what is missing."""
    here = looks.extensions(connection)
    if missing := [name for name in manifest.extensions if name not in here]:
        raise NotTried(
            f"The copy's database had the extension {', '.join(missing)}, which databases from the template "
            "do not have. A superuser creates it there with CREATE EXTENSION, then retry."
        )
    return ", ".join(f"{name} {version}" for name, version in here.items())


def database_size(connection: Connection) -> str:
    row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return size(row[0] if row else 0)
