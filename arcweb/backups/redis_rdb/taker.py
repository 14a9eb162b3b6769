"""A copy of a Redis role: its RDB, from the server's disk where that is here, else as its replicas get it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from arcweb.backups.encryption import identities
from arcweb.backups.exceptions import BackupError, CorruptCopy, KeyMissing, SpaceError
from arcweb.backups.manifest import File, Manifest
from arcweb.backups.proving.ladder import NotTried
from arcweb.backups.redis_rdb import counts, disk, live, replication, saving, scratch
from arcweb.backups.redis_rdb.disk import NotHereError
from arcweb.backups.redis_rdb.instructions import commands
from arcweb.backups.redis_rdb.live import Live
from arcweb.backups.redis_rdb.rdb import Checked, Head
from arcweb.backups.redis_rdb.saving import NotAllowedError
from arcweb.backups.streams import BLOCK, Readable, open_copy
from arcweb.backups.taking import Work
from cache_admin import connections
from cache_admin.connections import Role

DISK, REPLICATION = "disk", "replication"


@dataclass(frozen=True)
class Coming:
    """An RDB on its way. finish: raises when it did not come well. why: why it is not from the disk."""

    source: Readable
    way: str
    finish: Callable[[], None]
    why: str = ""


def take(work: Work) -> Manifest:
    """See arcweb.backups.taking for what is raised; nothing that is damaged gets a name."""
    role = live.role_of(work.options.source)
    try:
        with live.client(role) as client:
            return _take(work, role, client)
    except RedisError as error:
        raise BackupError(connections.explain(role, error)) from error
    except CorruptCopy as error:
        raise BackupError(f"What the server gave is no whole RDB, and was not kept. {error}") from error


def _take(work: Work, role: Role, client: Redis) -> Manifest:
    before = live.look(client)
    work.need(before.memory)
    summed = False
    with _coming(work, role, client, before) as coming:
        checked = Checked(coming.source)
        first = checked.read(BLOCK)
        taken_at = checked.head.taken_at or datetime.now(UTC)

        def finish() -> None:
            nonlocal summed
            coming.finish()
            summed = checked.finish()

        work.say("copying")
        file = work.write(_Heard(first, checked, work.check), taken_at, finish=finish)
    head, served = checked.head, live.roles_served_with(role)
    contents, why_not = _described(work, file, head)
    return work.manifest(
        file,
        taken_at,
        server={"product": before.product, "version": before.version, "mode": before.mode},
        client={"tool": "BGSAVE" if coming.way == DISK else "PSYNC"},
        redis={
            "roles": served,
            "way": coming.way,
            "rdb": {
                "version": head.version,
                "product": head.product,
                "server": head.server,
                "memory": head.memory,
                "checksum": summed,
            },
            "contents": contents,
            "not_loaded": why_not,
            "live": {"before": before.keyspace, "after": live.keyspace(client)},
            "aof": dict(before.aof),
            "databases": before.databases,
        },
        restore=commands(file, role, aof=bool(before.aof.get("enabled", True))),
        notes=_notes(before, served, coming, summed=summed),
    )


@contextmanager
def _coming(work: Work, role: Role, client: Redis, before: Live) -> Iterator[Coming]:
    """The newest snapshot of that server: from its disk, else over the network."""
    with ExitStack() as held:
        try:
            where = live.place(role, client)
            saved = saving.save(client, tell=work.say, wait=_waiting(work), log=live.log(role))
            file = held.enter_context(disk.saved_file(where, saved))
            coming = Coming(file, DISK, file.finish)
        except (NotHereError, NotAllowedError) as error:
            why = str(error)
            try:
                sent = held.enter_context(
                    replication.snapshot(
                        client, version=before.version, user=before.user, tell=work.say, check=work.check
                    )
                )
            except NotAllowedError as forbidden:
                raise BackupError(
                    f"{forbidden}. The other way is the file that the server writes, and that one is closed, "
                    f"too: {why}"
                ) from error
            coming = Coming(sent, REPLICATION, _nothing, why)
        yield coming


def _described(work: Work, file: File, head: Head) -> tuple[dict[str, Any] | None, str]:
    """What the copy holds, counted by loading it; or None, and why it could not be loaded here.

    A copy that is whole by its checksum and cannot be loaded is none: BackupError.
    """
    path = Path(settings.ARC_BACKUP_DIR)
    try:
        keys = identities() if file.encryption else ()
        with (
            open_copy(
                path / file.name,
                compression=file.compression,
                encrypted=bool(file.encryption),
                identities=keys,
            ) as raw,
            scratch.loading(
                raw,
                file.raw_bytes,
                head,
                spool=path / "spool",
                account=settings.ARC_SERVER_USER,
                tell=work.say,
            ) as loaded,
        ):
            found = counts.contents(loaded, work.say)
            return {**found.to_json(), "by": loaded.by.named, "seconds": loaded.seconds}, ""
    except (NotTried, KeyMissing, SpaceError) as error:
        return None, str(error)


def _notes(before: Live, served: list[Role], coming: Coming, *, summed: bool) -> list[str]:
    notes = []
    if len(served) > 1:
        notes.append("One server has both roles: this copy holds them both.")
    if coming.why:
        notes.append(f"The RDB was fetched as a replica gets it. {coming.why}")
    if not summed:
        notes.append(
            "The server writes no checksum into its RDB (rdbchecksum no): only ours guards this copy."
        )
    if before.mode == "cluster":
        notes.append("The server is one node of a Cluster: the data of the other nodes are not in this copy.")
    return notes


def _waiting(work: Work) -> saving.Wait:
    def wait(seconds: float) -> None:
        work.check()
        time.sleep(seconds)
        work.check()

    return wait


def _nothing() -> None:
    """There is nothing to look at."""


class _Heard:
    """A source whose first block was read already, with a look in between whether to go on."""

    def __init__(self, first: bytes, source: Readable, look: Callable[[], None]) -> None:
        self._first, self._source, self._look = first, source, look

    def read(self, size: int = -1) -> bytes:
        self._look()
        if self._first:
            found, self._first = self._first, b""
            return found
        return self._source.read(size)
