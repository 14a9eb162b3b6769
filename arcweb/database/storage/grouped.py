"""The lines of the page of tables: a partitioned table is one line, the sum of its partitions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from arcweb.database.storage.tables import Table, VectorColumn


@dataclass(frozen=True)
class Line:
    """One table, or the partitions of one."""

    name: str
    tables: Sequence[Table]
    vectors: int | None  #: bytes of its vectors, an estimate; None: it has none, or they cannot be estimated
    has_vectors: bool

    @property
    def table(self) -> Table | None:
        """None for a partitioned one."""
        return self.tables[0] if self.tables[0].root is None else None

    @property
    def partitions(self) -> int:
        return 0 if self.table else len(self.tables)

    @property
    def total(self) -> int:
        return sum(table.total for table in self.tables)

    @property
    def heap(self) -> int:
        return sum(table.heap for table in self.tables)

    @property
    def toast(self) -> int:
        return sum(table.toast for table in self.tables)

    @property
    def indexes(self) -> int:
        return sum(table.indexes for table in self.tables)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)

    @property
    def dead(self) -> int:
        return sum(table.dead for table in self.tables)

    @property
    def dead_share(self) -> float | None:
        both = self.dead + sum(table.live for table in self.tables)
        return 100 * self.dead / both if both else None

    @property
    def changes(self) -> int:
        return sum(table.inserted + table.updated + table.deleted for table in self.tables)

    @property
    def hot_share(self) -> float | None:
        updated = sum(table.updated for table in self.tables)
        return 100 * sum(table.hot_updated for table in self.tables) / updated if updated else None

    @property
    def seq_scans(self) -> int:
        return sum(table.seq_scans for table in self.tables)

    @property
    def index_scans(self) -> int:
        return sum(table.index_scans or 0 for table in self.tables)

    @property
    def vacuumed(self) -> datetime | None:
        return max((table.vacuumed for table in self.tables if table.vacuumed), default=None)

    @property
    def analyzed(self) -> datetime | None:
        return max((table.analyzed for table in self.tables if table.analyzed), default=None)


def lines(tables: Iterable[Table], columns: Iterable[VectorColumn]) -> list[Line]:
    """The largest first."""
    vectors: dict[int, list[VectorColumn]] = {}
    for column in columns:
        vectors.setdefault(column.oid, []).append(column)
    groups: dict[int, list[Table]] = {}
    for table in tables:
        groups.setdefault(table.root or table.oid, []).append(table)
    made = [
        Line(
            together[0].root_name or together[0].full_name,
            together,
            _vectors(together, vectors),
            any(table.oid in vectors for table in together),
        )
        for together in groups.values()
    ]
    return sorted(made, key=lambda line: (-line.total, line.name))


def _vectors(tables: Sequence[Table], columns: Mapping[int, Sequence[VectorColumn]]) -> int | None:
    found = [column.bytes_in(table) for table in tables for column in columns.get(table.oid, ())]
    known = [size for size in found if size is not None]
    return sum(known) if known else None
