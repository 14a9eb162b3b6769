"""The lock of the extra "s3", which is kept by hand beside the two that are compiled."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"(?m)^([\w.-]+)==(\S+).*((?:\n +--hash=\S+(?: \\)?)+)")


def pins(name: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Package to its version and hashes."""
    return {
        package: (version, frozenset(re.findall(r"--hash=(\S+)", hashes)))
        for package, version, hashes in PINNED.findall((ROOT / name).read_text())
    }


def needed(requirement: str) -> set[str]:
    """What that requirement brings along here, itself included."""
    name = canonicalize_name(Requirement(requirement).name)
    found: set[str] = {name}
    for each in requires(name) or []:
        other = Requirement(each)
        if other.marker is None or other.marker.evaluate({"extra": ""}):
            found |= needed(each)
    return found


def test_the_lock_of_the_store_is_what_its_extra_adds() -> None:
    [extra] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["s3"]
    assert set(pins("requirements-s3.lock")) == needed(extra) - set(pins("requirements.lock"))


def test_the_store_is_tested_with_the_versions_of_its_lock() -> None:
    tested = pins("requirements-test.lock")
    for package, pinned in pins("requirements-s3.lock").items():
        assert pinned == tested[package], package
        assert pinned[1], package
