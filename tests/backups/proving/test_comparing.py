"""A restored database that differs from the manifest in any one thing is found out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from arcweb.backups import content, scratch, server
from arcweb.backups.exceptions import CorruptCopy
from arcweb.backups.manifest import Manifest
from arcweb.backups.proving import comparing, loading, looks
from arcweb.backups.proving.ladder import Console, Ladder, NotTried
from arcweb.backups.restore import loading as restoring
from arcweb.backups.restore.journal import Journal
from arcweb.backups.restore.source import Source
from tests.backups.proving import sample
from tests.backups.proving.conftest import Sample


@pytest.fixture(scope="module", params=["custom", "plain"])
def restored(
    request: pytest.FixtureRequest, source: Sample, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Manifest]]:
    """The name of a database that the sample was restored into, and its manifest."""
    folder = tmp_path_factory.mktemp("copy")
    manifest = sample.write(folder, source.raw(request.param), source.facts, request.param)
    path = folder / "raw"
    path.write_bytes(source.raw(request.param))
    with scratch.database("test") as name:
        loading.load(path, name, trusted=True, plain=request.param == "plain")
        yield name, manifest


def compare(connection: psycopg.Connection[Any], manifest: Manifest) -> Ladder:
    ladder = Ladder(Console())
    comparing.compare(connection, manifest, ladder)
    return ladder


def test_what_was_restored_is_the_same_in_everything(restored: tuple[str, Manifest]) -> None:
    name, manifest = restored
    with server.connect(name) as connection:
        ladder = compare(connection, manifest)
        assert [step.ok for step in ladder.steps] == [True] * 4
        row = connection.execute("SELECT max(length(metadata::text)), count(embedding) FROM agents.memories")
        assert row.fetchone() == (40_021, 60)


FIRST = "WHERE id = (SELECT min(id::text)::uuid FROM agents.memories WHERE embedding IS NOT NULL)"
CHANGES = {
    "a vector's last bit": (
        f"UPDATE agents.memories SET embedding = embedding + '[0,0,0,0,0,0,0,0.0000002]'::vector {FIRST}",
        "agents.memories has 62 rows as it should, but not the same content",
    ),
    "one letter deep in large metadata": (
        f"""UPDATE agents.memories SET metadata = jsonb_set(metadata, '{{text}}',
            to_jsonb(overlay(metadata->>'text' placing 'x' from 39999 for 1))) {FIRST}""",
        "agents.memories has 62 rows as it should, but not the same content",
    ),
    "nothing where an empty text was": (
        "UPDATE agents.memories SET content = NULL WHERE content = ''",
        "agents.memories has 62 rows as it should, but not the same content",
    ),
    "two rows with each other's number": (
        "UPDATE agents.memories SET agent_id = CASE agent_id WHEN 1 THEN 2 ELSE 1 END WHERE agent_id < 3",
        "agents.memories has 62 rows as it should, but not the same content",
    ),
    "a row less": ("DELETE FROM agents.agents WHERE id = 3", "agents.agents has 2 rows instead of 3"),
    "a row more": (
        "INSERT INTO events.events (kind, occurred_at) VALUES ('d', '1999-01-01')",
        "events.events_default has 2 rows instead of 1",
    ),
    "an event in another month": (
        "UPDATE events.events SET occurred_at = '2026-11-04' WHERE kind = 'a'",
        "events.events_2026_11 has 2 rows as it should, but not the same content",
    ),
    "a partition detached": (
        "ALTER TABLE events.events DETACH PARTITION events.events_2026_11",
        "events.events_2026_11 is not a partition of events.events",
    ),
    "a table less": ("DROP TABLE agents.memories", "agents.memories is missing"),
    "a table more": ("CREATE TABLE public.stranger ()", "public.stranger is not in the manifest"),
    "a sequence less": ("ALTER TABLE agents.agents ALTER COLUMN id DROP IDENTITY", "were not restored"),
    "a sequence set back": (
        "SELECT setval('agents.agents_id_seq', 1)",
        "Sequences would give numbers that are taken",
    ),
    "a sequence that was never used": (
        "ALTER SEQUENCE events.numbers RESTART",
        "events.numbers stands at 0 and id of events.events goes to 3",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_difference_is_found(restored: tuple[str, Manifest], change: str) -> None:
    name, manifest = restored
    sql, said = CHANGES[change]
    with server.connect(name) as connection:
        with connection.transaction(force_rollback=True):
            connection.execute("ALTER TABLE agents.agents DISABLE TRIGGER touched")
            connection.execute(sql)
            with pytest.raises(CorruptCopy) as caught:
                compare(connection, manifest)
        assert said in str(caught.value)


def test_a_sequence_that_was_behind_when_it_was_copied_is_as_it_was(restored: tuple[str, Manifest]) -> None:
    name, manifest = restored
    with server.connect(name) as connection, connection.transaction(force_rollback=True):
        connection.execute("SELECT setval('agents.agents_id_seq', 1)")
        then = replace(manifest, sequences=content.sequences(connection))
        assert "2 sequences stand where they should" in comparing.sequences(connection, then)


def test_a_sequence_that_counts_down_is_behind_while_it_stands_above(restored: tuple[str, Manifest]) -> None:
    name, _ = restored
    with server.connect(name) as connection, connection.transaction(force_rollback=True):
        connection.execute("CREATE TABLE public.t (i integer)")
        connection.execute("CREATE SEQUENCE public.down INCREMENT BY -1 MAXVALUE 10 OWNED BY public.t.i")
        connection.execute("INSERT INTO public.t VALUES (9), (5)")
        for last, behind in ((7, True), (5, False), (3, False)):
            connection.execute("SELECT setval('public.down', %s)", [last])
            (found,) = (one for one in looks.feeds(connection) if one.sequence == ("public", "down"))
            assert (found.last, found.behind) == (last, behind)


def test_an_index_that_is_not_used_is_found(restored: tuple[str, Manifest]) -> None:
    name, manifest = restored
    with sample.superuser(name) as connection, connection.transaction(force_rollback=True):
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'agents.facts'::regclass"
        )
        with pytest.raises(CorruptCopy, match=r"does not use these indexes: agents\.facts"):
            comparing.structure(connection, manifest)


def test_a_dump_from_outside_is_restored_and_never_proven(restored: tuple[str, Manifest]) -> None:
    name, manifest = restored
    bare = replace(manifest, tables=[], client={"outside": "theirs.dump"})
    with server.connect(name) as connection, pytest.raises(NotTried, match="from outside without a manifest"):
        compare(connection, bare)
    journal = Journal("1", "restore", "runs", "", live="", new=name, before="")
    said = restoring.compare(Source(Path("theirs.dump.zst"), bare), journal, lambda done, total: None)
    assert said == "4 tables; there is no manifest to compare with."


def test_an_index_that_partitions_still_lack_is_no_damage(restored: tuple[str, Manifest]) -> None:
    name, manifest = restored
    with server.connect(name) as connection, connection.transaction(force_rollback=True):
        connection.execute("CREATE INDEX on_the_way ON ONLY events.events (kind)")
        connection.execute("SET LOCAL enable_indexscan = off")
        assert "Valid indexes" in comparing.structure(connection, manifest)
        assert "gave 10 neighbours" in comparing.vectors(connection)


def test_a_search_that_no_index_gives_is_found(
    restored: tuple[str, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = restored
    with server.connect(name) as connection:
        assert "nearest (hnsw) gave 10 neighbours" in comparing.vectors(connection)
        found = looks.vector_indexes(connection)
        connection.execute("DROP INDEX agents.nearest")
        try:
            assert comparing.vectors(connection) == "The copy has no index of vectors."
            monkeypatch.setattr(looks, "vector_indexes", lambda connection: found)
            with pytest.raises(CorruptCopy, match=r"does not use the index agents\.nearest"):
                comparing.vectors(connection)
        finally:
            connection.execute(
                "CREATE INDEX nearest ON agents.memories USING hnsw (embedding vector_cosine_ops)"
            )


def test_searches_follow_each_kind_of_index(restored: tuple[str, Manifest]) -> None:
    name, _ = restored
    with server.connect(name) as connection, connection.transaction(force_rollback=True):
        connection.execute("DROP INDEX agents.nearest")
        connection.execute(
            "UPDATE agents.memories SET embedding = '[0,0,0,0,0,0,0,0]' WHERE content LIKE 'memory 1 %'"
        )
        for number, index in enumerate(
            (
                "hnsw (embedding vector_l2_ops) WHERE size > 5",
                "hnsw ((embedding::halfvec(8)) halfvec_ip_ops)",
                "ivfflat (embedding vector_cosine_ops) WITH (lists = 1)",
            )
        ):
            with connection.transaction(force_rollback=True):
                connection.execute(f'CREATE INDEX "An index {number}" ON agents.memories USING {index}')
                assert "gave 10 neighbours" in comparing.vectors(connection), index
        # The row that is near to none stands first now.
        connection.execute(
            "UPDATE agents.memories SET content = content || '.' WHERE content NOT LIKE 'memory 1 %'"
        )
        connection.execute(
            "CREATE INDEX ON agents.memories USING ivfflat (embedding vector_cosine_ops) WITH (lists = 1)"
        )
        assert "gave 10 neighbours" in comparing.vectors(connection)


def test_hashes_of_another_kind_are_not_compared(restored: tuple[str, Manifest]) -> None:
    name, manifest = restored
    with server.connect(name) as connection:
        with pytest.raises(NotTried, match="hashes are of kind 0"):
            comparing.rows(connection, replace(manifest, client={"content": "0"}), Ladder(Console()))
        with pytest.raises(NotTried, match="had the extension postgis"):
            comparing.extensions(connection, replace(manifest, extensions={"postgis": "3", "vector": "0"}))
        with pytest.raises(NotTried, match="names no table"):
            comparing.rows(connection, replace(manifest, tables=[]), Ladder(Console()))
        agents = [one for one in manifest.tables if one.schema == "agents"]
        part = replace(manifest, scope={"schema": "agents"}, tables=agents)
        with pytest.raises(CorruptCopy, match=r"events\.\w+ is not in the manifest"):
            comparing.rows(connection, part, Ladder(Console()))
        older = replace(manifest, extensions={"vector": "0.1"})
        assert "0.1 in the copy" in comparing.structure(connection, older)
