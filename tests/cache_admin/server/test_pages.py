"""The pages of the servers: who sees them, what they say, and what they never do."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from redis import Redis
from redis.exceptions import ResponseError

from arcweb import health, probes
from arcweb.events.models import Event
from arcweb.jobs import ledger
from arcweb.jobs.ledger import run
from arcweb.jobs.models import Job
from arcweb.registry import navigation
from cache_admin import connections, samplers
from cache_admin.server import saving
from cache_admin.server.capabilities import forget
from tests.people import client_of
from tests.stack import PRODUCT
from tests.waiting import until

pytestmark = pytest.mark.django_db
PAGES = ["/redis/", "/redis/eviction/", "/redis/config/"]
ACTIONS = [
    "/redis/save/?command=BGSAVE",
    "/redis/flush/?role=cache",
    "/redis/config/change/?name=maxmemory",
    "/redis/config/rewrite/",
]


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture
def admin() -> Client:
    return client_of("administrator")


def body(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.content.decode()[-2000:]
    return str(response.content.decode())


@pytest.mark.parametrize("role", ["cache", "state"])
@pytest.mark.parametrize("path", PAGES)
def test_a_viewer_sees_and_is_offered_nothing_to_change(path: str, role: str) -> None:
    text = body(client_of("viewer").get(path, {"role": role}))
    assert 'class="verdict' in text
    assert "Change…" not in text
    assert "BGSAVE…" not in text
    assert "FLUSHDB…" not in text


def test_labels_begin_with_a_capital_as_in_the_other_rooms() -> None:
    """Heads of columns, terms of facts, rows of cards; names of settings stay as they are."""
    client = client_of("administrator")
    rooms = [reverse(page.url_name) for page in navigation() if page.group == "Redis"]
    cards = [f"/panels/{name}/" for name in ("redis-cache", "redis-state", "postgres", "celery", "memories")]
    label = (
        r'<(?:th scope="col"|dt)(?![^>]*\bmono\b)[^>]*>(.*?)</(?:th|dt)>'
        r'|<div class="row"[^>]*>\s*<span>(.*?)</span>'
    )
    seen = ""
    for address in rooms + cards:
        for found in re.findall(label, body(client.get(address, {"role": "state"})), re.DOTALL):
            words = re.sub(r"<[^>]*>", " ", "".join(found)).strip()
            assert not re.match("[a-z]", words), (address, words)
            seen += f"{words}|"
    for known in ("Up for", "Policy|", "Cache hit ratio|", "Worker|", "Embedded|", "Setting|"):
        assert known in seen


@pytest.mark.parametrize("path", [*PAGES, *ACTIONS])
def test_without_permission_there_is_no_page(path: str) -> None:
    assert client_of("").get(path).status_code == 403
    assert Client().get(path).status_code == 302


@pytest.mark.parametrize("path", ACTIONS)
def test_a_viewer_can_start_nothing(path: str) -> None:
    assert client_of("viewer").post(path, {"typed": "db0"}).status_code == 403


def test_the_overview_names_the_source_of_its_figures(admin: Client) -> None:
    text = body(admin.get("/redis/?role=state&period=fortnight"))
    for field in (
        "used_memory",
        "keyspace_hits",
        "evicted_keys",
        "aof_current_size",
        f"{PRODUCT.lower()}_version",
        "instantaneous_ops_per_sec",
    ):
        assert f"{field}" in text
    assert re.search(rf"{PRODUCT} [79]\.\d", text)
    assert "7.2.4" not in text
    assert "BGREWRITEAOF…" in text
    assert "FLUSHDB" not in text


def test_every_chart_names_its_source(admin: Client) -> None:
    """Whether or not anything was measured yet; the fields are what this server calls them."""
    text = body(admin.get("/redis/?role=cache"))
    charts = text[text.index('id="courses"') : text.index("Sampled every")].split('class="course"')[1:]
    sources = [re.search(r'From <span class="mono">(.+?)</span>', chart) for chart in charts]
    assert len(sources) == 11
    with connections.client("cache") as client:
        known = dict(client.info())
    for source in sources:
        assert source
        fields = source[1].removeprefix("INFO ").split(", ")
        assert source[1].startswith("PING, timed") or set(fields) <= set(known), source[1]
    assert sources[0]
    assert sources[0][1] == "INFO keyspace_hits, keyspace_misses"


def test_an_unknown_period_or_command_is_told(admin: Client) -> None:
    assert admin.get("/redis/?period=year").status_code == 400
    assert admin.get("/redis/save/?command=SHUTDOWN").status_code == 400
    assert admin.get("/redis/config/change/?name=requirepass").status_code == 404
    assert admin.post("/redis/config/change/?name=timeout", {"step": "x"}).status_code == 400


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("own_cache", "own_state")  # nobody else saves there
@pytest.mark.parametrize(
    ("role", "command"), [("cache", "BGSAVE"), ("state", "BGREWRITEAOF"), ("cache", "SAVE")]
)
def test_a_save_is_followed_to_its_end(admin: Client, role: str, command: str) -> None:
    address = f"/redis/save/?role={role}&command={command}"
    if command == "SAVE":
        assert "Nothing was done" in body(admin.post(address, {"typed": "yes"}))
        assert not Job.objects.exists()
    assert admin.post(address, {"typed": role}).status_code == 302
    job = Job.objects.get()
    assert list(Event.objects.values_list("kind", flat=True).filter(kind__startswith="redis")) == [
        "redis.save_started"
    ]
    run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.last_error) == (Job.State.SUCCEEDED, "")
    assert Event.objects.filter(kind="redis.saved", object_id=role).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_that_fails_is_a_failed_job_and_an_event(
    admin: Client, throwaway_stack: Any, settings: Any
) -> None:
    stack = throwaway_stack(postgres=False)
    settings.REDIS_URL = stack.layout.redis_url("cache")
    admin.post("/redis/save/?role=cache&command=BGSAVE")
    job = Job.objects.get()
    with connections.client("cache") as client:
        client.set("key", "value")
        # With a rule for saving, the server refuses writes after a failure, and PING with them.
        client.config_set("save", "3600 1")
        client.config_set("stop-writes-on-bgsave-error", "yes")
        # A folder stands where the snapshot would be put: OK is answered, and the child fails.
        folder = client.config_get("dir")["dir"]
        name = client.config_get("dbfilename")["dbfilename"]
    (Path(folder) / name).unlink(missing_ok=True)
    (Path(folder) / name / "in-the-way").mkdir(parents=True)
    run(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED
    assert "BGSAVE failed on the server" in job.last_error
    assert Event.objects.filter(kind="redis.save_failed").count() == 1
    with connections.client("cache") as client, pytest.raises(ResponseError, match="MISCONF"):
        client.ping()
    assert "could not write to its disk" in body(admin.get("/redis/?role=cache"))
    looked = probes.RedisProbe("cache")()
    assert looked.up
    assert looked.facts[probes.UNSAVED]
    assert "could not save its data" in health.check_redis("cache").sentence
    assert samplers.take("cache")["unsaved"]
    server = next(one for one in stack.servers if one.name == "valkey-cache")
    assert server.state() == "ready"


@pytest.mark.django_db(transaction=True)
def test_a_server_that_could_not_save_is_mended_from_its_page_though_no_worker_can_be_reached(
    admin: Client, throwaway_stack: Any, settings: Any
) -> None:
    stack = throwaway_stack(postgres=False)
    settings.REDIS_STATE_URL = stack.layout.redis_url("state")
    address = "/redis/save/?role=state&command=BGSAVE"
    with connections.client("state") as client:
        assert "A job starts it" in body(admin.get(address))
        client.config_set("save", "3600 1")
        in_the_way = Path(client.config_get("dir")["dir"]) / client.config_get("dbfilename")["dbfilename"]
        in_the_way.unlink(missing_ok=True)
        (in_the_way / "full").mkdir(parents=True)
        client.execute_command("BGSAVE")
        until(lambda: not connections.takes_changes(client))
        assert "the save begins at once" in body(admin.get(address))
        assert "A job starts it" in body(admin.get("/redis/save/?role=state&command=SAVE"))
        deletion = ledger.enqueue(
            "redis.delete_keys", target="x", params={"role": "state", "pattern": "x", "confirmed": 1}
        )
        ledger.run(deletion.pk)
        deletion.refresh_from_db()
        assert (deletion.state, deletion.result) == (Job.State.QUEUED, None)
        assert "takes no changes until it has saved" in deletion.last_error
        shutil.rmtree(in_the_way)
        response = admin.post(address, follow=True)
        assert response.redirect_chain == [("/redis/?role=state", 302)]
        assert "BGSAVE has begun" in body(response)
        until(lambda: connections.takes_changes(client))
        assert client.set("key", "value")
    assert Job.objects.get(kind=saving.JOB_KIND).state == Job.State.QUEUED
    assert Event.objects.filter(kind="redis.save_started", object_id="state").count() == 1


@pytest.mark.usefixtures("own_cache")  # nobody else saves there
def test_an_ok_after_which_no_snapshot_comes_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(Redis):
        """What it is asked to save it only promises."""

        def execute_command(self, *words: Any, **options: Any) -> Any:
            if words == ("BGSAVE",):
                return b"Background saving started"
            return super().execute_command(*words, **options)

    def client(role: connections.Role, timeout: float | None = None) -> Redis:
        return Forgetful.from_url(connections.url(role))

    with connections.client("cache", timeout=20) as real:
        real.execute_command("SAVE")
        began = int(real.time()[0])
        while int(real.time()[0]) == began:
            time.sleep(0.05)
    monkeypatch.setattr(connections, "client", client)
    with pytest.raises(saving.SaveError, match="no newer snapshot than before"):
        saving.run("cache", "BGSAVE", lambda words: None, lambda seconds: None)
    assert not Event.objects.filter(kind="redis.saved").exists()
    assert Event.objects.filter(kind="redis.save_failed").count() == 1


def test_the_cache_is_emptied_after_its_name_was_typed_and_nobody_is_logged_out(admin: Client) -> None:
    with connections.client("cache") as client, connections.client("state") as state:
        number = client.get_connection_kwargs()["db"]
        client.set("arcweb:1:page", "x")
        state.set("arcweb:test:kept", "1")
        assert "To confirm, type" in body(admin.get("/redis/flush/?role=cache"))
        assert "Nothing was done" in body(admin.post("/redis/flush/?role=cache", {"typed": "cache"}))
        assert client.exists("arcweb:1:page")
        assert not Event.objects.filter(kind="redis.flushed").exists()
        assert admin.post("/redis/flush/?role=cache", {"typed": f"db{number}"}).status_code == 302
        assert not client.exists("arcweb:1:page")
        assert state.get("arcweb:test:kept") == b"1"
        state.delete("arcweb:test:kept")
    event = Event.objects.get(kind="redis.flushed")
    assert event.data["keys"] >= 1
    assert body(admin.get("/redis/"))  # still logged in


def test_the_state_role_is_never_emptied(admin: Client, settings: Any) -> None:
    with connections.client("state") as state:
        state.set("arcweb:test:kept", "1")
        assert admin.post("/redis/flush/?role=state", {"typed": "db0"}).status_code == 404
        settings.REDIS_URL = settings.REDIS_STATE_URL
        text = body(admin.get("/redis/flush/?role=cache"))
        assert "The state role lives in the same database" in text
        number = state.get_connection_kwargs()["db"]
        assert admin.post("/redis/flush/?role=cache", {"typed": f"db{number}"}).status_code == 409
        assert state.get("arcweb:test:kept") == b"1"
        state.delete("arcweb:test:kept")


def test_a_page_costs_the_same_queries_at_any_number_of_keys(
    admin: Client, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with connections.client("cache") as client:
        counts = []
        for keys in (10, 1000):
            client.mset({f"arcweb:test:many:{n}": n for n in range(keys)})
            with CaptureQueriesContext(
                connection,
            ) as found:
                for path in PAGES:
                    body(admin.get(path))
            counts.append(len(found))
        client.unlink(*(f"arcweb:test:many:{n}" for n in range(1000)))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("MISCONF Errors writing to the AOF file: No space left on device", "tries again by itself"),
        ("MISCONF Valkey is configured to save RDB snapshots, but", "let it save (BGSAVE)"),
    ],
)
def test_a_refusal_to_write_says_what_mends_it(said: str, advice: str) -> None:
    assert advice in connections.explain("state", ResponseError(said))
