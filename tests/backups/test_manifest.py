"""Manifests: the same out as in, and nothing believed of what comes from outside."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arcweb.backups import manifest
from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.manifest import File, Manifest, Sequence, Table

ID = uuid.UUID("1a2b3c4d-0000-4000-8000-000000000000")
NOW = datetime(2026, 11, 23, 7, 0, 5, tzinfo=UTC)


def example() -> Manifest:
    name = manifest.file_name("postgres", "custom", ID, NOW, encrypted=True)
    return Manifest(
        id=str(ID),
        source="postgres",
        format="custom",
        taken_at=NOW,
        started_at=NOW,
        finished_at=NOW,
        seconds=1.5,
        file=File(name, 10, "a" * 64, 20, "b" * 64, "zstd", "age"),
        tables=[Table("agents", "agents", 3, "c" * 64)],
        sequences=[Sequence("public", "ids", None)],
        extensions={"vector": "0.8.1"},
    )


def test_names_say_what_a_copy_is() -> None:
    name = example().file.name
    assert name == "postgres-20261123T070005Z-1a2b3c4d.dump.zst.age"
    assert manifest.manifest_name(name) == "postgres-20261123T070005Z-1a2b3c4d.manifest.json"


def test_the_same_comes_back(tmp_path: Path) -> None:
    written = example().write(tmp_path)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert manifest.read(path) == (example(), written)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"made_by": "somebody"}, "none of this program"),
        ({"id": "../../etc/passwd"}, "no UUID"),
        ({"source": "mysql"}, "unknown"),
        ({"source": "redis-state"}, "No copy of redis-state"),
        ({"format": "rdb"}, "No copy of postgres"),
        ({"taken_at": "yesterday"}, "time"),
        ({"file": {"name": "x"}}, "missing"),
        ({"tables": [{"schema": "a", "name": "b", "rows": "many", "sha256": ""}]}, "wrong kind"),
        ({"seconds": None}, "wrong kind"),
        ({"extensions": [1]}, "wrong kind"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(CorruptCopy, match=words):
        Manifest.from_json(example().to_json() | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (b'"physical": {"a": NaN}', "cannot be kept"),
        (b'"physical": {"a": -1e999}', "cannot be kept"),
        (rb'"notes": ["\ud800"]', "cannot be kept"),
        (rb'"notes": ["a\\\u0000"]', "NUL"),
        (b'"taken_at": "0001-01-01T00:00:00+14:00"', "no year"),
        (b'"finished_at": "9999-12-31T23:59:59"', "no year"),
        (
            (
                b'"file": {"name": "NAME", "bytes": 1, "raw_bytes": 9223372036854775808,'
                b' "sha256": "", "raw_sha256": "", "compression": "zstd"}'
            ),
            "no file has",
        ),
    ],
)
def test_what_the_catalogue_could_not_keep_is_refused(change: bytes, words: str) -> None:
    """One such manifest in the folder would end every scan, or every page with a list."""
    whole = example().to_bytes().rstrip()[:-1] + b', "redis": {"a": "\\\\u0000"}}'
    assert manifest.parse(whole)[0].redis == {"a": r"\u0000"}
    told = change.replace(b"NAME", example().file.name.encode())
    with pytest.raises(CorruptCopy, match=words):
        manifest.parse(whole[:-1] + b", " + told + b"}")


@pytest.mark.parametrize(
    "name", ["../../x.dump.zst", "postgres.dump.zst", "postgres-20261123T070005Z-1a2b3c4d.dump.zst/../x", ""]
)
def test_no_file_elsewhere_is_meant(name: str) -> None:
    found = example().to_json()
    found["file"]["name"] = name
    with pytest.raises(CorruptCopy, match="none that a copy has"):
        Manifest.from_json(found)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "name", "x"]), inner),
    max_leaves=6,
)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(example().to_json())), JSON, max_size=4))
def test_anything_else_is_refused_in_words(change: dict[str, Any]) -> None:
    found = json.dumps(example().to_json() | change).encode()
    with suppress(CorruptCopy):  # and nothing else
        read, _ = manifest.parse(found)
        assert read.source in manifest.SOURCES


def test_more_than_the_longest_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    example().write(tmp_path)
    (path,) = tmp_path.iterdir()
    length = path.stat().st_size
    monkeypatch.setattr(manifest, "LONGEST", length)
    assert manifest.read(path)[0] == example()
    monkeypatch.setattr(manifest, "LONGEST", length - 1)
    with pytest.raises(CorruptCopy, match="longer than any"):
        manifest.read(path)


def test_no_json_is_no_manifest() -> None:
    for text in (b"", b"\xff", b"[" * 100_000, b"3"):
        with pytest.raises(CorruptCopy):
            manifest.parse(text)
