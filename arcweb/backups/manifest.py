"""What stands beside each copy, as JSON: what it holds, how to check it and how to restore it. No Django.

A manifest may come from outside: `Manifest.from_json` believes nothing and raises CorruptCopy in words.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from arcweb.backups.exceptions import CorruptCopy

FORMAT = "arcweb backup 1"
ENDING = ".manifest.json"
#: A database with a hundred thousand partitions stays below it.
LONGEST = 64 * 1024 * 1024
SOURCES = ("postgres", "redis-cache", "redis-state")
SUFFIXES = {
    "custom": ".dump.zst",
    "plain": ".sql.gz",
    "base": ".tar.zst",
    "incremental": ".tar.zst",
    "rdb": ".rdb.zst",
}
#: Bytes of a file at most, as a system of 64 bits and PostgreSQL's bigint count.
LARGEST = 2**63 - 1
#: Years that a time may be of: so that Python can tell each in every zone.
YEARS = range(2, 9999)
#: NUL as JSON writes it, and not a backslash that is followed by these letters.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
COMPRESSIONS = {"custom": "zstd", "plain": "gzip", "base": "zstd", "incremental": "zstd", "rdb": "zstd"}
AGE = ".age"
FILE_NAME = re.compile(
    r"(?:postgres|redis-cache|redis-state)-\d{8}T\d{6}Z-[0-9a-f]{8}"
    r"(?:\.dump\.zst|\.sql\.gz|\.tar\.zst|\.rdb\.zst)(?:\.age)?"
)


@dataclass(frozen=True)
class File:
    """The data file. `raw_*`: of what comes out after decryption and decompression."""

    name: str
    bytes: int
    sha256: str
    raw_bytes: int
    raw_sha256: str
    compression: str  #: "zstd" or "gzip"
    encryption: str = ""  #: "" or "age"


@dataclass(frozen=True)
class Table:
    """rows, sha256: count and content hash (arcweb.backups.content) under the snapshot of the copy."""

    schema: str
    name: str
    rows: int
    sha256: str
    parent: str = ""  #: "schema.name" of the table that it is a partition of


@dataclass(frozen=True)
class Sequence:
    """last: None while it was never used."""

    schema: str
    name: str
    last: int | None


@dataclass(frozen=True)
class Manifest:
    """id: of the copy, a UUID. taken_at: the moment that the copy holds. seconds: that taking it lasted."""

    id: str
    source: str
    format: str
    taken_at: datetime
    started_at: datetime
    finished_at: datetime
    seconds: float
    file: File
    scope: dict[str, Any] = field(default_factory=dict)
    trigger: str = ""
    parent: str = ""  #: id of the copy that an incremental needs
    server: dict[str, Any] = field(default_factory=dict)  #: version, version_num, product …
    client: dict[str, Any] = field(default_factory=dict)  #: tool, version; arcweb's version
    database: dict[str, Any] = field(default_factory=dict)  #: name, owner, encoding, collation, size
    extensions: dict[str, str] = field(default_factory=dict)
    migrations: dict[str, str] = field(default_factory=dict)  #: the last of each app
    settings: dict[str, str] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    sequences: list[Sequence] = field(default_factory=list)
    physical: dict[str, Any] = field(default_factory=dict)  #: WAL positions and timelines of base backups
    redis: dict[str, Any] = field(default_factory=dict)  #: what an RDB holds
    restore: list[str] = field(default_factory=list)  #: plain commands that need nothing of ours
    notes: list[str] = field(default_factory=list)
    installation: str = ""  #: id of the one that took the copy; "" of copies older than such ids
    seal: str = ""  #: made with its SECRET_KEY (arcweb.backups.seals)
    made_by: str = FORMAT

    def to_json(self) -> dict[str, Any]:
        return {
            key: value.isoformat() if isinstance(value, datetime) else value
            for key, value in asdict(self).items()
            if key != "installation" or value  # else the seals of older manifests would no longer fit
        }

    def to_bytes(self) -> bytes:
        """The same manifest always gives the same bytes."""
        return (json.dumps(self.to_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, found: Any) -> Manifest:
        """Raises CorruptCopy for what is no manifest of this program."""
        if not isinstance(found, dict) or found.get("made_by") != FORMAT:
            raise CorruptCopy(f"The manifest is none of this program: it does not say {FORMAT!r}.")
        manifest: Manifest = _made(cls, found, "the manifest")
        try:
            uuid.UUID(manifest.id)
        except ValueError:
            raise CorruptCopy("The manifest's id is no UUID.") from None
        if manifest.source not in SOURCES or manifest.format not in SUFFIXES:
            raise CorruptCopy(
                f"The manifest's source {manifest.source!r} or format {manifest.format!r} is unknown."
            )
        if (manifest.source == "postgres") == (manifest.format == "rdb"):
            raise CorruptCopy(f"No copy of {manifest.source} has the format {manifest.format!r}.")
        if not FILE_NAME.fullmatch(manifest.file.name):
            raise CorruptCopy(f"The manifest's file name {manifest.file.name!r} is none that a copy has.")
        if manifest.file.bytes < 0 or manifest.file.raw_bytes < 0:
            raise CorruptCopy("The manifest gives a negative size.")
        if max(manifest.file.bytes, manifest.file.raw_bytes) > LARGEST:
            raise CorruptCopy("The manifest gives a size that no file has.")
        return manifest

    def write(self, folder: Path) -> str:
        """Beside the data file, whole or not at all; returns its sha256. Raises OSError."""
        data = self.to_bytes()
        target = folder / manifest_name(self.file.name)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.rename(target)
            sync_folder(folder)
        finally:
            part.unlink(missing_ok=True)
        return hashlib.sha256(data).hexdigest()


def read(path: Path) -> tuple[Manifest, str]:
    """The manifest in that file, and the sha256 of its bytes. Raises CorruptCopy, OSError."""
    with path.open("rb") as file:
        return parse(file.read(LONGEST + 1))


def parse(data: bytes) -> tuple[Manifest, str]:
    """The manifest in these bytes, and their sha256. Raises CorruptCopy."""
    if len(data) > LONGEST:
        raise CorruptCopy("The manifest is longer than any that this program writes.")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise CorruptCopy("The manifest cannot be read: it is no JSON.") from None
    try:
        # NaN, infinity and half a character pair are no JSON that PostgreSQL keeps, nor is the character NUL.
        plain = json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise CorruptCopy("The manifest holds a number or a character that cannot be kept.") from None
    if NUL.search(plain):
        raise CorruptCopy("The manifest holds the character NUL.")
    return Manifest.from_json(found), hashlib.sha256(data).hexdigest()


def file_name(source: str, format_: str, id_: uuid.UUID, taken_at: datetime, *, encrypted: bool) -> str:
    stamp = taken_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{source}-{stamp}-{id_.hex[:8]}{SUFFIXES[format_]}{AGE if encrypted else ''}"


def manifest_name(file: str) -> str:
    """Of the manifest that belongs to a data file."""
    return file.partition(".")[0] + ENDING


def sync_folder(folder: Path) -> None:
    """What was renamed in it outlasts a power failure. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _made(kind: Any, found: Any, where: str) -> Any:
    """A value of that type out of parsed JSON, or CorruptCopy that names the place."""
    if (origin := get_origin(kind)) in (Union, UnionType):
        if found is None:
            return None
        return _made(next(one for one in get_args(kind) if one is not type(None)), found, where)
    if origin is list and isinstance(found, list):
        return [_made(get_args(kind)[0], one, where) for one in found]
    if origin is dict and isinstance(found, dict):
        return {str(key): _made(get_args(kind)[1], value, where) for key, value in found.items()}
    if kind is Any:
        return found
    if kind is datetime and isinstance(found, str):
        try:
            moment = datetime.fromisoformat(found)
        except ValueError:
            raise CorruptCopy(f"A time of {where} cannot be read: {found[:40]!r}.") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        try:
            fits = moment.astimezone(UTC).year in YEARS
        except OverflowError:
            fits = False
        if not fits:
            raise CorruptCopy(f"A time of {where} is of no year that a copy can have: {found[:40]!r}.")
        return moment
    if hasattr(kind, "__dataclass_fields__") and isinstance(found, dict):
        hints, known = get_type_hints(kind), {one.name for one in fields(kind)}
        given = {
            name: _made(hints[name], value, f"{where}, {name}")
            for name, value in found.items()
            if name in known  # a later version may say more
        }
        try:
            return kind(**given)
        except TypeError:
            raise CorruptCopy(f"In {where} something is missing.") from None
    if kind is float and isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    if kind in (int, str) and type(found) is kind:
        return found
    raise CorruptCopy(f"In {where} stands {str(found)[:40]!r}, which is of the wrong kind.")
