"""The rules hold for every machine and load: in bounds, in step with the embedded stack, never a guess."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcweb.database.tuning import rules, units
from arcweb.database.tuning.catalogue import SETTINGS
from arcweb.database.tuning.rules import Load, Machine
from arcweb.embedded.memory import GB, KB, MB, memory_settings

machines = st.builds(Machine, st.integers(128 * MB, 4096 * GB), st.integers(1, 512), st.just("measured"))
loads = st.builds(
    Load,
    st.none() | st.integers(0, 5000),
    st.none() | st.floats(0, 10 * GB),
    st.none() | st.floats(0, 1000 * GB),
    st.none() | st.floats(0, 1e10),
    st.none() | st.floats(0, 100),
)
DEFAULTS = {
    "shared_buffers": 128.0 * MB,
    "effective_cache_size": 4.0 * GB,
    "work_mem": 4.0 * MB,
    "hash_mem_multiplier": 2.0,
    "maintenance_work_mem": 64.0 * MB,
    "autovacuum_work_mem": -1.0,
    "temp_buffers": 8.0 * MB,
    "max_connections": 100.0,
    "autovacuum_max_workers": 3.0,
    "max_parallel_workers": 8.0,
    "checkpoint_timeout": 300_000.0,
    "checkpoint_completion_target": 0.9,
    "max_wal_size": 1.0 * GB,
}
values = st.fixed_dictionaries(
    {
        name: st.floats(0, 2.0 * GB) if name.endswith(("mem", "buffers")) else st.just(value)
        for name, value in DEFAULTS.items()
    }
)


@settings(max_examples=40)
@given(machines, loads, values)
def test_every_rule_answers_with_a_reason(machine: Machine, load: Load, now: dict[str, float]) -> None:
    for setting in SETTINGS.values():
        advice = setting.rule(machine, load, now)
        assert advice.why
        if advice.value is not None:
            assert advice.source, setting.name
            assert advice.value >= -1


@settings(max_examples=40)
@given(machines, loads)
def test_what_is_recommended_fits(machine: Machine, load: Load) -> None:
    """A rule that calls its own advice wrong would never be content."""
    now = dict(DEFAULTS)
    for name, setting in SETTINGS.items():
        advice = setting.rule(machine, load, now)
        if advice.value is not None:
            again = setting.rule(machine, load, {**now, name: advice.value})
            assert again.fits, (name, advice, again)


@given(st.integers(256 * MB, 4096 * GB))
def test_the_memory_is_what_the_embedded_stack_starts_with(ram: int) -> None:
    machine, quiet = Machine(ram, 4, ""), Load(peak_connections=1)
    for name, text in memory_settings(ram).items():
        advice = SETTINGS[name].rule(machine, quiet, DEFAULTS | {"max_parallel_workers": 0})
        if name == "work_mem" and advice.value != units.amount(text, "kB"):
            assert advice.value is not None
            assert advice.value < (units.amount(text, "kB") or 0), "only the worst case makes it smaller"
        else:
            assert advice.value == units.amount(text, "kB")


@settings(max_examples=40)
@given(machines, st.integers(1, 1000))
def test_work_mem_keeps_the_worst_case_in_memory_where_it_can(machine: Machine, peak: int) -> None:
    advice = rules.work_mem(machine, Load(peak_connections=peak), DEFAULTS)
    assert advice.value is not None
    assert machine.ram is not None
    assert 4 * MB <= advice.value <= 64 * MB
    planned = DEFAULTS | {
        "work_mem": advice.value,
        "shared_buffers": rules.seeded("shared_buffers", machine.ram),
        "maintenance_work_mem": rules.seeded("maintenance_work_mem", machine.ram),
    }
    assert advice.value == 4 * MB or rules.worst_case(planned, peak).total <= machine.ram


@settings(max_examples=40)
@given(loads, values)
def test_nothing_is_guessed_of_an_unknown_machine(load: Load, now: dict[str, float]) -> None:
    unknown = Machine(None, None, "not known")
    for name in (
        "shared_buffers",
        "effective_cache_size",
        "work_mem",
        "maintenance_work_mem",
        "max_parallel_workers",
    ):
        assert SETTINGS[name].rule(unknown, load, now).value is None
    none = Load()
    assert SETTINGS["max_connections"].rule(unknown, none, now).value is None
    assert SETTINGS["max_wal_size"].rule(unknown, none, now).value is None


@settings(max_examples=40)
@given(machines, st.integers(0, 1000), st.integers(1, 1000))
def test_the_worst_case_grows_with_connections(machine: Machine, fewer: int, more: int) -> None:
    assert rules.worst_case(DEFAULTS, fewer).total <= rules.worst_case(DEFAULTS, fewer + more).total
    expected = sum(size for _, _, size in rules.worst_case(DEFAULTS, fewer).parts)
    assert rules.worst_case(DEFAULTS, fewer).total == expected


def test_the_worst_case_by_hand() -> None:
    worst = rules.worst_case(DEFAULTS, 100)
    assert {name: size for name, _, size in worst.parts} == {
        "shared_buffers": 128 * MB,
        "sorts and hashes": 100 * 8 * MB,
        "parallel workers": 8 * 8 * MB,
        "temp_buffers": 100 * 8 * MB,
        "autovacuum": 3 * 64 * MB,
        "maintenance": 64 * MB,
    }


def test_load_moves_the_advice() -> None:
    machine, alone = Machine(2 * GB, 4, ""), DEFAULTS | {"max_parallel_workers": 0}
    calm = rules.work_mem(machine, Load(peak_connections=1, temp_per_day=0), alone)
    spilling = rules.work_mem(machine, Load(peak_connections=1, temp_per_day=5 * GB), alone)
    assert spilling.value == 2 * (calm.value or 0)
    assert "5 GB a day" in spilling.why
    crowded = rules.max_connections(machine, Load(peak_connections=95), DEFAULTS)
    assert (crowded.value, crowded.fits) == (160, False)
    busy = rules.max_wal_size(machine, Load(wal_per_second=20 * MB), DEFAULTS)
    assert (busy.value, busy.fits) == (14 * GB, False)
    large = dataclasses.replace(Load(), largest_table=5e6)
    assert SETTINGS["autovacuum_vacuum_scale_factor"].rule(machine, large, DEFAULTS).value == 0.05


@given(st.integers(1, 1 << 40), st.sampled_from(["B", "kB", "8kB", "MB"]))
def test_amounts_survive_being_written(number: int, unit: str) -> None:
    value = units.base(str(number), unit)
    assert value is not None
    assert units.amount(units.words(value, unit), unit) == value


@given(st.integers(1, 1 << 40), st.sampled_from(["ms", "s", "min"]))
def test_times_survive_being_written(number: int, unit: str) -> None:
    value = units.base(str(number), unit)
    assert value is not None
    assert units.amount(units.words(value, unit), unit) == value


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("256MB", "8kB", 256 * MB),
        ("16384", "8kB", 128 * MB),
        ("-1", "8kB", -1),
        ("0", "ms", 0),
        ("5min", "ms", 300_000),
        ("1.5GB", "kB", 1.5 * GB),
        ("100", "", 100),
        ("256mb", "8kB", None),
        ("5 min", "ms", 300_000),
        ("1GB; DROP", "kB", None),
        ("lots", "kB", None),
        ("3s", "kB", None),
        ("3MB", "", None),
        ("", "kB", None),
    ],
)
def test_what_people_type(text: str, unit: str, expected: float | None) -> None:
    assert units.amount(text, unit) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16GB", 16 * GB),
        ("2g", 2 * GB),
        ("512 MiB", 512 * MB),
        ("1.5t", 1536 * GB),
        ("64kb", 64 * KB),
        ("16", None),
        ("much", None),
    ],
)
def test_sizes_of_machines(text: str, expected: int | None) -> None:
    assert units.memory(text) == expected
