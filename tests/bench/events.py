"""The timeline beside 10,000 and 10,000,000 events, in turns, each in a database of its own.

What is printed is the median through Django's test client, which leaves out the web server and the network,
and the blocks that the page's queries touch.
"""

from __future__ import annotations

import statistics
import time

FEW, MANY = 10_000, 10_000_000
#: Rounds at least: what a busy neighbour costs must hit both sizes alike.
FEWEST_ROUNDS = 15


def bench_events(rounds: int) -> None:
    """Prints a line a question: medians in milliseconds, their ratio, and the blocks."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from tests import many_events, many_rows
    from tests.bench.pages import turn_to

    usual = connection.settings_dict["NAME"]
    User.objects.create_superuser("events-bench")
    sizes = {f"{usual}_events_few": FEW, f"{usual}_events_many": MANY}
    few, many = sizes
    clients: dict[str, Client] = {}
    questions: dict[str, dict[str, str]] = {}
    times: dict[tuple[str, str], list[float]] = {}
    blocks: dict[tuple[str, str], int] = {}

    def ask(name: str, title: str) -> float:
        started = time.perf_counter()
        response = clients[name].get(questions[name][title])
        taken = (time.perf_counter() - started) * 1000
        assert response.status_code == 200, (title, response.status_code)
        return taken

    with many_rows.own_database(few):
        print(f"<!-- {FEW:,} events in {many_events.fill(FEW):.0f} s -->", flush=True)
        questions[few] = dict(many_events.addresses(FEW))
        turn_to(usual)
        with many_rows.own_database(many):
            print(f"<!-- {MANY:,} events in {many_events.fill(MANY):.0f} s -->", flush=True)
            questions[many] = dict(many_events.addresses(MANY))
            for name in sizes:
                turn_to(name)
                clients[name] = Client(headers={"host": "localhost"})
                clients[name].force_login(User.objects.get(username="events-bench"))
                for title in questions[name]:
                    with CaptureQueriesContext(connection) as queries:
                        ask(name, title)
                    asked = [query["sql"] for query in queries if "events" in query["sql"]]
                    blocks[title, name] = sum(many_rows.blocks_of(sql) for sql in asked)
            for _ in range(max(rounds, FEWEST_ROUNDS)):
                for name in sizes:
                    turn_to(name)
                    ask(name, "the newest")  # the connection, and its catalogue
                    for title in questions[name]:
                        times.setdefault((title, name), []).append(ask(name, title))
            turn_to(many)
        turn_to(few)
    print(f"| timeline, median | {FEW:,} events | {MANY:,} events | ratio | blocks |")
    print("| --- | --- | --- | --- | --- |")
    for title in questions[few]:
        small, large = (statistics.median(times[title, name]) for name in sizes)
        touched = f"{blocks[title, few]} and {blocks[title, many]}"
        print(f"| {title} | {small:.1f} ms | {large:.1f} ms | {large / small:.2f} | {touched} |", flush=True)
