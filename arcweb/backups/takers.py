"""Who takes copies in which format, by the names of their functions: nothing is imported before it is needed.

Pure, so that apps.py registers what there is without the weight of it.
"""

from __future__ import annotations

from collections.abc import Sequence

SOURCES_OF = {"rdb": ("redis-cache", "redis-state")}
_takers: dict[str, str] = {}


def register_taker(formats: Sequence[str], path: str) -> None:
    """The function at `path` ("package.module.name"), which is given an arcweb.backups.taking.Work and
    returns a Manifest, takes copies in these formats."""
    for name in formats:
        _takers[name] = path


def taker(source: str, format_: str) -> str | None:
    """Its path, or None when that source cannot be taken in that format."""
    return _takers.get(format_) if source in sources(format_) else None


def sources(format_: str) -> tuple[str, ...]:
    return SOURCES_OF.get(format_, ("postgres",))


def formats(source: str) -> list[str]:
    """In which that source can be taken."""
    return [name for name in _takers if source in sources(name)]
