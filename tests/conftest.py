"""Fixtures for every test. The servers themselves come from the plugin tests.stack."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import hypothesis
import pytest

from arcweb.embedded.stack import Stack
from arcweb.postgres import limits
from tests import flush
from tests.stack import THROWAWAY, new_layout

flush.install()
# The same examples in every run, however long they take: a busy machine and luck decide about nothing.
hypothesis.settings.register_profile(
    "arcweb", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("arcweb")


@pytest.fixture
def throwaway_stack() -> Iterator[Callable[..., Stack]]:
    """Makes servers of a test's own, to be killed, frozen or filled at will.

    `stack = throwaway_stack(start=True, **options)`: options are fields of StackOptions. Each call makes
    another stack; all are destroyed at the end. stack.layout has addresses and secrets. What needs no
    PostgreSQL says postgres=False, and has its servers in a tenth of a second.
    """
    made = []

    def make(*, start: bool = True, **options: Any) -> Stack:
        layout, lock = new_layout()
        stack = Stack(layout, replace(THROWAWAY, **options))
        made.append((stack, lock))
        if start:
            stack.start()
        return stack

    yield make
    for stack, lock in made:
        Stack(stack.layout, replace(stack.options, throwaway=True)).destroy()
        lock.close()


@pytest.fixture
def patience() -> float:
    """How many times `unhurried` gives what a page allows itself. A test that waits for a limit takes fewer:
    `@pytest.mark.parametrize("patience", [3])`; 1 leaves everything as it is.
    """
    return 20


@pytest.fixture
def unhurried(patience: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of pages have that much more time than they say, for tests that are not about time.

    A statement of a millisecond may take a second on a machine that runs everything at once, and the page
    then says that it was stopped.
    """
    from arcweb.database.overview import verdict, views  # settings are ready by now

    if patience == 1:
        return

    class Slow:
        """A clock for those who look what is left."""

        @staticmethod
        def monotonic() -> float:
            return time.monotonic() / patience

    usual = limits._milliseconds
    monkeypatch.setattr(limits, "_milliseconds", lambda seconds: usual(seconds * patience))
    monkeypatch.setattr(limits, "MARGIN", 60.0)
    for module in (limits, verdict, views):
        monkeypatch.setattr(module, "time", Slow)
