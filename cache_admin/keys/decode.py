"""What bytes say to a person: JSON, text, a pickle's opcodes, a hex dump. Nothing is ever unpickled. Pure."""

from __future__ import annotations

import json
import pickletools
import re
from dataclasses import dataclass
from typing import Any

from cache_admin.masking import text as escaped_text

#: Bytes of a value that are shown as hexadecimal digits, and characters of an element in a table.
HEX_BYTES, BRIEF = 4096, 600
#: Opcodes and imports of a pickle that are named.
OPCODES, IMPORTS = 40, 20
#: Beginnings of what libraries store.
MAGIC = {
    b"\x1f\x8b": "gzip data",
    b"\x28\xb5\x2f\xfd": "Zstandard data",
    b"\x04\x22\x4d\x18": "LZ4 data",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF-": "a PDF document",
}
HYPERLOGLOG = b"HYLL"


@dataclass(frozen=True)
class Decoded:
    """shape: "json", "text", "pickle" or "binary"; note: what it is, a sentence; text: to be shown."""

    shape: str
    note: str
    text: str


def decode(raw: bytes, *, whole: bool = True) -> Decoded:
    """The value, or with `whole` False its beginning."""
    if not raw:
        return Decoded("text", "The value is empty.", "")
    if raw[:1] == b"\x80" and (pickle := _pickle(raw)):
        return pickle
    if raw.startswith(HYPERLOGLOG):
        return Decoded(
            "binary", "A HyperLogLog: an estimate of how many different things were added.", dump(raw)
        )
    words = _text(raw, whole=whole)
    if words is None:
        kind = next((name for magic, name in MAGIC.items() if raw.startswith(magic)), "no text")
        return Decoded("binary", f"Binary: {kind}; the first {min(len(raw), HEX_BYTES):,} bytes.", dump(raw))
    if whole and words.lstrip()[:1] in ("{", "[", '"') and (pretty := _json(words)) is not None:
        return Decoded("json", "JSON, set out for reading; it is stored as it was written.", pretty)
    return Decoded("text", "Text (UTF-8).", words)


def _text(raw: bytes, *, whole: bool) -> str | None:
    """The bytes as text; None for what is not meant to be read. A cut may have split a character."""
    for end in [len(raw)] if whole else range(len(raw), max(0, len(raw) - 4), -1):
        try:
            words = raw[:end].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return None if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", words) else words
    return None


def _json(words: str) -> str | None:
    try:
        return as_json(json.loads(words), indent=2)
    except (ValueError, RecursionError):
        return None


def as_json(said: Any, indent: int | None = None) -> str:
    """JSON for people. Half of a pair of surrogates, which no page can hold, stays the escape it was."""
    words = json.dumps(said, indent=indent, ensure_ascii=False)
    return words.encode("utf-8", "backslashreplace").decode()


def _pickle(raw: bytes) -> Decoded | None:
    """What a pickle would do, by reading its opcodes; None when the bytes are none."""
    names: list[str] = []
    imports: list[str] = []
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(raw):
            if len(names) < OPCODES:
                names.append(opcode.name)
            if opcode.name in ("GLOBAL", "INST"):
                imports.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                imports.append(".".join(strings[-2:]))
            elif isinstance(argument, str):
                strings = [*strings[-1:], argument]
            if len(imports) >= IMPORTS:
                break
    except (ValueError, IndexError, UnicodeError, OverflowError, MemoryError, NotImplementedError):
        if len(names) < 2:
            return None  # it only begins like one
        names.append("…")
    called = f" Loading it would import {', '.join(imports)}." if imports else ""
    return Decoded(
        "pickle",
        "A Python pickle: not decoded, because loading one runs whatever code it names."
        f"{escaped_text(called.encode('utf-8', 'replace'))}",
        f"Its opcodes: {' '.join(names)}\n\n{dump(raw)}",
    )


def dump(raw: bytes) -> str:
    """Offset, hexadecimal digits and printable characters, sixteen bytes a line."""
    lines = []
    for start in range(0, min(len(raw), HEX_BYTES), 16):
        piece = raw[start : start + 16]
        readable = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in piece)
        lines.append(f"{start:08x}  {piece.hex(' '):<47}  {readable}")
    return "\n".join(lines)


def brief(raw: bytes) -> str:
    """An element for a line of a table; escapes stand for what is no text."""
    words = escaped_text(raw[: 4 * BRIEF])
    return (
        words if len(words) <= BRIEF and len(raw) <= 4 * BRIEF else f"{words[:BRIEF]}… ({len(raw):,} bytes)"
    )


def editable(raw: bytes) -> str | None:
    """The value as a text field of a browser keeps it; None: it would not come back as it was."""
    try:
        words = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\r" in words or "\x00" in words else words
