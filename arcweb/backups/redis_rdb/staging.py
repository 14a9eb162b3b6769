"""The data that a Valkey of the embedded stack shall have, made ready and proven beside its own. No Django.

A server of the same program loads the RDB in a folder of its own, on the same disk, with the append-only file
off, since with it the RDB would be ignored. Its keys are compared, then it switches the append-only file on,
writes it, and ends. What stands there then is exchanged by a rename (arcweb.embedded.exchange).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from redis import Redis
from redis.exceptions import RedisError

from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.redis_rdb import counts, scratch
from arcweb.backups.redis_rdb.counts import Contents
from arcweb.backups.redis_rdb.rdb import Head
from arcweb.backups.redis_rdb.saving import Tell
from arcweb.backups.streams import Readable
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import prepare_data_folder
from arcweb.embedded.valkey import Valkey

LOOK_EVERY = 0.1


def prepare(
    live: Valkey,
    source: Readable,
    raw_bytes: int,
    head: Head,
    *,
    said: Contents | None,
    aof: bool,
    tell: Tell,
) -> Contents:
    """Loads the RDB beside that server and leaves its files there; returns what they hold.

    said: what the manifest counts. aof: whether the server keeps an append-only file. The live server is not
    touched. Raises CorruptCopy, NotTried, SpaceError, BackupError, and what `source` and `tell` raise; then
    nothing is left.
    """
    scratch.room_in_memory(head)
    prepare_data_folder(live.layout)
    live.place.clear(aside=False)
    server = scratch.incoming(live, source, raw_bytes, head)
    ready = False
    try:
        client = scratch.brought_up(server, head, tell)
        found = Contents(counts.count(client, tell), *scratch.loaded_keys(client))
        if said is not None and (wrong := counts.differences(said, found)):
            raise CorruptCopy(" ".join(wrong))
        if aof:
            tell("writing the append-only file")
            _switch_aof_on(client, tell)
        server.shut_down(save=False)
        ready = True
    except EmbeddedError as error:
        raise BackupError(str(error)) from error
    except RedisError as error:
        raise BackupError(
            f"The server on which the data are made ready refused or ended ({error}): the live server is as "
            "it was."
        ) from error
    finally:
        if not ready:
            with suppress(EmbeddedError):
                server.stop(tell=_nobody, kill=True)
            live.place.clear(aside=False)
    return found


def _switch_aof_on(client: Redis, tell: Callable[[str], None]) -> None:
    """Returns when all that the server holds stands in the file."""
    client.config_set("appendonly", "yes")
    while True:
        info = client.info("persistence")
        # While the file cannot be written the server tries again and again: its first failure is the answer.
        failed = info["aof_last_bgrewrite_status"] != "ok"
        if failed or not (info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]):
            break
        tell("writing the append-only file")
        time.sleep(LOOK_EVERY)
    if failed or not info["aof_enabled"]:
        raise BackupError(
            "The append-only file could not be written (a full disk?): the live server is as it was."
        )


def _nobody(_message: str) -> None:
    """Tells nobody."""
