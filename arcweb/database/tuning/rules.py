"""What each setting should be for a machine and its load, why, and who says so. Pure: imports no Django.

The base are the rules of the PostgreSQL seed ("Performance Tuning"), which the embedded stack starts with
(`arcweb.embedded.memory`, the one formula). A rule that needs what is not known answers Advice(None).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from arcweb.database.tuning.units import words
from arcweb.embedded.memory import GB, KB, MB, RULES

SEED = "The project's seed, “Performance Tuning”."
MANUAL = "PostgreSQL's manual"
#: Settings in bytes, milliseconds or plain numbers (`units.base`); booleans as 0 and 1, words as they are.
Values = Mapping[str, float]


@dataclass(frozen=True)
class Machine:
    """The server's machine; `ram` in bytes, None: unknown."""

    ram: int | None
    cores: int | None
    source: str  #: "measured on this machine", "as stated …"


@dataclass(frozen=True)
class Load:
    """What was measured; None: not known yet."""

    peak_connections: int | None = None  #: highest of the samples of the last week
    wal_per_second: float | None = None  #: bytes, the busiest hour of the last week
    temp_per_day: float | None = None  #: bytes of temporary files
    largest_table: float | None = None  #: rows
    hit_share: float | None = None  #: percent of pages found in shared_buffers


@dataclass(frozen=True)
class Advice:
    """`value` None: nothing is recommended, `why` says why. `fits`: the present value does as well."""

    value: float | None
    why: str
    source: str = ""
    fits: bool | None = None


@dataclass(frozen=True)
class Worst:
    """Memory that PostgreSQL takes at worst, in bytes, as a sum of named parts."""

    parts: tuple[tuple[str, str, float], ...]  #: (name, how it is computed, bytes)

    @property
    def total(self) -> float:
        return sum(size for _, _, size in self.parts)


Rule = Callable[[Machine, Load, Values], Advice]
NO_RAM = "The memory of the server's machine is not known: state it above."
NO_CORES = "The cores of the server's machine are not known: state them above."


def seeded(name: str, ram: int) -> float:
    """The seed's formula for one of RULES, in whole MB."""
    share, floor, ceiling = RULES[name]
    return int(min(max(ram * share, floor), ceiling)) // MB * MB


def worst_case(values: Values, connections: float) -> Worst:
    """With so many connections, each in one sort or hash; a complex statement may have several at once."""
    per_hash = values["work_mem"] * max(values.get("hash_mem_multiplier", 2.0), 1.0)
    maintenance = values["maintenance_work_mem"]
    vacuum = values.get("autovacuum_work_mem", -1)
    vacuum = maintenance if vacuum < 0 else vacuum
    workers = values.get("autovacuum_max_workers", 3)
    parallel = values.get("max_parallel_workers", 0)
    return Worst(
        (
            ("shared_buffers", "once, for all", values["shared_buffers"]),
            (
                "sorts and hashes",
                f"{connections:g} connections x work_mem x hash_mem_multiplier",
                connections * per_hash,
            ),
            ("parallel workers", f"{parallel:g} x work_mem x hash_mem_multiplier", parallel * per_hash),
            (
                "temp_buffers",
                f"{connections:g} connections x temp_buffers",
                connections * values.get("temp_buffers", 0),
            ),
            ("autovacuum", f"{workers:g} workers x {words(vacuum, 'B')}", workers * vacuum),
            ("maintenance", "one VACUUM or CREATE INDEX by hand", maintenance),
        )
    )


def shared_buffers(machine: Machine, load: Load, now: Values) -> Advice:
    if machine.ram is None:
        return Advice(None, NO_RAM)
    value = seeded("shared_buffers", machine.ram)
    have = now.get("shared_buffers", 0)
    # The manual: 25 % to begin with, and more than 40 % is unlikely to work better.
    fits = 0.8 * value <= have <= max(value, min(0.4 * machine.ram, 1.6 * RULES["shared_buffers"][2]))
    hits = (
        "" if load.hit_share is None else f" {load.hit_share:.1f} % of the pages asked for were found in it."
    )
    return Advice(
        value,
        f"25 % of {words_of(machine.ram)} of memory, 16 GB at most: beyond, the kernel's cache does as "
        f"well.{hits}",
        f"{SEED} {MANUAL} 19.4: 25 % to begin with, more than 40 % is unlikely to work better.",
        fits,
    )


def effective_cache_size(machine: Machine, load: Load, now: Values) -> Advice:
    if machine.ram is None:
        return Advice(None, NO_RAM)
    value = seeded("effective_cache_size", machine.ram)
    have = now.get("effective_cache_size", 0)
    return Advice(
        value,
        f"60 % of {words_of(machine.ram)}: what PostgreSQL and the kernel cache together. It takes no "
        "memory, it "
        "tells the planner what an index scan will find in memory.",
        f"{SEED} 50-75 % of memory.",
        min(0.5 * machine.ram, value) <= have <= max(0.75 * machine.ram, value),
    )


def work_mem(machine: Machine, load: Load, now: Values) -> Advice:
    """The seed's ratio, halved until the worst case at the peak of connections fits into memory."""
    if machine.ram is None:
        return Advice(None, NO_RAM)
    value = seeded("work_mem", machine.ram)
    asked = "the seed's ratio, 1/16 of shared_buffers"
    spilled = load.temp_per_day is not None and load.temp_per_day >= GB
    if spilled and value < RULES["work_mem"][2]:
        value = min(value * 2, RULES["work_mem"][2])
        spilled_words = words_of(load.temp_per_day or 0)
        asked = f"twice the seed's ratio, since statements spill {spilled_words} a day to files"
    known = load.peak_connections is not None
    connections = (
        load.peak_connections if load.peak_connections is not None else now.get("max_connections", 100)
    )
    # Only what others take is given; shared_buffers and maintenance as the seed has them.
    planned = {
        **now,
        "shared_buffers": seeded("shared_buffers", machine.ram),
        "maintenance_work_mem": seeded("maintenance_work_mem", machine.ram),
    }
    cut = False
    while (
        value > RULES["work_mem"][1]
        and worst_case({**planned, "work_mem": value}, connections).total > machine.ram
    ):
        value, cut = max(value / 2, RULES["work_mem"][1]), True
    value = math.floor(value / MB) * MB
    have = now.get("work_mem", 0)
    fits = value / 2 <= have <= value * 2 and not (
        have > value and worst_case({**planned, "work_mem": have}, connections).total > machine.ram
    )
    at = f"the peak of {connections:g} connections" if known else f"all {connections:g} connections"
    why = f"{asked[0].upper()}{asked[1:]}, between 4 MB and 64 MB."
    if cut:
        why = f"{why[:-1]}; less than that, so that {at} fit into memory at worst."
    return Advice(value, why, f"{SEED} {MANUAL} 19.4: each sort or hash of each session may use it.", fits)


def maintenance_work_mem(machine: Machine, load: Load, now: Values) -> Advice:
    if machine.ram is None:
        return Advice(None, NO_RAM)
    value = seeded("maintenance_work_mem", machine.ram)
    have = now.get("maintenance_work_mem", 0)
    return Advice(
        value,
        "Half of shared_buffers by the seed's ratio, 2 GB at most: VACUUM, CREATE INDEX. An HNSW index "
        "that does not "
        "fit into it is built many times slower (pgvector says so in a notice).",
        SEED,
        value / 2 <= have <= value * 2,
    )


def autovacuum_work_mem(machine: Machine, load: Load, now: Values) -> Advice:
    """As maintenance_work_mem, unless all workers together would take half of the memory."""
    if machine.ram is None:
        return Advice(None, NO_RAM)
    workers = max(1.0, now.get("autovacuum_max_workers", 3))
    maintenance = now.get("maintenance_work_mem", seeded("maintenance_work_mem", machine.ram))
    have = now.get("autovacuum_work_mem", -1)
    limit = machine.ram / 2
    takes = workers * (maintenance if have < 0 else have)
    source = f"{MANUAL} 19.4: up to autovacuum_max_workers times this memory may be taken."
    if workers * maintenance <= limit:
        return Advice(
            -1,
            "As maintenance_work_mem: all workers together take less than half of memory.",
            source,
            takes <= limit,
        )
    value = max(1 * MB, math.floor(limit / workers / MB) * MB)
    return Advice(
        value,
        f"{workers:g} workers with maintenance_work_mem would take {words_of(workers * maintenance)}; this "
        "is half of "
        "memory between them.",
        source,
        takes <= limit * 1.1,
    )


def max_connections(machine: Machine, load: Load, now: Values) -> Advice:
    have = now.get("max_connections", 100)
    if load.peak_connections is None:
        return Advice(None, "No samples of connections yet: they are taken every 30 s.")
    peak = load.peak_connections
    if peak <= 0.8 * have:
        return Advice(
            have,
            f"The peak of the last week was {peak}, below 80 % of the maximum. A pooler (PgBouncer) serves "
            "more "
            "clients better than more connections.",
            "Each connection is a process; 80 % is our own threshold.",
            True,
        )
    value = math.ceil(peak / 0.6 / 10) * 10
    return Advice(
        value,
        f"The peak of the last week was {peak} of {have:g}: so that it is 60 %.",
        "Our own threshold: the peak below 80 %. Mind the worst case above.",
        False,
    )


def max_wal_size(machine: Machine, load: Load, now: Values) -> Advice:
    """Room for the WAL of one checkpoint interval and the next one's spreading, at the busiest hour."""
    have = now.get("max_wal_size", 0)
    if load.wal_per_second is None:
        return Advice(None, "No samples of the WAL yet: they are taken every 30 s.")
    interval = now.get("checkpoint_timeout", 300_000) / 1000
    spread = 1 + now.get("checkpoint_completion_target", 0.9)
    needed = load.wal_per_second * interval * spread * 1.25
    value = min(max(1 * GB, math.ceil(needed / GB) * GB), 64 * GB)
    return Advice(
        value,
        f"{words_of(load.wal_per_second)} of WAL a second in the busiest hour of the week, for one "
        "checkpoint "
        f"interval of {words(interval * 1000, 'ms')} and the writing of the one before, a quarter to spare.",
        f"{MANUAL} 28.5: checkpoints should come by time, not because the WAL is full.",
        have >= min(value, needed) and have >= 1 * GB,
    )


def parallel(name: str, share: float, most: int, default: int) -> Rule:
    def rule(machine: Machine, load: Load, now: Values) -> Advice:
        if machine.cores is None:
            return Advice(None, NO_CORES)
        value = float(min(most, max(1, math.ceil(machine.cores * share))))
        have = now.get(name, 0)
        return Advice(
            value,
            f"For {machine.cores} core{'' if machine.cores == 1 else 's'}: more workers than cores only "
            "wait for "
            "each other.",
            "PgTune's rule: the cores, and half of them, at most 4, for one statement.",
            have <= max(value, default) if have >= 1 else value <= 1,
        )

    return rule


def max_worker_processes(machine: Machine, load: Load, now: Values) -> Advice:
    if machine.cores is None:
        return Advice(None, NO_CORES)
    value = float(max(8, machine.cores))
    return Advice(
        value,
        "PostgreSQL's default of 8, or one for each core: parallel workers and extensions come out of it.",
        "PgTune's rule.",
        now.get("max_worker_processes", 0) >= value,
    )


def scale_factor(name: str, small: float, large: float) -> Rule:
    def rule(machine: Machine, load: Load, now: Values) -> Advice:
        if load.largest_table is None:
            return Advice(None, "How large the tables are is not known.")
        value = large if load.largest_table >= 1_000_000 else small
        have = now.get(name, small)
        size = f"the largest table has about {load.largest_table:,.0f} rows"
        return Advice(
            value,
            f"{value * 100:g} % of a table may change before autovacuum looks at it; {size}.",
            f"{MANUAL} 19.10, the default {small:g}; from a million rows on less, as its chapter on "
            "vacuuming advises.",
            0 < have <= value,
        )

    return rule


def fixed(value: float, why: str, source: str, low: float, high: float, name: str) -> Rule:
    """The same for every machine; anything between `low` and `high` does as well."""

    def rule(machine: Machine, load: Load, now: Values) -> Advice:
        have = now.get(name)
        return Advice(value, why, source, None if have is None else low <= have <= high)

    return rule


def free(why: str) -> Rule:
    """Nothing is recommended."""

    def rule(machine: Machine, load: Load, now: Values) -> Advice:
        return Advice(None, why)

    return rule


def words_of(value: float) -> str:
    """Bytes for people."""
    for name, factor in (("GB", GB), ("MB", MB), ("kB", KB)):
        if value >= factor:
            return f"{value / factor:.3g} {name}"
    return f"{value:.0f} B"
