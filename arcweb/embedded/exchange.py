"""A Valkey's data exchanged for others that stand ready beside it (see rdb_swap). No Django.

The web process and its workers ask by the journal, and `make run`, whose children the servers are, does it;
where no `make run` is, whoever asks does it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import locked
from arcweb.embedded.layout import Layout
from arcweb.embedded.rdb_swap import ASKED, JOURNAL, MOVING, STARTING, STOPPING, Swap
from arcweb.embedded.run_lock import holder
from arcweb.embedded.server import Tell
from arcweb.embedded.valkey import Valkey

#: Seconds after which a request that nobody answered is none any more: who asked has gone.
STALE = 600.0
LOOK_EVERY = 0.2


def exchange(layout: Layout, server: Valkey, tell: Tell) -> Swap:
    """Does what the server's journal asks for; returns the journal as it is then. The server runs at the end.

    Raises EmbeddedError when it can be started with neither the new nor the old data.
    """
    with locked(layout.run_dir / "servers.lock"):
        swap = server.place.read()
        if swap is None or swap.step != ASKED:
            raise EmbeddedError(f"Nobody asks for an exchange of the data of {server.name}.")
        if time.time() - swap.at > STALE:
            return server.place.end(swap, "Nobody did it in time; nothing was changed.", well=False)
        tell(f"{server.name}: exchanging its data, as {swap.by or 'somebody'} asked")
        try:
            ended = _exchanged(server, swap, tell)
        except OSError as error:
            ended = _back(server, swap, error, tell)
    if ended is None:
        raise EmbeddedError(f"The journal {server.folder / JOURNAL} is gone.")
    tell(f"{server.name}: {ended.sentence}")
    return ended


def _exchanged(server: Valkey, swap: Swap, tell: Tell) -> Swap | None:
    """Raises OSError, from wherever the disk took no more."""
    swap = server.place.step(swap, STOPPING)
    try:
        server.shut_down()
    except EmbeddedError as error:
        return server.place.end(swap, f"{error} Nothing was changed.", well=False)
    try:
        failed = None
        swap = server.place.put_aside(swap)
        server.place.put_in()
        server.place.step(swap, STARTING)
    except (OSError, EmbeddedError) as error:
        noted = server.place.read() or swap
        if noted.step in (MOVING, STARTING):  # before, nothing was moved, nor is it known what there was
            server.place.put_back(noted)
        failed = server.place.give_up(swap, f"Its files could not be moved ({error}): they are as before.")
    server.prepare(tell)
    server.start()
    server.bring_up(tell)
    return failed or server.place.read()


def _back(server: Valkey, swap: Swap, error: OSError, tell: Tell) -> Swap:
    """The server runs on the data that it had, or on the new ones if only the journal's last word is missing.

    Raises EmbeddedError when it can be started with neither.
    """
    place, words = server.place, error.strerror or str(error)
    noted = place.read() or swap
    try:
        if noted.step == STARTING and server.state() == "ready":
            return place.give_up(noted, "The data were exchanged.", well=True)
        if noted.step in (MOVING, STARTING):
            server.stop(tell)
            place.put_back(noted)
        ended = noted if noted.ended else place.give_up(noted, f"{words}: the data are those of before.")
        server.start()  # with the configuration of its last start: there may be no room to write it anew
        server.wait_until_ready(tell)
    except OSError as again:
        raise EmbeddedError(
            f"The data of {server.name} could neither be exchanged ({words}) nor put back "
            f"({again.strerror or again}). What it had is in {place.aside} and {server.folder}. Mend the "
            "disk, then start again: the start puts back what was moved."
        ) from again
    return ended


def wait_for(layout: Layout, server: Valkey, id_: str, tell: Tell, *, seconds: float = STALE) -> Swap:
    """The exchange with that id when it has ended, done by `make run`, or here where there is none.

    tell: is told now and then, and may raise to stop waiting. Raises EmbeddedError when it was not done.
    """
    until = time.monotonic() + seconds
    while True:
        swap = server.place.read()
        if swap is None:
            raise EmbeddedError(
                "The journal of this exchange is gone, for the disk took no more: the data are those of "
                "before unless the output of `make run` says otherwise."
            )
        if swap.id != id_:
            raise EmbeddedError("Another exchange took the place of this one.")
        if swap.ended:
            return swap
        if holder(layout) is None:
            return exchange(layout, server, tell)
        if time.monotonic() > until and swap.step == ASKED:
            return server.place.end(swap, "`make run` did not do it; nothing was changed.", well=False)
        tell("`make run` is exchanging the data")
        time.sleep(LOOK_EVERY)


class Exchanger:
    """Of the supervising process: looks for requests and does them."""

    def __init__(self, layout: Layout, servers: Sequence[Valkey], tell: Tell) -> None:
        self._layout = layout
        self._servers = servers
        self._tell = tell
        self._seen: dict[str, int] = {}

    def look(self) -> None:
        """Raises EmbeddedError when a server is not to be brought back."""
        for server in self._servers:
            try:
                changed = (server.folder / JOURNAL).stat().st_mtime_ns
            except OSError:
                continue
            if self._seen.get(server.name) != changed:
                self._seen[server.name] = changed
                swap = server.place.read()
                if swap is not None and swap.step == ASKED:
                    try:
                        exchange(self._layout, server, self._tell)
                    except OSError as error:  # before anything was begun
                        self._tell(f"{server.name}: its data are not exchanged: {error}")
