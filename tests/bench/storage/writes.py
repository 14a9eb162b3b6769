"""WAL and time of updates and inserts."""

from __future__ import annotations

import statistics

from tests.bench.storage.connection import progress, run
from tests.bench.storage.data import Data, copy_rows
from tests.bench.storage.layouts import LARGE, Connection
from tests.bench.storage.measuring import Samples, milliseconds, ratio_row, rotated, table


def wal_position(db: Connection) -> int:
    return int(run(db, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])


def updates(db: Connection, name: str) -> tuple[int, int]:
    """(updates, of which HOT) of the table so far."""
    run(db, "SELECT pg_stat_force_next_flush()")
    row = run(
        db,
        """SELECT pg_stat_get_tuples_updated(o), pg_stat_get_tuples_hot_updated(o)
           FROM (SELECT %s::regclass::oid) AS t(o)""",
        (name,),
    )[0]
    return int(row[0]), int(row[1])


UPDATE = """UPDATE {name} SET metadata = metadata || jsonb_build_object('seen', %s::int) WHERE id = ANY(%s)"""


def measure_updates(db: Connection, names: dict[str, str], runs: int, title: str) -> None:
    """UPDATE of the metadata of the same 1,000 rows, a VACUUM between; HOT share and WAL of each."""
    chosen = {
        name: [
            row[0]
            for row in run(db, f"SELECT id FROM (SELECT id FROM {name} ORDER BY md5(id::text) LIMIT 1000) t")
        ]
        for name in names.values()
    }
    samples = {key: Samples() for key in names}
    hot: dict[str, list[float]] = {key: [] for key in names}
    wal: dict[str, list[int]] = {key: [] for key in names}
    keys = list(names)
    for turn in range(runs + 1):
        progress(f"{title}: run {turn}")
        for key in rotated(keys, turn):
            name = names[key]
            run(db, f"VACUUM {name}")
            before, position = updates(db, name), wal_position(db)
            spent = milliseconds(run, db, UPDATE.format(name=name), (turn, chosen[name]))
            wal[key].append(wal_position(db) - position)
            after = updates(db, name)
            hot[key].append((after[1] - before[1]) / (after[0] - before[0]))
            if turn:
                samples[key].rounds.append([spent])
    base = samples[keys[0]]
    table(
        ["layout", "ratio", "ms", "HOT, first run", "HOT, later", "WAL MB, later"],
        [
            [
                key,
                samples[key].against(base),
                f"{samples[key].median:.0f}",
                f"{hot[key][0]:.0%}",
                f"{statistics.median(hot[key][1:]):.0%}",
                f"{statistics.median(wal[key][1:]) / 2**20:.1f}",
            ]
            for key in keys
        ],
        title,
    )


def measure_writes(db: Connection, names: dict[str, str], data: Data, rounds: int) -> None:
    """COPY of 5,000 rows, then DELETE of three agents of 10,000 rows with the VACUUM after each."""
    keys = list(names)
    base = keys[0]
    visitor = Data(data.vectors[:5_000], data.texts[:5_000], (5_000,))
    added = list(visitor.rows())
    insert = {key: Samples() for key in names}
    insert_wal: dict[str, list[int]] = {key: [] for key in names}
    for turn in range(max(rounds, 5)):
        progress(f"COPY 5,000: run {turn}")
        for key in rotated(keys, turn):
            name, position = names[key], wal_position(db)
            insert[key].rounds.append([milliseconds(copy_rows, db, name, iter(added))])
            insert_wal[key].append(wal_position(db) - position)
            run(db, f"DELETE FROM {name} WHERE id = ANY(%s)", ([row[0] for row in added],))
            run(db, f"VACUUM {name}")
    delete, vacuum = ({key: Samples() for key in names} for _ in range(2))
    for turn, agent in enumerate(data.agents[LARGE + 1 : LARGE + 4]):
        progress(f"DELETE 10,000: run {turn}")
        for key in rotated(keys, turn):
            name = names[key]
            statement = f"DELETE FROM {name} WHERE agent_id = %s"
            delete[key].rounds.append([milliseconds(run, db, statement, (agent,))])
            vacuum[key].rounds.append([milliseconds(run, db, f"VACUUM {name}")])
    megabytes = [f"{statistics.median(insert_wal[key]) / 2**20:.0f}" for key in keys]
    table(
        ["write", f"{base} ms", *keys[1:]],
        [
            ratio_row("COPY 5,000 rows", insert, base),
            ["WAL of that, MB", *megabytes],
            ratio_row("DELETE 10,000 rows", delete, base),
            ratio_row("VACUUM after it", vacuum, base),
        ],
        "Writes (no vector index)",
    )
