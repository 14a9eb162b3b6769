"""Memory settings follow the machine by the seed's rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arcweb.embedded.memory import GB, MB, RULES, cgroup_limit, memory_settings, usable_memory


@pytest.mark.parametrize(
    ("total", "shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem"),
    [
        (1 * GB, "256MB", "614MB", "16MB", "128MB"),  # the seed's example, its cache at 60 %
        (256 * MB, "128MB", "256MB", "4MB", "64MB"),  # the floors
        (8 * GB, "2048MB", "4915MB", "64MB", "1024MB"),
        (512 * GB, "16384MB", "314572MB", "64MB", "2048MB"),  # the ceilings
    ],
)
def test_settings_of_machines(
    total: int, shared_buffers: str, effective_cache_size: str, work_mem: str, maintenance_work_mem: str
) -> None:
    assert memory_settings(total) == {
        "shared_buffers": shared_buffers,
        "effective_cache_size": effective_cache_size,
        "work_mem": work_mem,
        "maintenance_work_mem": maintenance_work_mem,
    }


@given(st.integers(min_value=1, max_value=4096 * GB))
def test_every_setting_stays_between_floor_and_ceiling(total: int) -> None:
    for name, value in memory_settings(total).items():
        _, floor, ceiling = RULES[name]
        assert floor <= int(value.removesuffix("MB")) * MB <= ceiling


def test_the_lowest_limit_of_the_cgroups_above_counts(tmp_path: Path) -> None:
    inner = tmp_path / "cgroup" / "pod" / "container"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text(f"{2 * GB}\n")
    membership = tmp_path / "self"
    membership.write_text("9:cpu:/old\n0::/pod/container\n")
    assert cgroup_limit(membership, tmp_path / "cgroup") == 2 * GB


def test_no_limit_is_none(tmp_path: Path) -> None:
    assert cgroup_limit(tmp_path / "missing", tmp_path) is None
    (tmp_path / "self").write_text("0::/\n")
    assert cgroup_limit(tmp_path / "self", tmp_path) is None


def test_this_machine_has_memory() -> None:
    assert usable_memory() > 128 * MB
