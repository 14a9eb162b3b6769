"""Restarting the embedded PostgreSQL from a page: the web process asks by a file, `make run` does it.

No Django. When PostgreSQL does not start with new settings, what ALTER SYSTEM had written before they were
changed is put back, so that a bad value costs seconds and not the stack.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from arcweb.embedded import swap
from arcweb.embedded.errors import EmbeddedError
from arcweb.embedded.files import read_owned, write_private
from arcweb.embedded.layout import Layout
from arcweb.embedded.postgres import Postgres
from arcweb.embedded.processes import last_lines
from arcweb.embedded.run_lock import holder
from arcweb.embedded.server import Tell

AUTO = "postgresql.auto.conf"
ASKED, DOING, DONE = "postgres-restart.asked", "postgres-restart.doing", "postgres-restart.done"
#: Seconds after which a mark of a restart under way is that of a run that was killed.
STALE = 600.0


@dataclass(frozen=True)
class Outcome:
    """How the last restart went. `ended`: seconds since the epoch; `took`: seconds."""

    well: bool
    sentence: str
    ended: float
    took: float


def why_not(layout: Layout) -> str:
    """Why nobody would answer the request; "" when somebody does."""
    if holder(layout) is None:
        return "No `make run` looks after this PostgreSQL now: restart it where it was started."
    return ""


def ask(layout: Layout, by: str) -> None:
    """Request a restart of whoever runs `make run` on that folder."""
    write_private(layout.run_dir / ASKED, json.dumps({"by": by, "at": time.time()}))


def under_way(layout: Layout) -> bool:
    """Whether a restart is asked for or at work; of a killed run's mark that is not believed for ever."""
    for name in (ASKED, DOING):
        with suppress(OSError):
            if time.time() - (layout.run_dir / name).stat().st_mtime < STALE:
                return True
    return False


def outcome(layout: Layout) -> Outcome | None:
    """How the last restart went; None when there was none."""
    try:
        return Outcome(**json.loads((layout.run_dir / DONE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


class Restarter:
    """Of the supervising process: looks for the request and does it. PostgreSQL runs when this is made."""

    def __init__(self, layout: Layout, postgres: Postgres, tell: Tell) -> None:
        self._layout = layout
        self._run_dir: Path = layout.run_dir
        self._postgres = postgres
        self._tell = tell
        #: What it is known to start with.
        self._good = self._auto()
        for name in (ASKED, DOING):  # of a run before
            (self._run_dir / name).unlink(missing_ok=True)

    def look(self) -> Outcome | None:
        """Restarts if that was asked for. Raises EmbeddedError when PostgreSQL is not to be brought back."""
        try:
            (self._run_dir / ASKED).rename(self._run_dir / DOING)
        except FileNotFoundError:
            return None
        self._tell("Restarting PostgreSQL, as a page asked")
        began = time.monotonic()
        sentence, well = "PostgreSQL was restarted.", True
        wanted_swap = swap.asked(self._layout)
        reason = self._restart()
        if (
            wanted_swap is not None
            and (done_swap := swap.done(self._layout))
            and done_swap.swap == wanted_swap
        ):
            well, sentence = self._swapped(wanted_swap, reason)
        elif reason:
            well = False
            wanted = self._auto()
            write_private(self._postgres.folder / f"{AUTO}.refused", wanted, owner=self._postgres.user)
            write_private(self._postgres.folder / AUTO, self._good, owner=self._postgres.user)
            sentence = (
                "PostgreSQL did not start with the new settings, so what ALTER SYSTEM had set before was "
                "put back "
                f"(the refused ones are in {AUTO}.refused): {reason}"
            )
            self._tell(sentence)
            if again := self._restart():
                raise EmbeddedError(
                    f"PostgreSQL does not start any more: {again}\nIts log is {self._postgres.log}."
                )
        self._good = self._auto()
        done = Outcome(well, sentence, time.time(), round(time.monotonic() - began, 1))
        write_private(self._run_dir / DONE, json.dumps(asdict(done)))
        (self._run_dir / DOING).unlink(missing_ok=True)
        self._tell(f"PostgreSQL answers again after {done.took:g} s")
        return done

    def _swapped(self, done: swap.Swap, reason: str) -> tuple[bool, str]:
        """How an exchange of clusters went, and in words; one that does not start is taken back."""
        if not reason:
            try:
                self._postgres.initialise(self._tell)
            except EmbeddedError as error:  # other passwords, say
                reason = str(error)
            else:
                return True, f"{done.new} is the cluster now; the one of before is kept as {done.old}."
        swap.ask(self._layout, done.back())
        sentence = (
            f"PostgreSQL did not start on {done.new}, so the cluster that was live before is live "
            f"again: {reason}"
        )
        self._tell(sentence)
        if again := self._restart():
            raise EmbeddedError(
                f"PostgreSQL does not start any more: {again}\nIts log is {self._postgres.log}."
            )
        self._postgres.initialise(self._tell)
        return False, sentence

    def _restart(self) -> str:
        """ "" when it answers, else the end of its log."""
        self._postgres.stop(self._tell)
        self._postgres.prepare(self._tell)
        self._postgres.start()
        try:
            self._postgres.wait_until_ready(self._tell)
        except EmbeddedError:
            return last_lines(self._postgres.log, 4)
        return ""

    def _auto(self) -> str:
        return read_owned(self._postgres.folder / AUTO, self._postgres.user)
