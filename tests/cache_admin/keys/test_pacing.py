"""Work on all keys lets others go before, on the processor as on the server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from cache_admin.keys.pacing import NICE, modestly


def niceness() -> int:
    """Of the thread that asks."""
    return os.getpriority(os.PRIO_PROCESS, 0)


def each(made: list[int]) -> Iterator[int]:
    for number in range(3):
        made.append(number)
        yield niceness()


@pytest.mark.skipif(sys.platform != "linux", reason="niceness belongs to threads on Linux alone")
def test_portions_are_made_by_a_modest_thread_and_the_one_that_asks_stays_as_it_was() -> None:
    usual = niceness()
    with modestly(each([])) as portions:
        assert list(portions) == [max(NICE, usual)] * 3
    assert niceness() == usual


@pytest.mark.skipif(sys.platform != "linux", reason="niceness belongs to threads on Linux alone")
def test_a_sandbox_that_refuses_niceness_stops_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refused)
    with modestly(each([])) as portions:
        assert list(portions) == [niceness()] * 3


def test_a_portion_is_made_when_it_is_asked_for() -> None:
    made: list[int] = []
    with modestly(each(made)) as portions:
        next(portions)
        assert made == [0]


def test_what_a_portion_raises_comes_through() -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise ConnectionError("the server is away")

    with modestly(fails()) as portions:
        assert next(portions) == 1
        with pytest.raises(ConnectionError, match="the server is away"):
            next(portions)
