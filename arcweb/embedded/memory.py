"""PostgreSQL's memory settings from the size of the machine. Pure but for the two readers.

The rules are those of the PostgreSQL seed ("Performance Tuning"): shared_buffers 25 % of RAM,
effective_cache_size 50-75 %. Its example (256MB, 1GB, 16MB, 128MB) also gives the ratios of work_mem
and maintenance_work_mem to shared_buffers: 1/16 and 1/2.
"""

from __future__ import annotations

from pathlib import Path

import psutil

KB = 1024
MB = 1024 * KB
GB = 1024 * MB

#: setting → (share of RAM, floor, ceiling in bytes). Floors: PostgreSQL's own defaults for
#: shared_buffers, work_mem and maintenance_work_mem, the seed's example for effective_cache_size.
#: Ceilings: past 16 GB of shared_buffers the kernel's cache does as well; work_mem counts once for
#: each sort of each of 100 connections; a build of a vector index seldom uses more than 2 GB.
RULES = {
    "shared_buffers": (0.25, 128 * MB, 16 * GB),
    "effective_cache_size": (0.60, 256 * MB, 1024 * GB),
    "work_mem": (0.25 / 16, 4 * MB, 64 * MB),
    "maintenance_work_mem": (0.25 / 2, 64 * MB, 2 * GB),
}


def memory_settings(total: int) -> dict[str, str]:
    """Settings for a machine with `total` bytes of memory, each in whole MB with its unit."""
    return {
        name: f"{int(min(max(total * share, floor), ceiling)) // MB}MB"
        for name, (share, floor, ceiling) in RULES.items()
    }


def usable_memory() -> int:
    """Bytes this process may use: the machine's RAM, or the cgroup v2 limit when that is lower."""
    limit = cgroup_limit(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    total: int = psutil.virtual_memory().total
    return min(total, limit) if limit is not None else total


def cgroup_limit(membership: Path, root: Path) -> int | None:
    """The lowest memory.max from this process's cgroup up to the root, in bytes; None: no limit.

    membership: a file like /proc/self/cgroup; root: where cgroup v2 is mounted.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if own is None:
        return None
    limits = []
    for folder in (root / own, *(root / own).parents):
        if not folder.is_relative_to(root):
            break
        try:
            text = (folder / "memory.max").read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits, default=None)
