"""SAVE, BGSAVE and BGREWRITEAOF: what each costs, started by a job and followed to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from arcweb.charts import size
from arcweb.events import record
from arcweb.events.sentences import describe
from cache_admin import connections
from cache_admin.connections import Role

JOB_KIND = "redis-save"
#: Seconds between two looks at a save in progress, and those a blocked server is waited for.
LOOK_EVERY = 0.5
PATIENCE = 3600.0

describe("redis.save_started", "started {command} on the {role} role")
describe("redis.saved", "{command} on the {role} role ended well after {seconds} s")
describe("redis.save_failed", "{command} on the {role} role failed")


@dataclass(frozen=True)
class Way:
    """One way to bring the data to disk."""

    command: str
    title: str
    cost: str
    blocks: bool = False


WAYS: Mapping[str, Way] = {
    way.command: way
    for way in (
        Way(
            "BGSAVE",
            "Snapshot in the background",
            "A copy of the process writes dump.rdb. The server goes on answering; making the "
            "copy stops it for some "
            "milliseconds for each GB, and what is changed meanwhile needs memory twice.",
        ),
        Way(
            "BGREWRITEAOF",
            "Rewrite the append-only file",
            "A copy of the process writes the shortest file that makes the same data. It costs "
            "what BGSAVE costs, and "
            "is done by itself when the file has doubled.",
        ),
        Way(
            "SAVE",
            "Snapshot now, blocking",
            "The server itself writes dump.rdb and answers nobody until that is done: pages, "
            "workers and the queue "
            "wait, some seconds for each GB. For a last snapshot before a shutdown only.",
            blocks=True,
        ),
    )
}


class SaveError(Exception):
    """The save did not end well; the message is a sentence."""


def why_not(way: Way, info: Mapping[str, Any]) -> str:
    """Why that way is no use now: a sentence; "" if it is."""
    if way.command == "BGREWRITEAOF" and not info.get("aof_enabled"):
        return "The append-only file is off (appendonly no): there is nothing to rewrite."
    if info.get("rdb_bgsave_in_progress") and way.command != "BGREWRITEAOF":
        return "A snapshot is being written already."
    if info.get("aof_rewrite_in_progress"):
        return "The append-only file is being rewritten already."
    return ""


def run(
    role: Role, command: str, tell: Callable[[str], None], wait: Callable[[float], None]
) -> dict[str, Any]:
    """Do it and follow it to its end; the end is an event. Returns {"command", "role", "seconds", "bytes"}.

    tell: is told what happens. wait(seconds): sleeps, and may raise to stop following (the server goes on).
    Raises SaveError, and redis.exceptions.RedisError when the server goes away.
    """
    way = WAYS[command]
    began = time.monotonic()
    facts: dict[str, Any] = {"command": command, "role": role}
    try:
        with connections.client(role, timeout=PATIENCE if way.blocks else None) as client:
            _blocking(client, tell) if way.blocks else _background(client, command, tell, wait)
            info = client.info("persistence")
            memory = client.info("memory")
    except SaveError as error:
        record("redis.save_failed", object_type="redis.server", object_id=role, data=facts, note=str(error))
        raise
    facts["seconds"] = round(time.monotonic() - began, 1)
    record("redis.saved", object_type="redis.server", object_id=role, data=facts)
    held = (
        int(info.get("aof_current_size") or 0)
        if command == "BGREWRITEAOF"
        else int(memory.get("used_memory", 0))
    )
    return {
        **facts,
        "bytes": held,
        "words": f"{size(held)} {'in the file' if command == 'BGREWRITEAOF' else 'in memory'}",
    }


def start(client: Redis, command: str) -> bool:
    """Begin a save in the background; False: one is under way already. Raises SaveError."""
    try:
        client.execute_command(command)
    except ResponseError as error:
        if "in progress" not in str(error).lower():
            raise SaveError(f"The server refused {command}: {error}.") from error
        return False
    return True


def _blocking(client: Redis, tell: Callable[[str], None]) -> None:
    tell("the server writes its snapshot and answers nobody")
    try:
        client.execute_command("SAVE")
    except ResponseError as error:
        raise SaveError(f"The server refused SAVE: {error}.") from error


def _background(
    client: Redis, command: str, tell: Callable[[str], None], wait: Callable[[float], None]
) -> None:
    running, status = (
        ("rdb_bgsave_in_progress", "rdb_last_bgsave_status")
        if command == "BGSAVE"
        else ("aof_rewrite_in_progress", "aof_last_bgrewrite_status")
    )
    # The server's clock, in whole seconds as LASTSAVE is.
    started = int(client.time()[0])
    if not start(client, command):
        tell("one was under way already: following that one")
    while True:
        info = client.info("persistence")
        if (
            not info.get(running)
            and not info.get("aof_rewrite_scheduled")
            and not info.get("rdb_bgsave_scheduled")
        ):
            break
        tell("the server writes in the background")
        wait(LOOK_EVERY)
    if info.get(status) != "ok":
        raise SaveError(
            f"{command} failed on the server, whose log says why (a full disk, a folder it may "
            "not write, no memory for "
            "the copy). What was saved before is untouched."
        )
    # OK was only the start, and the status may be that of an earlier save: the time tells.
    if command == "BGSAVE" and int(info.get("rdb_last_save_time", 0)) < started:
        raise SaveError("BGSAVE ended, and the server has no newer snapshot than before: its log says why.")
