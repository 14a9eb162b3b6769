"""What bytes say, and that a pickle is never loaded."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from cache_admin.keys.decode import brief, decode, dump, editable


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_named_and_not_loaded(tmp_path: Path, protocol: int) -> None:
    raw = pickle.dumps(Bomb(tmp_path / "ran"), protocol)
    found = decode(raw)
    assert found.shape == "pickle"
    assert "posix.system" in found.note
    assert "REDUCE" in found.text
    assert not (tmp_path / "ran").exists()


def test_a_torn_pickle_is_named_too() -> None:
    assert decode(pickle.dumps({"a": list(range(1000))})[:300], whole=False).shape == "pickle"


def test_bytes_that_only_begin_like_a_pickle() -> None:
    assert decode(b"\x80\xff\xff\xff").shape == "binary"


def test_json_is_set_out() -> None:
    assert decode(b'{"a":[1,2]}').text == '{\n  "a": [\n    1,\n    2\n  ]\n}'
    assert decode(b"{not json").shape == "text"
    assert decode(b'{"a":1}', whole=False).shape == "text"
    assert decode(b"[" * 60_000).shape == "text"


def test_text_whose_last_character_was_cut() -> None:
    raw = "ä€".encode()[:-1]
    assert decode(raw, whole=False).text == "ä"
    assert decode(raw).shape == "binary"


def test_a_hex_dump() -> None:
    assert dump(b"\x00AB\xff" + b"z" * 16).splitlines()[0].endswith("  .AB.zzzzzzzzzzzz")
    assert decode(b"\x1f\x8b\x00\x00").note.startswith("Binary: gzip data")


def test_what_a_text_field_would_change_is_not_editable() -> None:
    assert editable(b"a\r\nb") is None
    assert editable(b"\xff") is None
    assert editable(b"a\x00") is None
    assert editable("ä\n".encode()) == "ä\n"


def test_an_element_is_cut() -> None:
    assert brief(b"<b>\n\x00") == "<b>\\n\\x00"
    assert brief(b"x" * 10_000).endswith("… (10,000 bytes)")
