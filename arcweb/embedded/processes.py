"""Starting a process of its own session, knowing it again later, ending it. No Django."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from arcweb.embedded.server_user import ServerUser

LONGEST_LOG = 10 * 1024 * 1024
PR_SET_PDEATHSIG = 1
#: A signal, and how many seconds to wait for its effect.
Step = tuple[signal.Signals, float]
_libc = ctypes.CDLL(None) if platform.system() == "Linux" else None


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    env: dict[str, str],
    user: ServerUser | None = None,
    dies_with_parent: signal.Signals | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, its output appended to `log`.

    dies_with_parent: the signal the kernel sends it when the calling *thread* ends, however that
    happens (Linux only; elsewhere the next start cleans up).
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,
            umask=0o077,
            preexec_fn=follower(dies_with_parent) if dies_with_parent is not None else None,
            **(user.popen_options() if user else {}),
        )
    finally:
        os.close(descriptor)


def follower(number: signal.Signals) -> Callable[[], None] | None:
    """Popen's preexec_fn that has the kernel send the child this signal when the calling *thread* ends,
    however that happens; None where the system has no such thing."""
    if _libc is None:
        return None
    prctl, parent = _libc.prctl, os.getpid()

    def follow_parent() -> None:
        prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died before prctl took hold
            os._exit(1)

    return follow_parent


def trim_log(log: Path) -> None:
    """Moves a log's text to NAME.1 once it is over 10 MB; its writer goes on in the emptied file."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > LONGEST_LOG:
            log.with_name(log.name + ".1").write_bytes(log.read_bytes())
            os.truncate(log, 0)  # writers append, so they follow


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log for people, each line indented; "" when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16384))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"    {line[:300]}" for line in lines[-count:])


def how_it_ended(code: int) -> str:
    """Popen's return code in words."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {-code}, {signal.Signals(-code).name}"
    return f"signal {-code}"


def alive(process: psutil.Process) -> bool:
    """Running or frozen, but not a dead child that nobody waited for."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def serves(process: psutil.Process, program: str, folder: Path, *, unsure: bool = False) -> bool:
    """Whether the process is that server on that folder: both servers work inside their data folder.

    unsure: the answer when the process has the right name but its folder may not be looked at.
    """
    try:
        if process.name() != program or not alive(process):
            return False
        return Path(process.cwd()) == folder
    except psutil.AccessDenied:
        return unsure
    except (psutil.Error, OSError):
        return False


def servers_on(program: str, folder: Path) -> list[psutil.Process]:
    """Every process of that server working in `folder`, its helpers included, oldest first."""
    found = [process for process in psutil.process_iter() if serves(process, program, folder)]
    return sorted(found, key=lambda process: process.create_time())


def wait_until(condition: Callable[[], bool], seconds: float, *, every: float = 0.05) -> bool:
    """Polls; True as soon as the condition holds, False after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def end_group(
    pid: int,
    *,
    steps: Sequence[Step] = ((signal.SIGTERM, 10.0),),
    child: subprocess.Popen[bytes] | None = None,
    hurry: Callable[[], bool] = lambda: False,
) -> None:
    """Ends a process group: each signal with the seconds to wait after it, at last SIGKILL to all of it.

    The leader alone is asked, since it knows how to end its members; they are asked when it is gone.
    child: the leader when this process started it, so that it is reaped.
    hurry: asked again and again; True cuts every wait short.
    """

    def gone() -> bool:
        if child is not None:
            child.poll()
        return not group_exists(pid)

    def leads() -> bool:
        return psutil.pid_exists(pid) and alive(psutil.Process(pid))

    if gone():
        return
    for number, seconds in steps:
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            (os.kill if leads() else os.killpg)(pid, number)
            os.killpg(pid, signal.SIGCONT)  # a frozen one hears nothing
        if wait_until(lambda: gone() or hurry(), seconds) and gone():
            return
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    wait_until(gone, 5.0)


def group_exists(pid: int) -> bool:
    """Whether the process group has a member that is not a zombie."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return any(_group(process) == pid and alive(process) for process in psutil.process_iter())


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except OSError:
        return None
