"""A copy of Redis proven: whole by its own checksum, loaded by a real server, its keys compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from redis.exceptions import RedisError

from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.proving.ladder import Copy, Ladder, NotTried
from arcweb.backups.redis_rdb import counts, scratch
from arcweb.backups.redis_rdb.counts import Contents
from arcweb.backups.redis_rdb.rdb import Checked, Head
from arcweb.charts import size

MB = 1024 * 1024


def prove(copy: Copy, ladder: Ladder) -> None:
    """See arcweb.backups.proving. Raises CorruptCopy, NotTried, SpaceError, KeyMissing."""
    manifest = copy.manifest
    with ladder.step("whole", "reading the RDB") as step:
        head, summed = _read(copy, ladder)
        _same_head(head, manifest.redis.get("rdb"))
        step.sentence = (
            f"An RDB of version {head.version}, written by {head.product} {head.server}, whole from its head "
            f"to its end: {size(manifest.file.raw_bytes)}"
            + (", and its own checksum is right." if summed else "; it has no checksum of its own.")
        )
    try:
        with copy.open() as raw, ladder.step("loaded", "loading the RDB") as step:
            with scratch.loading(
                raw,
                manifest.file.raw_bytes,
                head,
                spool=Path(settings.ARC_BACKUP_DIR) / "spool",
                account=settings.ARC_SERVER_USER,
                tell=ladder.say,
            ) as loaded:
                found = counts.contents(loaded, ladder.say)
            step.sentence = f"{loaded.by.named} loaded {found.loaded:,} keys in {loaded.seconds:.1f} s" + (
                f" and left out {found.expired:,} that are past their time." if found.expired else "."
            )
    except RedisError as error:
        raise BackupError(
            f"The server that tries the copy ended while its keys were counted: {error}."
        ) from error
    with ladder.step("compared", "comparing keys") as step:
        step.sentence = _compared(manifest.redis, found)


def _read(copy: Copy, ladder: Ladder) -> tuple[Head, bool]:
    with copy.open() as raw:
        checked = Checked(raw)
        for _ in scratch.exactly(checked, copy.manifest.file.raw_bytes):
            ladder.say("reading the RDB", checked.bytes // MB)
        return checked.head, checked.finish()


def _same_head(head: Head, said: Any) -> None:
    """Raises CorruptCopy when the manifest is of another RDB."""
    if not isinstance(said, dict) or not said:
        return  # it came from outside, and says nothing
    if (said.get("version"), said.get("server")) != (head.version, head.server):
        raise CorruptCopy(
            f"The manifest is of an RDB of version {said.get('version')} by {said.get('server')}, and this "
            f"one is of version {head.version} by {head.server}."
        )


def _compared(said: dict[str, Any], found: Contents) -> str:
    """What agrees, in a sentence. Raises CorruptCopy for what does not, NotTried without a count."""
    if not said.get("contents"):
        why = f" ({said['not_loaded']})" if said.get("not_loaded") else ""
        raise NotTried(
            f"It was loaded without an error. Its manifest counts no keys{why}, so that there is nothing to "
            f"compare the {found.total:,} keys with: it never counts as proven."
        )
    before = Contents.from_json(said["contents"])
    if wrong := counts.differences(before, found):
        raise CorruptCopy(" ".join(wrong))
    lasting = sum(one.lasting for kinds in found.counts.values() for one in kinds.values())
    expiring = sum(one.expiring for kinds in before.counts.values() for one in kinds.values())
    alive = sum(one.expiring for kinds in found.counts.values() for one in kinds.values())
    kinds = len({kind for found_kinds in found.counts.values() for kind in found_kinds})
    return (
        f"{found.total:,} keys in all, as the manifest says; {lasting:,} of {kinds} types without a time to "
        "live, the same in each type and database"
        + (
            f"; of {expiring:,} with one, {expiring - alive:,} have passed it since, as they should."
            if expiring
            else "."
        )
    )
