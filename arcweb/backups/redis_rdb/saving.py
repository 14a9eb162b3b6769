"""BGSAVE followed to its real end. No Django.

OK means that it has begun. It has ended well when the server writes no more, its last one was well, and its
LASTSAVE is newer than the start, all by the server's own words and clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from arcweb.backups.exceptions import BackupError

#: Seconds between two looks: at first and at most.
FIRST_LOOK, LONGEST_LOOK = 0.02, 1.0
#: Seconds that a snapshot may take in all, that of another before ours too: 200 GB at 50 MB a second.
PATIENCE = 4 * 3600.0
#: Microseconds by which the clock of LASTSAVE and of what stands in the file may lag behind TIME: time(2) has
#: the kernel's last tick, 10 ms at its rarest, and TIME the moment itself.
COARSE = 20_000
#: What BGSAVE answers while another child of the server writes.
BUSY = ("in progress", "child process", "rewriting")

Wait = Callable[[float], None]  #: sleeps; may raise to stop the work
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Saved:
    """started, ended: by the server's clock, seconds since the epoch."""

    started: int
    ended: int


class NotAllowedError(BackupError):
    """The server's ACL forbids what this way needs; another way may be open."""


def save(
    client: Redis, *, tell: Tell, wait: Wait = time.sleep, patience: float = PATIENCE, log: str = ""
) -> Saved:
    """Have the server write its RDB file, and wait until it stands there.

    One under way is waited for, and then ours begins: it would hold an earlier moment. log: where the
    server's log is, for the words of a failure. Raises BackupError in words (NotAllowedError where the ACL
    forbids it) and redis.exceptions.RedisError when the server goes away; what was saved before is untouched
    then.
    """
    until = time.monotonic() + patience
    try:
        run = _run(client)
        while True:
            _wait_for_others(client, tell, wait, until)
            started = _after_last_save(client, wait)
            if _begun(client):
                break
            wait(FIRST_LOOK)
        tell("the server writes its snapshot")
        info = _followed(client, wait, until)
        if _run(client) != run:
            raise BackupError("The server was started anew while it wrote its snapshot.")
    except NoPermissionError as error:
        raise NotAllowedError(f"The server's ACL forbids BGSAVE or what follows it ({error}).") from error
    why = f"its log says why: {log}" if log else "its log says why"
    ended = int(info.get("rdb_last_save_time", 0))
    if info.get("rdb_last_bgsave_status") != "ok":
        raise BackupError(
            f"BGSAVE failed on the server: {why}. Common causes are a full disk, a folder that it may not "
            "write, and no memory for the copy of its process. What was saved before is untouched."
        )
    if ended < started:
        raise BackupError(
            f"BGSAVE ended, and the server's LASTSAVE ({ended}) is older than its start ({started}): there "
            f"is no new snapshot; {why}."
        )
    return Saved(started, ended)


def _run(client: Redis) -> str:
    """What names this life of the server."""
    return str(client.info("server").get("run_id", ""))


def _wait_for_others(client: Redis, tell: Tell, wait: Wait, until: float) -> None:
    look = FIRST_LOOK
    while True:
        info = client.info("persistence")
        if info.get("loading"):
            raise BackupError(
                "The server is loading its data: there is nothing whole to copy yet. Retry later."
            )
        if not _writes(info):
            return
        tell("the server writes another snapshot, or its AOF anew: waiting for that")
        look = _pause(look, wait, until)


def _after_last_save(client: Redis, wait: Wait) -> int:
    """The server's time now, in whole seconds as LASTSAVE is, and later than that."""
    last = int(client.info("persistence").get("rdb_last_save_time", 0))
    while (now := _second(client)) <= last < now + 5:  # a clock that was set back is not waited for
        wait(0.05)
    if now <= last:
        raise BackupError(
            f"The server's clock ({now}) is behind its own LASTSAVE ({last}): it was set back, and a new "
            "snapshot cannot be told from an old one. Retry when the clock has passed that moment."
        )
    return now


def _second(client: Redis) -> int:
    """The second of which the server's files and LASTSAVE are, or the one before it."""
    seconds, microseconds = client.time()
    return int(seconds) - (int(microseconds) < COARSE)


def _begun(client: Redis) -> bool:
    """False where another writer came first. Raises BackupError with the server's words."""
    try:
        client.execute_command("BGSAVE")
    except NoPermissionError:
        raise
    except ResponseError as error:
        if any(sign in str(error).lower() for sign in BUSY):
            return False
        raise BackupError(f"The server refused BGSAVE: {error}.") from error
    return True


def _followed(client: Redis, wait: Wait, until: float) -> Mapping[str, Any]:
    look = FIRST_LOOK
    while (info := client.info("persistence")).get("rdb_bgsave_in_progress"):
        look = _pause(look, wait, until)
    return info


def _writes(info: Mapping[str, Any]) -> bool:
    return any(
        info.get(name)
        for name in ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
    )


def _pause(look: float, wait: Wait, until: float) -> float:
    if time.monotonic() > until:
        raise BackupError(
            "The server did not finish its snapshot in time: it writes still, and nothing was copied. Look "
            "at its disk, and at INFO persistence."
        )
    wait(look)
    return min(look * 1.5, LONGEST_LOOK)
