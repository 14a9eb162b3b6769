"""Programs run without a shell, at low priority, with their end and their own words checked. No Django."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import psutil

from arcweb.backups.exceptions import ToolError
from arcweb.embedded.processes import follower

#: A program's last words that are kept, in bytes.
WORDS = 8_000
#: Seconds that a program gets to end after SIGTERM before it is killed.
GRACE = 3.0
NICE = 10
#: Begins the names of files with a password.
PASSWORDS = "arcweb-pgpass-"
#: Seconds after which such a file that nobody holds was left by a killed process. It is locked just after it
#: is made: the rest is for processes of a version that did not lock.
LEFT = 3600.0
Arguments = Sequence[str | Path]


@dataclass
class Running:
    """A program under way. `stdin`, `stdout`: its pipes, where asked for."""

    name: str
    process: subprocess.Popen[bytes]
    _words: bytearray = field(default_factory=bytearray)
    _reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        # Read all the time, or a program that says much would wait for ever.
        self._reader = threading.Thread(target=self._read_words, name="stderr", daemon=True)
        self._reader.start()

    @property
    def stdout(self) -> IO[bytes]:
        return cast("IO[bytes]", self.process.stdout)

    @property
    def stdin(self) -> IO[bytes]:
        return cast("IO[bytes]", self.process.stdin)

    @property
    def words(self) -> str:
        """What it said on stderr, the end of it."""
        return bytes(self._words).decode(errors="replace").strip()

    def end(self, timeout: float | None = None) -> None:
        """Wait for it. Raises ToolError with its words when it did not end well."""
        code = self.process.wait(timeout)
        self._reader.join(GRACE)
        if code != 0:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            said = f": {self.words}" if self.words else " and said nothing."
            raise ToolError(f"{self.name} {how}{said}")

    def kill(self) -> None:
        """End it and what it started, and wait for that. Never raises for one that is gone."""
        for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
            if self.process.poll() is None or number == signal.SIGKILL:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, number)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue

    def close(self) -> None:
        """Kill it if it still runs; close its pipes."""
        if self.process.poll() is None:
            self.kill()
        self._reader.join(GRACE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _read_words(self) -> None:
        stream = cast("IO[bytes]", self.process.stderr)
        with suppress(OSError, ValueError):
            while block := os.read(stream.fileno(), 4096):
                self._words += block
                del self._words[:-WORDS]


@contextmanager
def running(
    argv: Arguments,
    env: Mapping[str, str] | None = None,
    *,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    cwd: Path | None = None,
    nice: int = NICE,
    **options: Any,
) -> Iterator[Running]:
    """Run `argv` in a process group of its own while the block lasts; leaving it by an exception kills it, as
    does the end of the calling thread, be it by kill -9 of its process (Linux).

    env: all it gets, beside PATH and LC_ALL=C; secrets go in files (see passfile), never in argv. The block
    calls `end()` when it expects a good end; one that still runs when the block is left is killed.
    Raises ToolError when it cannot be started.
    """
    try:
        process = subprocess.Popen(
            [os.fspath(argument) for argument in argv],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", **(env or {})},
            start_new_session=True,
            # SIGTERM: pg_dump cancels its query then, and pg_restore -j ends its workers.
            preexec_fn=follower(signal.SIGTERM),
            **options,
        )
    except OSError as error:
        raise ToolError(f"{argv[0]} cannot be run: {error.strerror or error}.") from error
    _make_modest(process.pid, nice)
    found = Running(Path(argv[0]).name, process)
    try:
        yield found
    finally:
        found.close()


def run(argv: Arguments, env: Mapping[str, str] | None = None, **options: Any) -> bytes:
    """Run it to its good end; returns what it printed, which must fit in memory. Raises ToolError."""
    with running(argv, env, **options) as program:
        printed = program.stdout.read() if program.process.stdout else b""
        program.end()
        return printed


@contextmanager
def passfile(password: str, folder: Path | None = None) -> Iterator[dict[str, str]]:
    """Environment with PGPASSFILE for that password, whatever host, port, database and user: a file of mode
    600 that is gone afterwards. The password stands neither in argv nor in an environment.

    What a killed process left goes here, too: the file of a living one is locked."""
    _sweep_passwords(folder or Path(tempfile.gettempdir()))
    handle, name = tempfile.mkstemp(prefix=PASSWORDS, dir=folder)
    try:
        with os.fdopen(handle, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            escaped = password.replace("\\", "\\\\").replace(":", "\\:")
            file.write(f"*:*:*:*:{escaped}\n")
            file.flush()
            yield {"PGPASSFILE": name}
    finally:
        Path(name).unlink(missing_ok=True)


def _sweep_passwords(folder: Path) -> None:
    # Everybody may write there: neither a link nor a pipe is followed, and only what is ours is touched.
    for path in folder.glob(f"{PASSWORDS}*"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                found = os.fstat(handle)
                if found.st_uid == os.geteuid() and time.time() - found.st_mtime > LEFT:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            finally:
                os.close(handle)


def postgres_env(database: Mapping[str, Any]) -> dict[str, str]:
    """libpq's variables, but for the password, for an entry of Django's DATABASES."""
    options = database.get("OPTIONS", {})
    named = {
        "PGHOST": database.get("HOST", ""),
        "PGPORT": database.get("PORT", ""),
        "PGUSER": database.get("USER", ""),
        "PGDATABASE": database.get("NAME", ""),
        "PGSSLMODE": options.get("sslmode", ""),
        "PGSSLROOTCERT": options.get("sslrootcert", ""),
        "PGCONNECT_TIMEOUT": "10",
        "PGAPPNAME": "arcweb-backup",
    }
    return {name: str(value) for name, value in named.items() if value not in ("", None)}


def _make_modest(pid: int, nice: int) -> None:
    """Low priority for processor and disk, where the system has such a thing."""
    with suppress(psutil.Error, OSError, AttributeError):
        process = psutil.Process(pid)
        if nice:
            process.nice(nice)
            process.ionice(psutil.IOPRIO_CLASS_BE, 7)
