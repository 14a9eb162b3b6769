"""Freezes processes, so that they live and answer nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from arcweb.embedded.stack import Stack


@contextmanager
def frozen(processes: list[psutil.Process]) -> Iterator[None]:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it ended since it was looked for
            process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def whole(process: psutil.Process | None) -> list[psutil.Process]:
    """That process and everything that it started."""
    assert process is not None
    return [process, *process.children(recursive=True)]


def backends(stack: Stack) -> list[psutil.Process]:
    """PostgreSQL's processes that serve a client; what it does for itself goes on."""
    postmaster = stack.postgres.process()
    assert postmaster is not None
    found = []
    for child in postmaster.children():
        with suppress(psutil.NoSuchProcess):
            if " arc " in " ".join(child.cmdline()).replace(":", " "):
                found.append(child)
    return found
