r"""Bytes as a person types them: text as it stands, or with \xff, \n, \r, \t and \\ for a backslash.

Pure. `written(raw)` and `read(text, escaped)` are each other's inverse for any bytes.
"""

from __future__ import annotations

import re

CONTROLS = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\"}
LETTERS = {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([nrt\\])|(.?))", re.DOTALL)


def written(raw: bytes) -> str:
    """Any bytes in one line; read(…, escaped=True) gives them back."""
    said = []
    for character in raw.decode("utf-8", "surrogateescape"):
        if character in CONTROLS:
            said.append(CONTROLS[character])
        elif character.isprintable():
            said.append(character)
        else:
            encoded = character.encode("utf-8", "surrogateescape")
            said.append("".join(f"\\x{byte:02x}" for byte in encoded))
    return "".join(said)


def read(text: str, *, escaped: bool) -> bytes:
    r"""What was typed. Raises ValueError with a sentence for a backslash that begins no escape."""
    if not escaped:
        return text.encode("utf-8")
    raw, position = b"", 0
    for found in ESCAPE.finditer(text):
        raw += text[position : found.start()].encode("utf-8")
        position = found.end()
        if found[1]:
            raw += bytes.fromhex(found[1])
        elif found[2]:
            raw += LETTERS[found[2]]
        else:
            raise ValueError(
                rf"The backslash before {found[3] or 'the end'!r} begins none of \xff, \n, \r, \t; "
                r"a backslash itself is \\."
            )
    return raw + text[position:].encode("utf-8")


def plain(raw: bytes) -> bool:
    """Whether a text field of a browser gives these bytes back as they were."""
    try:
        words = raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", words)
