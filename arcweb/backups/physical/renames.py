"""One cluster in the place of another, by renames, PostgreSQL stopped.

Whoever runs `make run` on the data does the renames, asked by a file; where nobody does, this process.
"""

from __future__ import annotations

import time
from pathlib import Path

from django.conf import settings
from django.db import connections

from arcweb.backups.exceptions import BackupError
from arcweb.backups.physical.live import Live
from arcweb.embedded import restart, swap
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import locked
from arcweb.embedded.run_lock import holder
from arcweb.embedded.stack import Stack
from arcweb.embedded.swap import Swap

#: Seconds that `make run` gets to restart PostgreSQL: it may have to write much before it stops.
WITHIN = 600.0


def renamed(stack: Stack, wanted: Swap) -> str:
    """Has the clusters exchanged by whoever looks after PostgreSQL; a sentence. Raises BackupError."""
    let_go()
    try:
        swap.ask(stack.layout, wanted)
        if holder(stack.layout) is not None:
            _by_make_run(stack, wanted)
        else:
            _here(stack)
    except EmbeddedError as error:
        raise BackupError(str(error)) from error
    done = swap.done(stack.layout)
    if done is None or done.swap != wanted:
        if not (stack.layout.real_servers_dir / wanted.new).is_dir():
            raise BackupError(
                f"Nothing was exchanged, for {wanted.new} is no longer in "
                f"{stack.layout.real_servers_dir}: the cluster that was live is live."
            )
        raise BackupError(
            f"PostgreSQL did not start on {wanted.new}: the cluster that was live before is live again."
        )
    return f"The cluster of before is kept as {wanted.old} for a day."


def _by_make_run(stack: Stack, wanted: Swap) -> None:
    began = time.time()
    restart.ask(stack.layout, "a restore to a chosen time")
    while (found := restart.outcome(stack.layout)) is None or found.ended < began:
        if time.time() - began > WITHIN:
            raise BackupError(
                f"`make run` did not exchange the clusters within {WITHIN:.0f} s, and is not asked any more. "
                "Look at its output, restart it, then try again."
            )
        if holder(stack.layout) is None:
            _here(stack)
            return
        time.sleep(0.1)
    if not found.well:
        raise BackupError(found.sentence)


def _here(stack: Stack) -> None:
    """Stops PostgreSQL, exchanges, starts it and looks; it runs afterwards if it ran before."""
    said: list[str] = []
    server = stack.postgres
    with locked(stack.layout.run_dir / "servers.lock"):
        ran = server.process() is not None
        wanted = swap.asked(stack.layout)
        try:
            server.stop(said.append)
            server.prepare(said.append)
            server.start()
            server.wait_until_ready(said.append)
            server.initialise(said.append)
        except EmbeddedError as error:
            done = swap.done(stack.layout)
            if wanted is None or done is None or done.swap != wanted:
                raise
            server.stop(said.append)
            swap.ask(stack.layout, wanted.back())
            server.prepare(said.append)
            if ran:
                server.start()
                server.wait_until_ready(said.append)
                server.initialise(said.append)
            raise BackupError(
                f"PostgreSQL did not start on {wanted.new}, so the cluster that was live before is live "
                f"again: {error}"
            ) from error


def happened(wanted: Swap) -> bool:
    """Whether they have, or have begun and will be finished by the next start."""
    servers: Path = settings.ARC_LAYOUT.real_servers_dir
    done = swap.done(settings.ARC_LAYOUT)
    return (done is not None and done.swap == wanted) or (servers / wanted.old).is_dir()


def as_it_ran(before: Live) -> None:
    """PostgreSQL is stopped again if it was stopped before, and nobody else looks after it."""
    if not before.running and holder(before.stack.layout) is None:
        let_go()
        before.stack.postgres.stop(lambda words: None)


def let_go() -> None:
    """This process has no session with a database that is about to be another."""
    connections.close_all()
