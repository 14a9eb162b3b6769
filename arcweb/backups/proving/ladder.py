"""The rungs of a proof: what was looked at, what was found, in sentences with figures and times. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from arcweb.backups import streams
from arcweb.backups.exceptions import BackupError, CorruptCopy
from arcweb.backups.manifest import Manifest

MB = 1024 * 1024


class NotTried(BackupError):  # noqa: N818 - reads as a sentence
    """The copy could not be checked, and nothing is known about it that was not known before."""


class Context(Protocol):
    """What a JobContext is to a proof."""

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """May raise to stop the work."""

    def check(self) -> None:
        """Raises when the work must stop."""


class Console:
    """Progress for a command: each new message is told once."""

    def __init__(self, tell: Any = None) -> None:
        self._tell, self._said = tell, ""

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        words = message.partition(":")[0]
        if self._tell is not None and words and words != self._said:
            self._said = words
            self._tell(words)

    def check(self) -> None:
        """Nobody cancels a command but by a signal."""


@dataclass(frozen=True)
class Copy:
    """What a prover gets: a file on this machine, which has the hash of its manifest.

    raw: what it holds, where the prover asked for it. trusted: this program made the file; where it is False
    the file may be hostile.
    """

    path: Path
    manifest: Manifest
    identities: Sequence[str] = ()
    raw: Path | None = None
    trusted: bool = False

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """The raw bytes, as arcweb.backups.streams.open_copy gives them."""
        return streams.open_copy(
            self.path,
            compression=self.manifest.file.compression,
            encrypted=bool(self.manifest.file.encryption),
            identities=self.identities,
        )


@dataclass
class Step:
    """One rung. ok: None while it is climbed, and where it could not be."""

    name: str
    sentence: str = ""
    ok: bool | None = None
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ok": self.ok,
            "sentence": self.sentence,
            "seconds": round(self.seconds, 3),
        }


@dataclass
class Ladder:
    """Collects the steps of one proof and reports its progress in megabytes."""

    context: Context
    total: int = 0  #: megabytes of all steps together, as far as they are known
    steps: list[Step] = field(default_factory=list)
    _done: int = 0
    _started: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, name: str, doing: str = "", megabytes: int = 0) -> Iterator[Step]:
        """One rung, timed. The block writes `step.sentence`; what it raises as BackupError becomes it.

        doing: what the job's page says meanwhile. megabytes: of `total`, done when the block ends well.
        """
        found = Step(name)
        self.steps.append(found)
        started = time.monotonic()
        self.say(doing or name)
        try:
            yield found
        except CorruptCopy as error:
            found.ok, found.sentence = False, str(error)
            raise
        except BackupError as error:
            found.sentence = str(error)
            raise
        except BaseException:
            found.sentence = found.sentence or "It was stopped."
            raise
        else:
            found.ok = True
            self._done += megabytes
        finally:
            found.seconds = time.monotonic() - started

    def note(self, name: str, sentence: str) -> None:
        """Something that was not looked at, and why."""
        self.steps.append(Step(name, sentence))

    def say(self, doing: str, megabytes: int = 0) -> None:
        """So many megabytes of the present step are done. Raises what the context does to stop."""
        done = self._done + megabytes
        self.context.progress(min(done, self.total) if self.total else done, self.total or None, doing)

    def check(self) -> None:
        self.context.check()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def result(self, verdict: str, trouble: str = "") -> dict[str, Any]:
        """verdict: "proven", "bad" or "not tried"; trouble: the sentence of what stood in its way."""
        return {
            "ok": verdict == "proven",
            "verdict": verdict,
            "trouble": trouble,
            "seconds": round(self.seconds, 3),
            "steps": [step.to_json() for step in self.steps],
        }
