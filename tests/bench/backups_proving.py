"""What it costs to restore a copy, and to prove it, over `pg_restore --jobs=2` of the same dump.

Restore: the scratch database made and dropped, the table of contents read, the entries chosen. Proof: that,
the file hashed and unpacked, every row hashed again. Raw: pg_restore alone, into a database that is made and
dropped outside of the time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

Report = Callable[[str, float, float, str], None]
#: Memories with vectors of 1,536 dimensions: 20 kB of text each, and an HNSW index.
ROWS = 2_000
ROUNDS = 3


def bench_proving(rounds: int, fill: Callable[[object, int, int], None], report: Report) -> None:
    """fill: puts so many memories into an agent. Of the rounds only ROUNDS are run: each takes a minute."""
    from agents.models import Agent
    from arcweb.backups import scratch, server
    from arcweb.backups.processes import passfile, postgres_env, run
    from arcweb.backups.proving import loading
    from arcweb.backups.proving.proof import prove
    from arcweb.backups.taking import Options, take
    from arcweb.jobs.progress import duration

    fill(Agent.objects.create(name="to be proven", type="bench").pk, ROWS, 11)
    backup = take(Options())
    where = server.database()

    def raw(dump: Path) -> float:
        with scratch.database("bench") as name, server.connect(name) as connection, ExitStack() as stack:
            env = postgres_env(where) | stack.enter_context(passfile(str(where["PASSWORD"])))
            program = server.program("pg_restore", connection).path
            argv = [program, "--jobs=2", "--exit-on-error", "--no-owner", "--no-privileges", "--no-password"]
            started = time.perf_counter()
            run([*argv, f"--dbname={name}", dump], env)
            return time.perf_counter() - started

    def ours(dump: Path) -> float:
        started = time.perf_counter()
        with scratch.database("bench") as name:
            loading.load(dump, name, trusted=True)
        return time.perf_counter() - started

    def proof() -> float:
        started = time.perf_counter()
        outcome = prove(backup.pk)
        assert outcome.verdict == "proven", outcome.trouble
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder) / "dump"
        _unpack(backup.file, dump)
        times = [(raw(dump), ours(dump), proof()) for _ in range(min(rounds, ROUNDS) + 1)][1:]
    alone, restored, proven = (statistics.median(column) * 1000 for column in zip(*times, strict=True))
    report(f"restore {ROWS:,} memories with vectors", restored, alone, "pg_restore -j2")
    report(f"prove a copy of {ROWS:,} memories with vectors", proven, alone, "pg_restore -j2")
    steps = prove(backup.pk).result["steps"]
    spent = ", ".join(
        f"{step['name']} {duration(step['seconds'])}" for step in steps if step["seconds"] > 0.5
    )
    print(f"<!-- {backup.bytes:,} bytes, {backup.raw_bytes:,} raw; {spent} -->", flush=True)


def _unpack(file: str, target: Path) -> None:
    from django.conf import settings

    from arcweb.backups import streams

    with streams.open_copy(Path(settings.ARC_BACKUP_DIR) / file, compression="zstd") as source:
        target.write_bytes(source.read())
