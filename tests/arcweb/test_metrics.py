"""/metrics: who may read it, what it says, and that it says nothing else."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import Settings

from agents.models import Agent
from arcweb import servers
from arcweb.environment import Environment
from arcweb.jobs.models import Job
from arcweb.metrics import Metric, exposition, register_gauges, registry
from arcweb.metrics.middleware import AfterMiddleware
from arcweb.samples import taking
from arcweb.samples.models import Sample
from arcweb.servers import Finding

TOKEN = "a-token-of-the-tests-2026"
pytestmark = pytest.mark.django_db


@pytest.fixture
def allowed(settings: Settings) -> dict[str, str]:
    """Metrics are on; the headers of one who may read them."""
    settings.ARC_METRICS_TOKEN = TOKEN
    return {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def own_sources(unhurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    exposition.discover()
    monkeypatch.setattr(registry, "_sources", dict(registry._sources))


@pytest.fixture
def known() -> Iterator[None]:
    """This process knows how servers stand, as the web process does."""
    servers.board.watch(lambda name: None)
    yield
    servers.board.watch(None)


def scrape(client: Client, headers: dict[str, str]) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    response = client.get("/metrics", headers=headers)
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "no-store" in response["Cache-Control"]
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(response.content.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


# --- who may read ------------------------------------------------------------------------------


def test_off_unless_it_is_set_and_a_login_is_no_way_in(admin_client: Client) -> None:
    response = admin_client.get("/metrics")
    assert response.status_code == 404
    assert b"ARC_METRICS_TOKEN" in response.content


@pytest.mark.parametrize(
    "header",
    ["", f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer \u00e4", f"Bearer {TOKEN[:-1]}"],
)
def test_a_wrong_token_is_refused_in_words(client: Client, allowed: dict[str, str], header: str) -> None:
    response = client.get("/metrics", headers={"Authorization": header} if header else {})
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert TOKEN not in response.content.decode()
    assert "arc_" not in response.content.decode()


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("10.1.2.3", 200),
        ("::ffff:10.1.2.3", 200),
        ("fd00::7", 200),
        ("11.1.2.3", 403),
        ("", 403),
        ("junk", 403),
    ],
)
def test_addresses_and_networks(client: Client, settings: Settings, address: str, status: int) -> None:
    settings.ARC_METRICS_ADDRESSES = _networks("10.0.0.0/8,fd00::/8")
    assert client.get("/metrics", REMOTE_ADDR=address).status_code == status


def test_with_both_set_both_must_hold(client: Client, settings: Settings, allowed: dict[str, str]) -> None:
    settings.ARC_METRICS_ADDRESSES = _networks("10.0.0.0/8")
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.1", headers=allowed).status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.1").status_code == 401
    assert client.get("/metrics", REMOTE_ADDR="9.0.0.1", headers=allowed).status_code == 403


def test_a_forwarded_address_counts_only_behind_a_proxy(client: Client, settings: Settings) -> None:
    settings.ARC_METRICS_ADDRESSES = _networks("10.0.0.0/8")
    forged = {"X-Forwarded-For": "10.0.0.1"}
    assert client.get("/metrics", REMOTE_ADDR="9.0.0.1", headers=forged).status_code == 403
    settings.ARC_BEHIND_PROXY = True
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1", headers=forged).status_code == 200
    appended = {"X-Forwarded-For": "10.0.0.1, 9.0.0.1"}
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1", headers=appended).status_code == 403


def test_only_reading_and_over_http_inside_of_the_stack(settings: Settings, allowed: dict[str, str]) -> None:
    settings.SECURE_SSL_REDIRECT = True
    client = Client()
    assert client.post("/metrics", headers=allowed).status_code == 405
    response = client.get("/metrics", headers={**allowed, "Host": "web:8000"})  # no name that browsers use
    assert response.status_code == 200
    assert client.get("/login/").status_code == 301


def test_addresses_that_are_none_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARC_METRICS_ADDRESSES", "127.0.0.1, 10.0.0.300")
    with pytest.raises(ImproperlyConfigured, match=r"ARC_METRICS_ADDRESSES names '10.0.0.300'.*A good value"):
        Environment(None).networks("ARC_METRICS_ADDRESSES")


def _networks(words: str) -> list[object]:
    import ipaddress

    return [ipaddress.ip_network(word) for word in words.split(",")]


# --- what it says ------------------------------------------------------------------------------


def test_gauges_of_both_rooms_queues_and_jobs(client: Client, allowed: dict[str, str]) -> None:
    Agent.objects.create(name="Scout", type="research")
    Job.objects.create(kind="dig", state="failed", finished_at=timezone.now())
    Job.objects.create(kind="dig")
    taking.take_samples()
    found = scrape(client, allowed)
    assert found["arc_jobs"] == {
        (("state", "queued"),): 1,
        (("state", "running"),): 0,
        (("state", "failed"),): 1,
    }
    assert found["arc_agents"] == {(): 1}
    assert found["arc_postgres_database_size_bytes"][()] > 1_000_000
    assert found["arc_postgres_commits_total"][()] >= 0
    assert set(found["arc_redis_used_memory_bytes"]) == {(("role", "cache"),), (("role", "state"),)}
    for name in ("arc_celery_waiting_tasks", "arc_celery_done_tasks_total"):
        assert set(found[name]) == {(("queue", "celery"),), (("queue", "quick"),)}
    assert found["arc_metrics_source_up"][(("source", "samples"),)] == 1
    assert found["arc_up"][(("server", "postgres"),)] == 1
    assert all(age < 60 for age in found["arc_sample_age_seconds"].values())
    assert not any(math.isnan(value) for values in found.values() for value in values.values())


def test_figures_that_are_old_are_missing_not_repeated(client: Client, allowed: dict[str, str]) -> None:
    taking.take_samples()
    old = timezone.now() - timedelta(minutes=5)
    Sample.objects.update(taken_at=old, read_at=old)
    found = scrape(client, allowed)
    assert "arc_postgres_connections" not in found
    assert found["arc_sample_age_seconds"][(("source", "postgres"),)] == pytest.approx(300, abs=30)


def test_a_scrape_costs_one_query_of_its_own_and_no_session(client: Client, allowed: dict[str, str]) -> None:
    taking.take_samples()
    with CaptureQueriesContext(connection) as asked:
        client.get("/metrics", headers=allowed)
    own = [
        query["sql"]
        for query in asked
        if "SAVEPOINT" not in query["sql"] and "set_config" not in query["sql"]
    ]
    assert len(own) == 1
    assert "samples_sample" in own[0]


def test_it_answers_while_postgresql_is_away(client: Client, allowed: dict[str, str], known: None) -> None:
    servers.board.note("postgres", Finding(False, "It is away.", "it is away"))
    servers.board.note("redis-state", Finding(False, "It is away.", "it is away"))
    servers.board.note("redis-cache", Finding(True))
    assert client.get("/login/").status_code == 503
    found = scrape(client, allowed)
    assert found["arc_up"] == {
        (("server", "postgres"),): 0,
        (("server", "redis-cache"),): 1,
        (("server", "redis-state"),): 0,
    }  # of worker and beat nobody knows
    assert found["arc_metrics_source_up"][(("source", "samples"),)] == 0
    assert "arc_postgres_connections" not in found
    assert "django_http_requests_before_middlewares_total" in found


@pytest.mark.parametrize("patience", [10])
def test_one_source_that_fails_hides_no_other(
    client: Client, allowed: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> list[Metric]:
        raise RuntimeError("no oil")

    def slow() -> list[Metric]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(20)")
        return []

    register_gauges(broken, name="broken", needs=())
    register_gauges(slow, name="slow", limit=0.2)
    register_gauges(
        lambda: [Metric("arc_backup_age_seconds", "Of the last one.", (({"kind": "postgres"}, 60.0),))],
        name="backups",
    )
    found = scrape(client, allowed)
    assert found["arc_backup_age_seconds"] == {(("kind", "postgres"),): 60}
    ups = found["arc_metrics_source_up"]
    assert {dict(labels)["source"]: up for labels, up in ups.items()} == {
        "samples": 1, "broken": 0, "slow": 0, "backups": 1,
    }  # fmt: skip
    assert "The metrics of broken failed" in caplog.text


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("backup_age", (({}, 1.0),)),
        ("arc_backups_total", (({}, 1.0),)),
        ("arc_Backups", (({}, 1.0),)),
        ("arc_backups", (({"a": "x"}, 1.0), ({"b": "x"}, 1.0))),
        ("arc_backups", (({"Not a label": "x"}, 1.0),)),
        ("arc_backups", tuple(({"agent": f"{number}"}, 1.0) for number in range(101))),
    ],
)
def test_a_metric_that_would_explode_or_is_no_name_is_a_mistake(
    name: str, values: tuple[tuple[dict[str, str], float], ...]
) -> None:
    with pytest.raises(ValueError, match=r"backup|labels|Backups"):
        Metric(name, "Help.", values)


def test_two_sources_of_one_name_are_a_mistake() -> None:
    register_gauges(list, name="one")
    register_gauges(list, name="one")
    with pytest.raises(ValueError, match="Two sources of metrics are named 'one'"):
        register_gauges(tuple, name="one")


# --- that it says nothing else -----------------------------------------------------------------


def test_labels_are_names_of_views_and_do_not_grow_with_data(client: Client, allowed: dict[str, str]) -> None:
    agent = Agent.objects.create(name="Very-secret-agent", type="research")
    client.force_login(User.objects.create_superuser("Very-secret-person"))
    paths = [
        f"/agents/agent/{agent.pk}/change/",
        "/agents/agent/?q=Very-secret-search",
        "/nothing/Very-secret-path/",
    ]
    for path in [*paths, "/login/"]:
        client.get(path)
    client.get("/agents/agent/0/change/")
    before = scrape(client, allowed)
    for number in range(20):
        client.get(f"/nothing/{number}/")
        client.get(f"/agents/agent/{number}/change/")
    text = client.get("/metrics", headers=allowed).content.decode()
    assert 'view="admin:agents_agent_change"' in text
    assert "ery-secret" not in text
    assert str(agent.pk) not in text
    assert TOKEN not in text
    assert "_created" not in text
    assert client.session.session_key is not None
    assert client.session.session_key not in text
    after = scrape(client, allowed)
    assert {name: set(values) for name, values in after.items()} == {
        name: set(values) for name, values in before.items()
    }


def test_methods_that_nobody_knows_share_one_label(client: Client, allowed: dict[str, str]) -> None:
    middleware = AfterMiddleware(lambda request: None)
    for method in ("BREW", "WHEN-IT-IS-DONE"):
        request = RequestFactory().generic(method, "/")
        middleware.process_request(request)
        from django.http import HttpResponse

        middleware.process_response(request, HttpResponse())
    text = client.get("/metrics", headers=allowed).content.decode()
    assert "BREW" not in text
    assert "WHEN-IT-IS-DONE" not in text
    assert re.search(r'latency_seconds_by_view_method_count\{method="<invalid method>"', text)


def test_several_processes_share_their_counters(tmp_path: Path, settings: Settings) -> None:
    """As the library does it: each process writes files into the folder, whoever is asked reads them all."""
    code = "from prometheus_client import Counter; Counter('turns', 'Turns.').inc(2)"
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PATH": os.environ["PATH"], "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            check=True,
        )
    settings.PROMETHEUS_MULTIPROC_DIR = str(tmp_path)
    assert "turns_total 4.0" in exposition.exposition().decode()
