"""Exchanging a Valkey's data for others that stand ready beside it, so that a crash leaves the old or the
new.

No Django. Whoever prepares a restore puts what the server shall find (`dump.rdb`, `appendonlydir`) into the
folder `valkey-<role>-incoming`, proven by a server that ran on it, and writes a journal with step ASKED. Then
`make run`, or without it the command, exchanges them: the server ends, its files are put aside into
`before-restore`, the others take their place, it starts. The journal stands beside the data and not with the
backups: the start must find it wherever these are. Before its step STARTING a crash is undone by the next
start, from then on finished.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from arcweb.embedded.files import make_folder, opened_folder, read_owned, write_private
from arcweb.embedded.server_user import ServerUser

JOURNAL, ASIDE = "restore.json", "before-restore"
#: What holds a Valkey's data: the snapshot, and the append-only file in its parts.
NAMES = ("dump.rdb", "appendonlydir")
#: Steps, in their order.
ASKED, STOPPING, MOVING, STARTING, ENDED = "asked", "stopping", "moving", "starting", "ended"
BEFORE_START = (ASKED, STOPPING, MOVING)
INTERRUPTED = "The exchange was interrupted. What had been moved was put back: the data are those of before."


@dataclass(frozen=True)
class Swap:
    """id: of whoever asked. by: a name for people. at, ended: seconds since the epoch. sentence: of the end.

    had: those of NAMES that the server had before. keep: the old files stay aside, since no copy was taken of
    them. aof: whether the new data have an append-only file. keys: how many the new data have.
    """

    id: str
    by: str
    step: str
    at: float
    aof: bool = True
    keep: bool = False
    keys: int = 0
    had: tuple[str, ...] = ()
    well: bool = False
    sentence: str = ""
    ended: float = 0.0


@dataclass(frozen=True)
class Place:
    """Where one server's data are. folder: its own, whose account is `user`."""

    folder: Path
    user: ServerUser

    @property
    def incoming(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}-incoming")

    @property
    def aside(self) -> Path:
        return self.folder / ASIDE

    def read(self) -> Swap | None:
        """The journal; None where there is none that can be read."""
        try:
            found = json.loads(read_owned(self.folder / JOURNAL, self.user))
            return Swap(**{**found, "had": tuple(found["had"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, swap: Swap) -> Swap:
        """Whole and on the disk, or as it was."""
        write_private(self.folder / JOURNAL, json.dumps(asdict(swap)), owner=self.user)
        _sync(self.folder, self.user)
        return swap

    def step(self, swap: Swap, step: str) -> Swap:
        return self.write(replace(swap, step=step))

    def end(self, swap: Swap, sentence: str, *, well: bool) -> Swap:
        """The exchange is over, well or not; what is not needed any more goes."""
        ended = self.write(replace(swap, step=ENDED, well=well, sentence=sentence, ended=time.time()))
        self.clear(aside=not (well and swap.keep))
        return ended

    def give_up(self, swap: Swap, sentence: str, *, well: bool = False) -> Swap:
        """As `end`, on a disk that may take nothing more: then what is not needed makes room for the journal,
        and where that is not enough the journal goes, so that no start acts on it."""
        with suppress(OSError):
            return self.end(swap, sentence, well=well)
        with suppress(OSError):
            self.clear(aside=not (well and swap.keep))
        with suppress(OSError):
            return self.end(swap, sentence, well=well)
        with opened_folder(self.folder, self.user) as folder, suppress(FileNotFoundError):
            os.unlink(JOURNAL, dir_fd=folder)
        return replace(swap, step=ENDED, well=well, sentence=sentence, ended=time.time())

    def clear(self, *, aside: bool = True) -> None:
        """Deletes what was put aside, and what came in. Not while a journal needs them."""
        if aside:
            _remove(self.aside, self.user)
        _remove(self.incoming, self.user)

    def put_aside(self, swap: Swap) -> Swap:
        """Everything that the stopped server has goes aside; the journal says first what that is."""
        _remove(self.aside, self.user)
        make_folder(self.aside, mode=0o700, owner=self.user)
        had = tuple(name for name in NAMES if os.path.lexists(self.folder / name))
        swap = self.write(replace(swap, step=MOVING, had=had))
        for name in had:
            _move(name, self.folder, self.aside, self.user)
        return swap

    def put_in(self) -> None:
        for name in NAMES:
            if os.path.lexists(self.incoming / name):
                _move(name, self.incoming, self.folder, self.user)

    def put_back(self, swap: Swap) -> None:
        """As it was before `put_aside`, from wherever that was interrupted. The server must be stopped."""
        for name in NAMES:
            new_here = os.path.lexists(self.folder / name) and (
                os.path.lexists(self.aside / name) if name in swap.had else True
            )
            if new_here and self.incoming.is_dir() and not os.path.lexists(self.incoming / name):
                _move(name, self.folder, self.incoming, self.user)
            if name in swap.had and os.path.lexists(self.aside / name):
                _move(name, self.aside, self.folder, self.user)

    def recover(self) -> Swap | None:
        """Before a start: undoes what was interrupted before the new data were whole. Returns what was
        undone."""
        swap = self.read()
        if swap is None or swap.step not in BEFORE_START:
            return None
        if swap.step == MOVING:
            self.put_back(swap)
        return self.end(swap, INTERRUPTED, well=False)

    def starts_with_new(self) -> Swap | None:
        """The exchange whose new data the server is to start with, or has just started with."""
        swap = self.read()
        return swap if swap is not None and swap.step == STARTING else None


def _move(name: str, source: Path, target: Path, user: ServerUser) -> None:
    with opened_folder(source, user) as here, opened_folder(target, user) as there:
        os.rename(name, name, src_dir_fd=here, dst_dir_fd=there)
        os.fsync(here)
        os.fsync(there)


def _remove(folder: Path, user: ServerUser) -> None:
    with opened_folder(folder.parent, user) as parent, suppress(FileNotFoundError):
        shutil.rmtree(folder.name, dir_fd=parent)


def _sync(folder: Path, user: ServerUser) -> None:
    with opened_folder(folder, user) as descriptor:
        os.fsync(descriptor)
