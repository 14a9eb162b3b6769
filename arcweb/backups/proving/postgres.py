"""A logical copy of PostgreSQL proven: restored into a scratch database, compared, dropped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg
from django.conf import settings

from arcweb.backups import scratch, server
from arcweb.backups.manifest import Manifest
from arcweb.backups.proving import comparing, loading, unpacking
from arcweb.backups.proving.ladder import MB, Copy, Ladder, NotTried
from arcweb.jobs.progress import duration

#: Seconds between two looks at the disk of an embedded server.
LOOK_AT_DISK = 2.0


def prove(copy: Copy, ladder: Ladder) -> None:
    """Raises CorruptCopy when the copy is at fault, another BackupError when it could not be tried."""
    if copy.raw is None:
        raise NotTried("The copy was not unpacked.")
    manifest, plain = copy.manifest, copy.manifest.format == "plain"
    megabytes = manifest.file.raw_bytes // MB
    if not plain:
        with ladder.step("contents", "reading the table of contents") as step:
            step.sentence = _contents(copy.raw, trusted=copy.trusted)
    with ExitStack() as dropped_at_the_end:
        with ladder.step("scratch", "making a scratch database") as step:
            _check_room(manifest)
            name = dropped_at_the_end.enter_context(scratch.database("verify"))
            step.sentence = f"An empty database, {name}, was made from the template."
        try:
            with server.connect(name, application="arcweb: verify", check=ladder.check) as connection:
                # What somebody set for the pages is too little for this.
                server.lift_limits(connection)
                with ladder.step("restored", "restoring", 2 * megabytes) as step:
                    needed = comparing.extensions(connection, manifest)
                    watch = _watch(ladder, connection)
                    loaded = loading.load(copy.raw, name, trusted=copy.trusted, plain=plain, watch=watch)
                    tool = "psql" if plain else f"pg_restore, with {loading.JOBS} jobs,"
                    step.sentence = (
                        f"{tool} restored it in {duration(loaded.seconds)} without an error: "
                        f"{comparing.database_size(connection)} with indexes ({needed})."
                    )
                comparing.compare(connection, manifest, ladder, megabytes)
        except psycopg.OperationalError as error:
            raise NotTried(f"PostgreSQL went away: {server.first_line(error)}. Try again.") from error


def _contents(raw: Path, *, trusted: bool) -> str:
    found, choice = loading.read(raw, trusted=trusted)
    kinds = Counter(item.kind for item, _ in choice.left)
    left = f"; left out: {', '.join(f'{number:,} {kind}' for kind, number in kinds.items())}" if kinds else ""
    return (
        f"pg_dump {found.client} wrote it from PostgreSQL {found.server}: {len(found.items):,} entries, of "
        f"which {len(choice.taken):,} are restored{left}."
    )


def _server_folder() -> Path | None:
    """Where the server keeps its data, when that is this machine's disk."""
    return settings.ARC_LAYOUT.real_servers_dir if settings.ARC_EMBEDDED else None


def _check_room(manifest: Manifest) -> None:
    if (folder := _server_folder()) is not None:
        known = manifest.database.get("bytes")
        unpacking.keep_reserve(folder, known if isinstance(known, int) else manifest.file.raw_bytes)


def _watch(ladder: Ladder, connection: psycopg.Connection[object]) -> Callable[[], None]:
    """Tells how far the restore is, hears a cancellation, and keeps the disk from filling up."""
    folder, looked = _server_folder(), 0.0

    def watch() -> None:
        nonlocal looked
        ladder.check()
        if time.monotonic() - looked > LOOK_AT_DISK:
            looked = time.monotonic()
            if folder is not None:
                unpacking.keep_reserve(folder)
            ladder.say(f"restoring: {comparing.database_size(connection)} so far")

    return watch
