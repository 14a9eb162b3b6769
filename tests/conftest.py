"""Fixtures for every test. The servers themselves come from the plugin tests.stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from arcweb.embedded.stack import Stack
from tests import flush
from tests.stack import THROWAWAY, new_layout

flush.install()


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
