"""What a taker is given, and what it does with it. See arcweb.backups.taking for the frame around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings

from arcweb.backups import leftovers, streams
from arcweb.backups.manifest import COMPRESSIONS, File, Manifest, file_name
from arcweb.backups.models import Backup, Format, Source
from arcweb.backups.streams import Readable

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Options:
    """What is taken. scope: {} all, {"schema": name}, {"agent": id}. verify: prove it afterwards."""

    source: str = Source.POSTGRES.value
    format: str = Format.CUSTOM.value
    scope: dict[str, Any] = field(default_factory=dict)
    trigger: str = Backup.Trigger.MANUAL.value
    schedule_id: int | None = None
    verify: bool = False


class Context(Protocol):
    """As arcweb.jobs.context.JobContext: told of progress, and raises to stop the work."""

    def progress(self, done: int, total: int | None = None, message: str = "") -> None: ...
    def check(self) -> None: ...


class Quiet:
    """Nobody looks and nobody stops it."""

    def progress(self, done: int, total: int | None = None, message: str = "") -> None: ...
    def check(self) -> None: ...


@dataclass
class Work:
    """What a taker is given. last: the manifest of the newest whole copy of the same kind, for estimates."""

    id: UUID
    options: Options
    context: Context
    folder: Path
    last: Manifest | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    file: str = ""  #: its name, once something is written
    message: str = ""

    def check(self) -> None:
        """Raises when the work is to stop; call it every second or so."""
        self.context.check()

    def say(self, message: str) -> None:
        """What is being done, for people who wait. Raises as check() does."""
        self.message = message
        self.progress(0)

    def progress(self, done: int) -> None:
        """done: bytes of the source so far. Raises as check() does."""
        expected = self.last.file.raw_bytes if self.last else 0
        total = max(expected, done) // MEGABYTE if expected else None
        self.context.progress(done // MEGABYTE, total, self.message)

    def need(self, bytes_: int) -> None:
        """Refuses to begin when the copy would not fit: `bytes_`, else a quarter more than the last one
        has. Raises SpaceError."""
        wanted = self.last.file.bytes * 5 // 4 if self.last else bytes_
        leftovers.check_space(self.folder, wanted)

    def write(
        self,
        source: Readable,
        taken_at: datetime,
        *,
        finish: Callable[[], None],
        recipients: Sequence[str] | None = None,
    ) -> File:
        """Everything that `source` gives, compressed and encrypted as the format and the settings say, under
        its final name in the folder. Once. finish: see streams.write_copy."""
        if recipients is None:
            recipients = settings.ARC_BACKUP_RECIPIENTS
        compression = COMPRESSIONS[self.options.format]
        name = file_name(
            self.options.source, self.options.format, self.id, taken_at, encrypted=bool(recipients)
        )
        self.file = name
        written = streams.write_copy(
            source,
            self.folder / name,
            compression=compression,
            recipients=recipients,
            progress=self.progress,
            rate=settings.ARC_BACKUP_RATE_MB * 1e6,
            finish=finish,
        )
        return File(
            name=name,
            bytes=written.bytes,
            sha256=written.sha256,
            raw_bytes=written.raw_bytes,
            raw_sha256=written.raw_sha256,
            compression=compression,
            encryption="age" if recipients else "",
        )

    def manifest(self, file: File, taken_at: datetime, **facts: Any) -> Manifest:
        """The manifest of that file, as of now; facts: its other fields."""
        now = datetime.now(UTC)
        return Manifest(
            id=str(self.id),
            source=self.options.source,
            format=self.options.format,
            scope=self.options.scope,
            trigger=self.options.trigger,
            taken_at=taken_at,
            started_at=self.started_at,
            finished_at=now,
            seconds=round((now - self.started_at).total_seconds(), 3),
            file=file,
            **facts,
        )


Taker = Callable[[Work], Manifest]
