"""The seal of an installation: of the whole manifest, by our key alone."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from arcweb.backups import seals
from arcweb.backups.manifest import Manifest, Table
from tests.backups.test_manifest import example

CHANGES: dict[str, Any] = {
    "file": replace(example().file, raw_sha256="f" * 64),
    "scope": {"schema": "agents"},
    "taken_at": example().taken_at + timedelta(seconds=1),
    "client": {"outside": "x"},
    "tables": [Table("agents", "agents", 3, "d" * 64)],
    "restore": ["rm -rf ~"],
    "trigger": "found",
    "parent": example().id,
}


def test_what_was_sealed_here_is_ours_also_as_it_is_read() -> None:
    sealed = seals.sealed(example())
    assert replace(sealed, seal="") == example()
    assert seals.is_ours(sealed)
    assert seals.is_ours(Manifest.from_json(sealed.to_json()))
    assert not seals.is_ours(example())


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_changed_breaks_the_seal(name: str) -> None:
    assert name in {one.name for one in fields(Manifest)}
    assert not seals.is_ours(replace(seals.sealed(example()), **{name: CHANGES[name]}))


def test_a_seal_of_another_key_is_none_and_one_of_a_former_key_is(settings: Any) -> None:
    sealed, before = seals.sealed(example()), settings.SECRET_KEY
    settings.SECRET_KEY = "another installation's key, as long as it should be, 0123456789"
    assert not seals.is_ours(sealed)
    settings.SECRET_KEY_FALLBACKS = [before]
    assert seals.is_ours(sealed)
