"""What a person may give to be ingested, and a sentence for everything else. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath

#: Suffixes that are taken, and what they are.
MEDIA_TYPES = {
    ".txt": "text/plain",
    ".text": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
}
LONGEST_NAME = 255


class UploadError(ValueError):
    """It cannot be ingested; the message names what is wrong and how to mend it."""


@dataclass(frozen=True)
class TextUpload:
    """A text that can be ingested. `name` is a plain file name, `size` in bytes of UTF-8."""

    name: str
    media_type: str
    text: str
    size: int

    @property
    def content_hash(self) -> bytes:
        """sha256 of the text in UTF-8, 32 bytes."""
        return hashlib.sha256(self.text.encode()).digest()


def check_name(name: str) -> str:
    """The name, if it is one plain file or title name. Raises UploadError."""
    if not name.strip():
        raise UploadError("The document has no name; give it one, such as handbook.md.")
    if "/" in name or "\\" in name or name in (".", ".."):
        raise UploadError(
            f"The name {name!r} contains a path; give the file's own name, such as handbook.md."
        )
    if any(not character.isprintable() for character in name):
        raise UploadError(f"The name {name!r} contains characters that cannot be shown; rename the file.")
    if len(name) > LONGEST_NAME:
        raise UploadError(f"The name is {len(name)} characters long; {LONGEST_NAME} are the most.")
    return name.strip()


def name_for(text: str) -> str:
    """A name for a pasted text that came without one: its beginning."""
    kept = "".join(c if c.isprintable() and c not in "/\\" else " " for c in text[:400])
    return f"{' '.join(kept.split())[:60].strip('. ') or 'pasted text'}.txt"


def check_size(name: str, size: int, limit_mb: int) -> None:
    """Raises UploadError when `size` in bytes is over the limit; call it before reading."""
    if size > limit_mb * 1024 * 1024:
        raise UploadError(
            f"{name!r} has {size / 1024 / 1024:.1f} MB and {limit_mb} MB is the most; split it, "
            "or raise ARC_MAX_UPLOAD_MB."
        )


def from_bytes(name: str, data: bytes, *, limit_mb: int) -> TextUpload:
    """The upload as text. Raises UploadError with a sentence: name, suffix, size, empty, binary, encoding."""
    name = check_name(name)
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in MEDIA_TYPES:
        raise UploadError(
            f"{name!r} is not a text file that can be ingested; {', '.join(MEDIA_TYPES)} can be."
        )
    check_size(name, len(data), limit_mb)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UploadError(f"{name!r} is UTF-16; save it as UTF-8.")
    if b"\x00" in data:
        raise UploadError(f"{name!r} is binary (it holds zero bytes), not text.")
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        raise UploadError(
            f"{name!r} is not valid UTF-8: the byte at {error.start} does not belong there; save it as UTF-8."
        ) from error
    return from_text(name, text, limit_mb=limit_mb, media_type=MEDIA_TYPES[suffix])


def from_text(name: str, text: str, *, limit_mb: int, media_type: str = "text/plain") -> TextUpload:
    """A pasted text; its lines end with \n, whatever it had. Raises UploadError like `from_bytes`."""
    name = check_name(name)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    size = len(text.encode("utf-8", "surrogatepass"))
    check_size(name, size, limit_mb)
    if not text.strip():
        raise UploadError(f"{name!r} is empty; there is nothing to ingest.")
    if "\x00" in text:
        raise UploadError(f"{name!r} is binary (it holds zero bytes), not text.")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise UploadError(f"{name!r} holds half characters (surrogates); save it as UTF-8.")
    return TextUpload(name=name, media_type=media_type, text=text, size=size)
