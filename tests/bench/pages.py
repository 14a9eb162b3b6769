"""How long the pages take, warm: on the demo's size and beside a million memories, in turns.

The database of a million is of its own (tests.many_rows); both are asked in each round, so that a busy
neighbour slows them alike. What is printed is the 95th percentile through Django's test client, which
leaves out the web server and the network.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

FEW, MANY = 1_000, 1_000_000
#: Rounds at least: a 95th percentile of fewer says little.
FEWEST_ROUNDS = 20


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def addresses() -> dict[str, str]:
    """The main pages, by what the table calls them; the same on both databases."""
    from django.urls import reverse

    from tests import many_rows

    memories = reverse("admin:memories_memory_changelist")
    return {
        "Overview": reverse("admin:index"),
        "Agents": reverse("admin:agents_agent_changelist"),
        "One agent": reverse("admin:agents_agent_change", args=[many_rows.FIRST_AGENT]),
        "Memories": memories,
        "Memories of an agent": f"{memories}?agent={many_rows.FIRST_AGENT}",
        "Memories that failed": f"{memories}?embedding_state__exact=failed",
        "Memories with a rare word": f"{memories}?q=zebra",
        "Memories with a common word": f"{memories}?q=lease",
        "Documents": reverse("admin:memories_document_changelist"),
        "Search": reverse("admin:memories_search"),
        "Search by keyword": f"{reverse('admin:memories_search')}?q=zebra&mode=keyword",
        "Ingest": reverse("admin:memories_ingest"),
        "Events": reverse("admin:events"),
        "Jobs": reverse("admin:jobs_job_changelist"),
    }


@contextmanager
def filled(name: str, rows: int) -> Iterator[None]:
    """A database of that name with so many memories, to be turned to with `turn_to`."""
    from tests import many_rows

    with many_rows.own_database(name):
        print(f"<!-- {rows:,} memories in {many_rows.fill(rows):.0f} s -->", flush=True)
        yield


def turn_to(name: str) -> None:
    from django.db import connection

    connection.close()
    connection.settings_dict["NAME"] = name


def bench_pages(rounds: int) -> None:
    """Prints a line a page: 95th percentiles in milliseconds, and the ratio of the medians."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client

    usual = connection.settings_dict["NAME"]
    User.objects.create_superuser("bench")
    sizes = {f"{usual}_few": FEW, f"{usual}_many": MANY}
    clients: dict[str, Client] = {}
    times: dict[tuple[str, str], list[float]] = {}
    few, many = sizes
    with filled(few, FEW):
        turn_to(usual)
        with filled(many, MANY):
            for name in sizes:
                turn_to(name)
                clients[name] = Client(headers={"host": "localhost"})
                clients[name].force_login(User.objects.get(username="bench"))
            for number in range(max(rounds, FEWEST_ROUNDS) + 2):
                for name in sizes:
                    turn_to(name)
                    for title, address in addresses().items():
                        started = time.perf_counter()
                        response = clients[name].get(address)
                        taken = (time.perf_counter() - started) * 1000
                        assert response.status_code == 200, (address, response.status_code)
                        if number > 1:
                            times.setdefault((title, name), []).append(taken)
            turn_to(many)
        turn_to(few)
    print(f"| page, 95th percentile | {FEW:,} memories | {MANY:,} memories | ratio of medians |")
    print("| --- | --- | --- | --- |")
    for title in addresses():
        small, large = times[title, few], times[title, many]
        ratio = statistics.median(large) / statistics.median(small)
        print(f"| {title} | {p95(small):.1f} ms | {p95(large):.1f} ms | {ratio:.2f} |", flush=True)
