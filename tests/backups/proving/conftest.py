from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from arcweb.backups import scratch
from tests.backups.proving import sample


@dataclass(frozen=True)
class Sample:
    """A database and dumps of it: of the custom format, and as SQL."""

    name: str
    custom: bytes
    plain: bytes
    facts: dict[str, Any]

    def raw(self, format_: str) -> bytes:
        return self.custom if format_ == "custom" else self.plain


@pytest.fixture(scope="session")
def source() -> Iterator[Sample]:
    """Nobody changes it."""
    with sample.database() as name:
        yield Sample(name, sample.dump(name), sample.dump(name, "plain"), sample.facts(name))


@pytest.fixture
def made(source: Sample, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the scratch databases that are made in a test."""
    names: list[str] = []
    create = scratch.create

    def told(connection: psycopg.Connection[Any], name: str) -> None:
        create(connection, name)
        names.append(name)

    monkeypatch.setattr(scratch, "create", told)
    return names


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """The folder of the backups, empty."""
    place = tmp_path / "backups"
    place.mkdir(mode=0o700)
    settings.ARC_BACKUP_DIR = place
    return place
