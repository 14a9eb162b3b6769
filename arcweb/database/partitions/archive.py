"""A partition of events.events as a file: JSON lines, gzip, with a manifest beside it.

Written under a temporary name, read back from the disk, and only then renamed: a name without `.part`
and with a manifest is a whole archive. One line is one event, as row_to_json writes it; with details there
is "details" too, an object or null.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from django.conf import settings
from django.db import connection
from psycopg import sql

from arcweb.charts import size
from arcweb.database.partitions import catalog
from arcweb.database.partitions.catalog import Partition

#: Rows read at once: each read is a short statement of its own.
BATCH = 5_000
#: Part of the table (with indexes) that must be free before, and bytes that stay free throughout: PostgreSQL
#: may live on the same disk, and stops when that is full. An archive took 0.03 of it where it was measured;
#: events with much text take more.
SHARE, RESERVE = 0.5, 256 * 1024**2
LEVEL = 6
CHUNK = 1024 * 1024

#: (rows done, what is being done); may raise to stop the work.
Progress = Callable[[int, str], None]

ROWS = """
    SELECT row_to_json(line)::text, occurred_at::text, id
    FROM (SELECT {columns} FROM ONLY {table} WHERE (occurred_at, id) > (%s::timestamptz, %s)
          ORDER BY occurred_at, id LIMIT %s) AS line
    ORDER BY occurred_at, id
"""
# An event has one row of details at most.
ROWS_WITH_DETAILS = """
    SELECT (to_jsonb(line) || jsonb_build_object(
                'details', to_jsonb(detail) - 'occurred_at' - 'event_id'))::text,
           line.occurred_at::text, line.id
    FROM (SELECT {columns} FROM ONLY {table} WHERE (occurred_at, id) > (%s::timestamptz, %s)
          ORDER BY occurred_at, id LIMIT %s) AS line
    LEFT JOIN events.event_details AS detail
        ON detail.occurred_at = line.occurred_at AND detail.event_id = line.id
    ORDER BY line.occurred_at, line.id
"""
START = ("-infinity", -(2**63))


class ArchiveError(Exception):
    """There is no archive; the message is a sentence. Nothing was dropped."""


@dataclass(frozen=True)
class Manifest:
    """What stands beside the file, as JSON. `from` and `until` are the bounds of the partition."""

    file: str
    table: str
    partition: str
    first: str
    until: str
    rows: int
    bytes: int
    sha256: str  #: of the compressed file
    content_sha256: str  #: of its lines
    columns: list[str]
    details: bool
    written_at: str
    host: str
    format: str = "arcweb events archive 1: JSON lines, gzip"


def folder() -> Path:
    return Path(settings.ARC_DATA_DIR) / "archives"


def file_name(partition: Partition, mark: str) -> str:
    """`mark` tells archives of the same month apart: the id of the job that made it."""
    return f"{partition.name}-{mark}.jsonl.gz"


def manifest_of(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(".jsonl.gz") + ".manifest.json")


def write(partition: Partition, *, details: bool, mark: str, progress: Progress) -> Manifest:
    """Write, read back and count the archive. Raises ArchiveError, what `progress` raises, django.db.Error.

    A file of the same name is replaced at the end. What fails leaves nothing behind.
    """
    target = folder() / file_name(partition, mark)
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(target)
        _check_space(partition)
        part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        try:
            columns = catalog.columns(partition.schema, partition.name)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw:
                rows, content = _write_lines(raw, partition, columns, details=details, progress=progress)
                raw.flush()
                os.fsync(raw.fileno())
            progress(rows, "reading the archive back")
            found = read_back(part, lambda done: progress(done, "reading the archive back"))
            if (found.rows, found.content) != (rows, content):
                raise ArchiveError(
                    f"The archive of {partition.qualified} does not read back as it was written: "
                    f"{found.rows:,} of {rows:,} lines. The disk or the memory of this machine is at fault; "
                    "the file was removed."
                )
            manifest = Manifest(
                file=target.name,
                table=f"{catalog.SCHEMA}.{catalog.NAME}",
                partition=partition.qualified,
                first=partition.first.isoformat() if partition.first else "",
                until=partition.until.isoformat() if partition.until else "",
                rows=rows,
                bytes=part.stat().st_size,
                sha256=found.sha256,
                content_sha256=content,
                columns=[*columns, "details"] if details else columns,
                details=details,
                written_at=datetime.now(UTC).isoformat(),
                host=socket.gethostname(),
            )
            part.rename(target)
            _write_manifest(target, manifest)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ArchiveError(
            f"The archive could not be written to {folder()}: {error.strerror or error}. "
            "Make room or mend the folder, then retry."
        ) from error
    return manifest


def remove(name: str) -> None:
    """The file of that name and its manifest go, if they are there. Raises OSError."""
    file = folder() / Path(name).name
    file.unlink(missing_ok=True)
    manifest_of(file).unlink(missing_ok=True)


def check(manifest: Manifest) -> None:
    """The file still stands with the length of its manifest. Raises ArchiveError."""
    file = folder() / manifest.file
    try:
        length = file.stat().st_size
    except OSError as error:
        raise ArchiveError(f"The archive {file} is gone: {error.strerror}.") from error
    if length != manifest.bytes:
        raise ArchiveError(f"The archive {file} has {length:,} bytes instead of {manifest.bytes:,}.")


@dataclass(frozen=True)
class ReadBack:
    rows: int
    sha256: str
    content: str


def read_back(file: Path, progress: Callable[[int], None] = lambda done: None) -> ReadBack:
    """What a file holds, from the disk: its lines counted, both hashes. Raises ArchiveError, OSError."""
    content, compressed, rows = hashlib.sha256(), hashlib.sha256(), 0
    with file.open("rb") as raw:
        os.posix_fadvise(raw.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what the disk has, not what memory has
        try:
            with gzip.GzipFile(fileobj=cast("IO[bytes]", _Hashing(raw, compressed)), mode="rb") as lines:
                while block := lines.read(CHUNK):
                    content.update(block)
                    rows += block.count(b"\n")
                    progress(rows)
        except (EOFError, gzip.BadGzipFile, ValueError) as error:
            raise ArchiveError(f"The archive {file} cannot be read back: {error}.") from error
        except Exception as error:
            if type(error).__module__ != "zlib":
                raise
            raise ArchiveError(f"The archive {file} cannot be read back: {error}.") from error
    return ReadBack(rows, compressed.hexdigest(), content.hexdigest())


class _Hashing:
    """A file that hashes what is read of it."""

    def __init__(self, raw: IO[bytes], digest: Any) -> None:
        self._raw, self._digest = raw, digest

    def read(self, length: int = -1) -> bytes:
        block = self._raw.read(length)
        self._digest.update(block)
        return block


def _write_lines(
    raw: IO[bytes], partition: Partition, columns: list[str], *, details: bool, progress: Progress
) -> tuple[int, str]:
    digest, rows = hashlib.sha256(), 0
    with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=LEVEL, mtime=0) as packed:
        for lines in _batches(partition, columns, details=details):
            block = "".join(f"{line}\n" for line in lines).encode()
            packed.write(block)
            digest.update(block)
            rows += len(lines)
            _keep_reserve()
            progress(rows, "writing the archive")
    return rows, digest.hexdigest()


def _batches(partition: Partition, columns: list[str], *, details: bool) -> Iterator[list[str]]:
    statement = sql.SQL(ROWS_WITH_DETAILS if details else ROWS).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        table=sql.Identifier(partition.schema, partition.name),
    )
    place: tuple[str, int] = START
    while True:
        with connection.cursor() as cursor:
            cursor.execute(statement, [*place, BATCH])
            found = cursor.fetchall()
        if found:
            yield [line for line, _, _ in found]
            place = (found[-1][1], found[-1][2])
        if len(found) < BATCH:
            return


def _check_space(partition: Partition) -> None:
    free, wanted = shutil.disk_usage(folder()).free, RESERVE + round(SHARE * (partition.bytes or 0))
    if free < wanted:
        raise ArchiveError(
            f"{folder()} has {size(free)} free; an archive of {partition.qualified} "
            f"({size(partition.bytes or 0)}) is begun with {size(wanted)} free. Make room, then retry; "
            "nothing was dropped."
        )


def _keep_reserve() -> None:
    if (free := shutil.disk_usage(folder()).free) < RESERVE:
        raise ArchiveError(
            f"{folder()} has only {size(free)} left, and PostgreSQL may need it: the archive was given up. "
            "Make room, then retry; nothing was dropped."
        )


def _write_manifest(target: Path, manifest: Manifest) -> None:
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as raw:
            json.dump(asdict(manifest), raw, indent=2)
            raw.write("\n")
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(manifest_of(target))
    finally:
        part.unlink(missing_ok=True)
    opened = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)  # the names, too, survive a power failure
    finally:
        os.close(opened)


def _sweep(target: Path) -> None:
    """Removes what a killed run of the same job left behind."""
    for part in target.parent.glob(f"{target.name}.*.part"):
        part.unlink(missing_ok=True)
