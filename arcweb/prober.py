"""Keeps `arcweb.servers` up to date: a thread for each server, so that none waits for another.

`keep_running()` starts it in the process that calls it, once; arcweb.wsgi does, at the first request,
which is after gunicorn's fork however it loads the application. Management commands, workers and tests
have no prober unless they start one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from arcweb import servers
from arcweb.panels import Server
from arcweb.per_process import OncePerProcess
from arcweb.probes import BeatProbe, PostgresProbe, RedisProbe, WorkerProbe
from arcweb.servers import Finding, ServerState

logger = logging.getLogger(__name__)


class Probe(Protocol):
    def __call__(self) -> Finding: ...
    def renew(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Watch:
    """How a server is looked after: seconds between two looks, and before a second look that decides."""

    probe: Callable[[], Probe]
    every: float
    again: float = 0.0


WATCHES: Mapping[Server, Watch] = {
    "postgres": Watch(PostgresProbe, 0.5),
    "redis-cache": Watch(lambda: RedisProbe("cache"), 0.5),
    "redis-state": Watch(lambda: RedisProbe("state"), 0.5),
    "worker": Watch(WorkerProbe, 5.0, 1.0),
    "beat": Watch(BeatProbe, 2.0),
}


class Prober:
    """The threads of one process. `stop` ends them; the states are unknown again then."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._wakes = {name: threading.Event() for name in WATCHES}
        self._suspected: set[Server] = set()
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=f"prober-{name}", daemon=True)
            for name in WATCHES
        ]

    def start(self) -> None:
        servers.board.watch(self.suspect)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for wake in self._wakes.values():
            wake.set()
        for thread in self._threads:
            thread.join(10)
        servers.board.watch(None)

    def suspect(self, name: Server) -> None:
        """Have that server looked at now."""
        self._suspected.add(name)
        self._wakes[name].set()

    def _run(self, name: Server) -> None:
        watch, wake = WATCHES[name], self._wakes[name]
        probe = watch.probe()
        missed = False
        while not self._stopping.is_set():
            wake.clear()
            if name in self._suspected:
                self._suspected.discard(name)
                probe.renew()
            finding = _look(name, probe)
            if finding.up is False and not finding.certain and not missed and not servers.is_away(name):
                # Once slow is not away: a busy machine is slow as well.
                missed = True
                wake.wait(watch.again)
                continue
            missed = False
            _tell(*servers.board.note(name, finding))
            wake.wait(watch.every)
        probe.close()


def _look(name: Server, probe: Probe) -> Finding:
    try:
        return probe()
    except Exception:
        logger.exception("The look at %s failed.", name)
        return Finding(None, "The look at it failed; the web process's log says why.", "it cannot be asked")


def _tell(before: ServerState, now: ServerState) -> None:
    """One line in the log when it goes, and one when it is back."""
    if now.up is False and before.up is not False:
        logger.warning("%s is away: %s", now.title, now.sentence)
    elif now.up is True and before.up is False:
        logger.info("%s is back after %s.", now.title, before.lasting)


def _start() -> Prober:
    prober = Prober()
    prober.start()
    return prober


#: See to it that this process, and not only the one that it was forked from, has a prober.
keep_running = OncePerProcess(_start)
