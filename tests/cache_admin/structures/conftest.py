"""Both roles, empty before and after, and people who look at them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from redis import Redis

CONTEXT = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    with Redis.from_url(settings.REDIS_URL) as cache, Redis.from_url(settings.REDIS_STATE_URL) as state:
        cache.flushdb()
        state.flushdb()
        yield
        cache.flushdb()
        state.flushdb()


@pytest.fixture
def state() -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_STATE_URL) as client:
        yield client


@pytest.fixture
def cache() -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_URL) as client:
        yield client


def in_processes(number: int, work: Callable[..., None], *arguments: Any) -> None:
    """Run work(number of the process, *arguments) in so many processes at once; all must end well."""
    processes = [CONTEXT.Process(target=work, args=(n, *arguments)) for n in range(number)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
    codes = [process.exitcode for process in processes]
    for process in processes:
        if process.is_alive():
            process.kill()
    assert codes == [0] * number
