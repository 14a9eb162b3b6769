"""Tables and indexes: what can be wrong is provoked, seen on its page, and gone after the page's own job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection
from django.test import Client

from arcweb.database.storage import indexes, judged, looks, maintenance, tables
from arcweb.events.models import Event
from arcweb.jobs import ledger
from arcweb.jobs.models import Job
from tests.jobs.conftest import in_thread
from tests.people import client_of
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)
INDEXES, TABLES = "/postgres/indexes/", "/postgres/tables/"


def run(statement: Any, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def one(statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


@pytest.fixture
def yard() -> Iterator[str]:
    """A schema of the test's own, without autovacuum's help."""
    run("DROP SCHEMA IF EXISTS yard CASCADE")
    run("CREATE SCHEMA yard")
    run("CREATE TABLE yard.tools (id int PRIMARY KEY, name text, kind int) WITH (autovacuum_enabled = off)")
    yield "yard"
    run("DROP SCHEMA yard CASCADE")


@pytest.fixture(autouse=True)
def pages_have_time(unhurried: None) -> None:
    """A busy machine is not the point here."""


@pytest.fixture
def operator() -> Client:
    return client_of("operator")


def body(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.content.decode()[-3000:]
    return str(response.content.decode())


def fill(rows: int) -> None:
    run("INSERT INTO yard.tools SELECT i, 'tool ' || i, i %% 7 FROM generate_series(1, %s) AS i", rows)
    flush_statistics()


def flush_statistics() -> None:
    run("SELECT pg_stat_force_next_flush()")
    run("SELECT 1")


def done() -> Job:
    """The newest job of maintenance, run to its end."""
    job = Job.objects.filter(kind__in=maintenance.KINDS.values()).latest("created_at")
    ledger.run(job.pk)
    job.refresh_from_db()
    return job


def ask(client: Client, action: str, name: str, **more: Any) -> str:
    values = {"action": action, "schema": "yard", "name": name, "back": INDEXES, **more}
    return body(client.post("/postgres/maintain/", values, follow=True))


def broken_index(name: str = "tools_name") -> None:
    """A unique index that fails half-way, as PostgreSQL leaves it."""
    run("UPDATE yard.tools SET name = 'twice' WHERE id IN (1, 2)")
    with pytest.raises(Exception, match="twice"):
        run(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON yard.tools (name)")


def test_the_pages_say_what_there_is(yard: str, operator: Client) -> None:
    fill(100)
    run("ANALYZE yard.tools")
    listed = body(operator.get(TABLES))
    assert "yard.tools" in listed
    assert "agents.memories" in listed
    assert "events.events <span" in listed, "a partitioned table is one line"
    shown = body(operator.get(f"{TABLES}yard/tools/"))
    assert "about 100" in shown
    assert "CREATE EXTENSION pgstattuple;" in shown
    assert operator.get(f"{TABLES}yard/none/").status_code == 404
    vectors = body(operator.get(INDEXES))
    assert "m 16, ef_construction 64" in vectors
    assert "unknown yet" in vectors, "the statistics of this server are minutes old"
    memories = body(operator.get(f"{TABLES}agents/memories/"))
    assert "vector(1536)" in memories
    assert body(operator.get(f"{TABLES}?sort=dead"))
    assert body(operator.get(f"{INDEXES}?sort=scans"))


def test_names_of_all_kinds_have_their_page(yard: str, operator: Client) -> None:
    run('CREATE TABLE yard."a/b ""c"" <i>" (id int PRIMARY KEY)')
    listed = body(operator.get(TABLES))
    assert "a/b &quot;c&quot; &lt;i&gt;" in listed
    found = next(table for table in tables.tables() if table.name.startswith("a/b"))
    assert "&lt;i&gt;" in body(operator.get(judged.table_url(found.schema, found.name)))
    ask(operator, "vacuum", found.name)
    assert done().state == Job.State.SUCCEEDED


def test_the_number_of_queries_does_not_grow(
    yard: str, operator: Client, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(40) as few:
        operator.get(TABLES)
    for number in range(20):
        run(f"CREATE TABLE yard.t{number} (id int PRIMARY KEY, other int)")
    with django_assert_max_num_queries(len(few)):
        operator.get(TABLES)


def test_dead_rows_are_seen_and_vacuumed(yard: str, operator: Client) -> None:
    fill(3000)
    run("ANALYZE yard.tools")
    run("DELETE FROM yard.tools WHERE id > 1000")
    flush_statistics()
    assert any("yard.tools has 2,000 dead rows" in finding.sentence for finding in looks.all_tables())
    page = body(operator.get(TABLES))
    assert "yard.tools has 2,000 dead rows, 67 % of all" in page
    assert "Autovacuum is off for it." in page
    assert "VACUUM (ANALYZE) &quot;yard&quot;.&quot;tools&quot;;" in page
    assert "is queued" in ask(operator, "vacuum", "tools")
    job = done()
    assert (job.state, job.last_error) == (Job.State.SUCCEEDED, "")
    assert job.result is not None
    assert job.result["dead rows before"] == 2000
    assert "yard.tools has" not in body(operator.get(TABLES))
    assert Event.objects.filter(kind="postgres.maintained", object_id="yard.tools").count() == 1


def test_dead_rows_that_somebody_may_still_see_are_said(yard: str, operator: Client) -> None:
    fill(3000)
    run("ANALYZE yard.tools")
    parameters = connection.get_connection_params()
    who = {key: parameters[key] for key in ("dbname", "user", "password", "host", "port")}
    with (
        psycopg.connect(**who | {"dbname": "arc"}, application_name="elsewhere") as elsewhere,
        psycopg.connect(**who, application_name="dreamer") as other,
    ):
        # The older one, in another database, holds nothing back in this one.
        elsewhere.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        elsewhere.execute("SELECT count(*) FROM pg_class")
        other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        other.execute("SELECT count(*) FROM yard.tools")
        run("DELETE FROM yard.tools WHERE id > 1000")
        flush_statistics()
        time.sleep(1.1)  # a younger transaction is nobody's fault
        ask(operator, "vacuum", "tools")
        job = done()
        assert job.result is not None
        assert "dreamer" in job.result["held back"]
        assert str(other.info.backend_pid) in job.result["held back"]


def test_a_table_never_analyzed_is_seen_and_analyzed(yard: str, operator: Client) -> None:
    fill(5000)
    assert "yard.tools (" in body(operator.get(TABLES))
    assert "was never analyzed" in body(operator.get(f"{TABLES}yard/tools/"))
    ask(operator, "analyze", "tools")
    assert done().state == Job.State.SUCCEEDED
    assert "was never analyzed" not in body(operator.get(f"{TABLES}yard/tools/"))


def test_a_large_table_never_vacuumed(yard: str, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judged, "UNVACUUMED_SIZE", 100_000)
    fill(5000)
    assert "was never vacuumed" in body(operator.get(f"{TABLES}yard/tools/"))
    ask(operator, "vacuum", "tools")
    done()
    assert "was never vacuumed" not in body(operator.get(f"{TABLES}yard/tools/"))


def test_vectors_outside_of_their_rows_are_brought_in(yard: str, operator: Client) -> None:
    run('CREATE TABLE yard.far (id int, "of ""it""" vector(1536))')
    vector = "array_fill(0.5::real, ARRAY[1536])::vector"
    run(f"INSERT INTO yard.far SELECT i, {vector} FROM generate_series(1, 1000) AS i")
    run("ANALYZE yard.far")
    sentence = "The vectors of yard.far.of "
    assert sentence in body(operator.get(f"{TABLES}yard/far/"))
    [found] = [each for each in looks.all_tables() if each.sentence.startswith(sentence)]
    for statement in found.statement.split(";\n"):
        run(statement)
    run("ANALYZE yard.far")
    assert sentence not in body(operator.get(f"{TABLES}yard/far/"))
    assert not [each for each in looks.all_tables() if each.sentence.startswith(sentence)]


def test_an_invalid_index_is_seen_and_built_anew(yard: str, operator: Client) -> None:
    fill(100)
    broken_index()
    assert "yard.tools_name of yard.tools is invalid" in body(operator.get(INDEXES))
    assert any("tools_name" in finding.sentence for finding in looks.all_indexes())
    ask(operator, "reindex", "tools_name")
    failed = done()
    assert failed.state == Job.State.FAILED
    assert "could not create unique index" in failed.last_error
    assert Event.objects.filter(kind="postgres.maintenance_failed").exists()
    left = [index.name for index in indexes.indexes(table_oid()) if "_ccnew" in index.name]
    assert left, "the failed job leaves a copy, as PostgreSQL does"
    assert f"yard.{left[0]} is a copy that was not finished" in body(operator.get(INDEXES))
    run("UPDATE yard.tools SET name = 'once' WHERE id = 2")
    assert ledger.retry(failed.pk)
    assert done().state == Job.State.SUCCEEDED
    page = body(operator.get(INDEXES))
    assert "yard.tools_name of yard.tools is invalid" not in page
    assert "_ccnew" not in page, "the job cleans up what its earlier run left"


def table_oid() -> int:
    oid: int = one("SELECT 'yard.tools'::regclass::oid::bigint")
    return oid


def test_an_invalid_left_over_is_dropped(yard: str, operator: Client) -> None:
    fill(100)
    broken_index("tools_name_ccnew")
    address = f"{INDEXES}yard/tools_name_ccnew/drop/".replace("_", "_5F")
    assert address in body(operator.get(INDEXES))
    assert "Drop the index" in body(operator.get(address))
    assert "Type tools_name_ccnew to confirm" in body(operator.post(address, {"typed": "yes"}), 400)
    assert "is queued" in body(operator.post(address, {"typed": "tools_name_ccnew"}, follow=True))
    job = done()
    assert job.state == Job.State.SUCCEEDED
    assert (
        "tools_name_ccnew"
        not in body(operator.get(INDEXES)).partition("At work")[0].partition("What to do")[2]
    )
    event = Event.objects.get(kind="postgres.maintained", data__command="DROP INDEX CONCURRENTLY")
    assert event.data["definition"].startswith("CREATE UNIQUE INDEX tools_name_ccnew")


def test_duplicate_and_redundant_indexes(
    yard: str, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judged, "NEEDLESS_SIZE", 0)
    run("CREATE INDEX first ON yard.tools (kind)")
    run("CREATE INDEX again ON yard.tools (kind)")
    run("CREATE INDEX wide ON yard.tools (name, kind)")
    run("CREATE INDEX begins ON yard.tools (name)")
    run("CREATE INDEX differs ON yard.tools (name) WHERE kind = 1")
    run("CREATE INDEX downwards ON yard.tools (kind DESC)")
    run("CREATE UNIQUE INDEX rule ON yard.tools (name)")
    run("CREATE INDEX same_as_key ON yard.tools (id)")
    page = body(operator.get(INDEXES))
    for name, other in (("again", "first"), ("same_as_key", "tools_pkey")):
        assert f"yard.{name} (8 kB) of yard.tools is the same as {other}" in page
    assert "yard.begins (8 kB) of yard.tools is the same as rule" in page
    for name in ("first", "wide", "differs", "downwards", "rule", "tools_pkey"):
        assert f"yard.{name} (8 kB) of" not in page
    refused = body(operator.get(f"{INDEXES}yard/rule/drop/"))
    assert "it is never dropped from here" in refused
    assert body(operator.post(f"{INDEXES}yard/wide/drop/", {"typed": "wide"}), 409)
    run("DROP INDEX yard.rule")
    assert "yard.begins (8 kB) of yard.tools is the beginning of wide" in body(operator.get(INDEXES))
    operator.post(f"{INDEXES}yard/again/drop/", {"typed": "again"})
    assert done().state == Job.State.SUCCEEDED
    assert "yard.again (8 kB) of" not in body(operator.get(INDEXES))
    assert one("SELECT to_regclass('yard.first') IS NOT NULL")


def test_an_unused_index(yard: str, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(60_000)
    run("CREATE INDEX idle ON yard.tools (name)")
    run("CREATE UNIQUE INDEX rule ON yard.tools (name, id)")
    assert "was not used once" not in body(operator.get(INDEXES)), "the statistics are too young"
    monkeypatch.setattr(judged, "UNUSED_AFTER", timedelta(0))
    page = body(operator.get(INDEXES))
    assert "yard.rule (" not in page.partition("What to do")[2].partition("<table")[0]
    assert "yard.idle (" in page
    run("DROP INDEX yard.rule")
    page = body(operator.get(INDEXES))
    assert "was not used once since" in page
    operator.post(f"{INDEXES}yard/idle/drop/", {"typed": "idle"})
    assert done().state == Job.State.SUCCEEDED
    assert "was not used once" not in body(operator.get(INDEXES))


def test_what_an_index_of_a_long_name_left_is_found_again(yard: str, operator: Client) -> None:
    """63 bytes are some 30 letters of Cyrillic: PostgreSQL cuts what is longer."""
    name, column = "инструменты_и_их_виды", "вид_инструмента"
    run(f'CREATE TABLE yard."{name}" ("{column}" int REFERENCES yard.tools)')
    run("INSERT INTO yard.tools VALUES (1, 'hammer', 1)")
    run(f'INSERT INTO yard."{name}" SELECT 1 FROM generate_series(1, {judged.UNINDEXED_ROWS})')
    run(f'ANALYZE yard."{name}"')
    ask(operator, "create", name, column=[column])
    assert done().state == Job.State.SUCCEEDED
    made = one(f"SELECT indexname FROM pg_indexes WHERE schemaname = 'yard' AND tablename = '{name}'")
    run(f'DROP INDEX yard."{made}"')
    with pytest.raises(IntegrityError):
        run(f'CREATE UNIQUE INDEX CONCURRENTLY "{made}" ON yard."{name}" ("{column}")')
    run(f'DELETE FROM yard."{name}" AS one WHERE ctid <> (SELECT min(ctid) FROM yard."{name}")')
    ask(operator, "create", name, column=[column])
    job = done()
    assert (job.state, job.last_error) == (Job.State.SUCCEEDED, "")
    assert one(f"SELECT count(*) FROM pg_indexes WHERE tablename = '{name}'") == 1


def test_a_foreign_key_without_an_index_is_given_one(yard: str, operator: Client) -> None:
    fill(judged.UNINDEXED_ROWS)
    run("CREATE TABLE yard.kinds (id int PRIMARY KEY)")
    run("INSERT INTO yard.kinds SELECT generate_series(0, 6)")
    run("ALTER TABLE yard.tools ADD CONSTRAINT of_kind FOREIGN KEY (kind) REFERENCES yard.kinds")
    run("CREATE INDEX partial ON yard.tools (kind) WHERE kind > 3")
    run("ANALYZE yard.tools")
    page = body(operator.get(INDEXES))
    assert "The foreign key of_kind of yard.tools (kind) has no index" in page
    assert "No foreign key" in ask(operator, "create", "tools", column=["name"])
    ask(operator, "create", "tools", column=["kind"])
    job = done()
    assert (job.state, job.last_error) == (Job.State.SUCCEEDED, "")
    assert one("SELECT indexdef FROM pg_indexes WHERE indexname = 'idx_tools_kind'").endswith("(kind)")
    assert "of_kind" not in body(operator.get(INDEXES))


def test_an_ivfflat_index_on_nothing(yard: str, operator: Client) -> None:
    run("CREATE TABLE yard.vectors (id int PRIMARY KEY, v vector(8))")
    run("CREATE INDEX near ON yard.vectors USING ivfflat (v vector_cosine_ops) WITH (lists = 50)")
    page = body(operator.get(INDEXES))
    assert "yard.near is an IVFFlat index on an empty table: its 50 lists divide nothing" in page
    assert "lists 50" in page
    run(
        "INSERT INTO yard.vectors SELECT i, array_fill(random(), ARRAY[8])::vector "
        "FROM generate_series(1, 500) AS i"
    )
    run("ANALYZE yard.vectors")
    ask(operator, "reindex", "near")
    assert done().state == Job.State.SUCCEEDED
    assert "divide nothing" not in body(operator.get(INDEXES))


def test_a_cancelled_reindex_ends_in_the_database_and_leaves_nothing(yard: str, operator: Client) -> None:
    """It waits for a transaction that began before it; the job is cancelled meanwhile."""
    fill(100)
    run("CREATE INDEX slow ON yard.tools (kind)")
    parameters = connection.get_connection_params()
    other = psycopg.connect(
        **{key: parameters[key] for key in ("dbname", "user", "password", "host", "port")}
    )
    other.execute("UPDATE yard.tools SET kind = 99 WHERE id = 1")
    ask(operator, "reindex", "slow")
    job = Job.objects.latest("created_at")
    thread = in_thread(lambda: ledger.run(job.pk))
    marker = f"/* arcweb maintenance {job.pk} */"
    try:
        until(
            lambda: one("SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%'") > 0
        )
        until(lambda: "waiting" in Job.objects.get(pk=job.pk).message)
        page = body(operator.get(TABLES))
        assert "REINDEX CONCURRENTLY" in page
        assert "waiting for" in page
        assert maintenance._at_work(marker)
        assert ledger.cancel(job.pk)
        thread.join(60)
        assert not thread.is_alive()
    finally:
        other.rollback()
        other.close()
        thread.join(60)
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED
    assert not maintenance._at_work(marker)
    assert ledger.retry(job.pk)
    assert done().state == Job.State.SUCCEEDED
    assert [index.name for index in indexes.indexes(table_oid())] == ["slow", "tools_pkey"] or {
        index.name for index in indexes.indexes(table_oid())
    } == {"slow", "tools_pkey"}


def test_a_lock_that_is_not_to_be_had_is_given_up(
    yard: str, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "LOCK_PATIENCE", 0.5)
    parameters = connection.get_connection_params()
    with psycopg.connect(
        **{key: parameters[key] for key in ("dbname", "user", "password", "host", "port")}
    ) as other:
        other.execute("LOCK TABLE yard.tools IN SHARE MODE")
        ask(operator, "vacuum", "tools")
        job = done()
        assert job.state == Job.State.QUEUED, "it is tried again"
        assert f"waits for its lock behind session {other.info.backend_pid}" in job.last_error


def test_who_may_not(yard: str) -> None:
    viewer = client_of("viewer")
    assert "Reindex" not in body(viewer.get(INDEXES))
    assert (
        viewer.post(
            "/postgres/maintain/", {"action": "vacuum", "schema": "yard", "name": "tools"}
        ).status_code
        == 403
    )
    assert viewer.get(f"{INDEXES}yard/tools_pkey/drop/").status_code == 403
    assert client_of().get(TABLES).status_code == 403
    assert not Job.objects.filter(kind="postgres-vacuum").exists()


@pytest.mark.parametrize("field", ["schema", "name", "column"])
def test_a_zero_byte_in_the_form_is_told(yard: str, operator: Client, field: str) -> None:
    asked = {"action": "create", "schema": "yard", "name": "tools", "column": "id"}
    answer = operator.post("/postgres/maintain/", asked | {field: "to\x00ols"})
    assert answer.status_code == 400
    assert "The form holds a zero byte" in answer.content.decode()
    assert not Job.objects.exists()
