"""A copy of Redis put back on the embedded stack: made ready beside the live data, then exchanged.

Other servers get instructions (see `instructions`): from here nothing of theirs can be done whole.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import UUID

from django.conf import settings
from redis import exceptions
from redis.exceptions import RedisError

from arcweb.backups import encryption, taking
from arcweb.backups.exceptions import BackupError
from arcweb.backups.manifest import Manifest
from arcweb.backups.models import Backup
from arcweb.backups.places import fetching
from arcweb.backups.proving import finding
from arcweb.backups.proving.ladder import Console, Ladder
from arcweb.backups.redis_rdb import instructions, live, staging
from arcweb.backups.redis_rdb.counts import Contents
from arcweb.backups.redis_rdb.instructions import Step
from arcweb.backups.redis_rdb.rdb import Checked
from arcweb.backups.redis_rdb.saving import Tell
from arcweb.backups.redis_rdb.scratch import exactly
from arcweb.backups.restore.journal import Folder
from arcweb.backups.streams import open_copy
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.exchange import wait_for
from arcweb.embedded.rdb_swap import ASKED, Swap
from arcweb.embedded.valkey import Valkey
from arcweb.events import record
from arcweb.events.models import Event
from arcweb.events.sentences import describe
from cache_admin import connections
from cache_admin.connections import Role

describe("redis.restore_started", "began to put {object} back as the {role} role of Redis")
describe("redis.restored", "put {object} back as the {role} role of Redis: {keys} keys")
describe("redis.restore_failed", "could not put {object} back as the {role} role of Redis")

#: Seconds that a server which has just started gets to load its data, as it gets them to write them.
LOADED_WITHIN = 600.0
LOOK_EVERY = 0.2


class NotEmbedded(BackupError):  # noqa: N818 - reads as a sentence
    """The role's server is none of the embedded stack."""


@dataclass(frozen=True)
class Done:
    """keys: in the file that now serves. safety: the copy of what was live before; None: it did not
    answer."""

    role: Role
    keys: int
    safety: Backup | None
    sentence: str


def why_not(role: Role) -> str:
    """Why this cannot be done for that role here: a sentence; "" if it can."""
    if live.embedded(role) is None:
        return (
            f"The {role} role is served by a server that this program does not run: it can neither stop it "
            "nor change its files. The steps to do it by hand are exact, and begin with this copy."
        )
    return ""


def steps(manifest: Manifest, role: Role) -> dict[str, list[Step]]:
    """What to do by hand: for docker-compose.yml, and for any other server."""
    found = manifest.redis
    contents = found.get("contents") or {}
    keys = contents.get("loaded") if isinstance(contents.get("loaded"), int) else None
    aof = bool(found.get("aof", {}).get("enabled", role == "state"))
    product = str(found.get("rdb", {}).get("product", "Redis"))
    return {
        "compose": instructions.compose(manifest.file, role, aof=aof, keys=keys),
        "by_hand": instructions.by_hand(manifest.file, aof=aof, product=product, keys=keys),
    }


def restore(backup: Backup, role: Role, *, id_: UUID, by: str, tell: Tell) -> Done:
    """Put the copy in the place of what that role of the embedded stack holds.

    id_: of this attempt; a second call with it finds the exchange of the first. tell: is told what is done,
    and may raise to stop, until the exchange has begun. Raises NotEmbedded, LockedOut, BackupError: the live
    data are as they were then. Queued messages of the copy are queued again, which is harmless: the ledger of
    jobs starts nothing twice. Locks and rate limits are those of the copy, too.
    """
    server = live.embedded(role)
    if server is None:
        raise NotEmbedded(why_not(role))
    facts = {"role": role, "backup": str(backup.pk), "attempt": str(id_)}
    with Folder(Path(settings.ARC_BACKUP_DIR)).locked(f"Redis, {role} role"):
        earlier = server.place.read()
        if earlier is not None and earlier.id == str(id_) and earlier.ended and earlier.well:
            # The worker of the first run was ended after it had asked for the exchange.
            done = Done(
                role, earlier.keys, None, f"The {role} role has the {earlier.keys:,} keys of the copy."
            )
            if not Event.objects.filter(kind="redis.restored", data__attempt=str(id_)).exists():
                record("redis.restored", obj=backup, data={**facts, "keys": done.keys})
            return done
        record("redis.restore_started", obj=backup, data=facts)
        try:
            done = _restore(backup, role, server, id_=id_, by=by, tell=tell)
        except (BackupError, OSError) as error:
            record("redis.restore_failed", obj=backup, data=facts, note=str(error))
            if isinstance(error, BackupError):
                raise
            raise BackupError(
                f"The files could not be written: {error}. The live data are as before."
            ) from error
    record(
        "redis.restored",
        obj=backup,
        data={**facts, "keys": done.keys, "safety": str(done.safety.pk) if done.safety else ""},
    )
    return done


def _restore(backup: Backup, role: Role, server: Valkey, *, id_: UUID, by: str, tell: Tell) -> Done:
    tell("checking the copy")
    path, manifest = _checked(backup, tell)
    said = Contents.from_json(manifest.redis["contents"]) if manifest.redis.get("contents") else None
    raw_bytes = manifest.file.raw_bytes
    with _opened(path, manifest) as raw:
        checked = Checked(raw)
        for _ in exactly(checked, raw_bytes):
            tell("reading the RDB")
        checked.finish()
    with _opened(path, manifest) as raw:
        aof = server.keeps_aof()
        found = staging.prepare(server, raw, raw_bytes, checked.head, said=said, aof=aof, tell=tell)
    try:
        safety = _safety_copy(role, tell)
    except BaseException:
        server.place.clear(aside=False)
        raise
    swap = Swap(str(id_), by, ASKED, at=time.time(), aof=aof, keep=safety is None, keys=found.loaded)
    try:
        server.place.write(swap)
        ended = wait_for(server.layout, server, swap.id, _unheard)  # from here on nobody stops it
    except EmbeddedError as error:
        raise BackupError(str(error)) from error
    if not ended.well:
        raise BackupError(ended.sentence)
    kept = f" Its old files are kept in {server.place.aside}." if safety is None else ""
    return Done(
        role, found.loaded, safety, f"The {role} role has the {found.loaded:,} keys of the copy.{kept}"
    )


def _checked(backup: Backup, tell: Tell) -> tuple[Path, Manifest]:
    """The file on this machine with the hash of its manifest. Raises BackupError."""
    if backup.format != "rdb":
        raise BackupError(f"{backup} is no copy of Redis.")
    ladder = Ladder(Console())
    manifest = finding.manifest(backup)
    path = fetching.fetch(backup, lambda _done: tell("fetching the copy"))
    finding.hashed(path, manifest, ladder)
    return path, manifest


def _opened(path: Path, manifest: Manifest) -> AbstractContextManager[IO[bytes]]:
    return open_copy(
        path,
        compression=manifest.file.compression,
        encrypted=bool(manifest.file.encryption),
        identities=encryption.identities() if manifest.file.encryption else (),
    )


def _safety_copy(role: Role, tell: Tell) -> Backup | None:
    """What is live, copied; None when the server does not answer: its files are put aside and kept."""
    if not _answers(role, tell):
        return None
    tell("taking a safety copy of what is live")
    try:
        return taking.take(
            taking.Options(source=live.SOURCES[role], format="rdb", trigger=Backup.Trigger.SAFETY.value)
        )
    except BackupError as error:
        raise BackupError(
            f"No safety copy of what is live could be taken, and without one nothing is exchanged: {error}"
        ) from error


def _answers(role: Role, tell: Tell) -> bool:
    """Whether the live server does, waiting for one that loads its data. Raises BackupError.

    A server that answers, in whatever words, has data: only one that does not is left to its files.
    """
    until = time.monotonic() + LOADED_WITHIN
    while True:
        try:
            with live.client(role) as client:
                connections.ping(client)
        except RedisError as error:
            if connections.is_away(error):
                return False
            if not isinstance(error, exceptions.BusyLoadingError) or time.monotonic() > until:
                raise BackupError(
                    "No safety copy of what is live could be taken, and without one nothing is exchanged: "
                    f"{connections.explain(role, error)}"
                ) from error
        else:
            return True
        tell("waiting until what is live is loaded")
        time.sleep(LOOK_EVERY)


def _unheard(_words: str) -> None:
    """Nobody listens any more."""
