"""Search against the real database; similarity is checked against numpy's own arithmetic."""

import threading
import uuid
from typing import Any

import numpy as np
import pytest
from django.db import connection

from agents.models import Agent
from memories.left_out import LeftOut, left_out
from memories.models import Memory
from memories.search import Filters, SearchInputError, by_vector, routes, search
from tests.memories.conftest import EmbeddingServer

pytestmark = pytest.mark.django_db

MODEL = "test-model"


def store(
    agent: Agent | None, count: int, *, seed: int = 1, model: str = MODEL, metadata: Any = None
) -> np.ndarray:
    """`count` memories with random vectors of 16 dimensions; returns the vectors, padded."""
    vectors = np.zeros((count, 1536), dtype=np.float32)
    vectors[:, :16] = np.random.default_rng(seed).normal(size=(count, 16))
    Memory.objects.bulk_create(
        Memory(
            agent=agent,
            content=f"memory {seed}-{n}",
            embedding=vector,
            embedding_model=model,
            metadata=metadata or {"n": n},
        )
        for n, vector in enumerate(vectors)
    )
    return vectors


def cosine(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    return vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)


def a_query(seed: int = 99) -> np.ndarray:
    query = np.zeros(1536, dtype=np.float32)
    query[:16] = np.random.default_rng(seed).normal(size=16)
    return query


def test_similarity_is_one_minus_cosine_distance_and_the_order_is_exact(agent: Agent) -> None:
    vectors = store(agent, 300)
    query = a_query()
    result = by_vector(query, [MODEL], Filters(agent.pk), 10)
    expected = np.sort(cosine(vectors, query))[::-1][:10]
    assert result.route == "exact"
    assert result.candidates == 300
    assert [hit.similarity for hit in result.hits] == pytest.approx(list(expected), abs=1e-5)


def test_only_vectors_of_the_same_model_are_compared(agent: Agent) -> None:
    store(agent, 5)
    store(agent, 5, seed=2, model="another-model")
    store(agent, 5, seed=3, model="")
    result = by_vector(a_query(), [MODEL], Filters(agent.pk), 50)
    assert {hit.content.split("-")[0] for hit in result.hits} == {"memory 1"}


def test_filters_narrow_by_agent_type_and_metadata(agent: Agent) -> None:
    voice = Agent.objects.create(name="caller", type="voice")
    store(agent, 4)
    store(voice, 4, seed=2)
    store(None, 4, seed=3)
    query = a_query()
    assert len(by_vector(query, [MODEL], Filters(), 50).hits) == 12
    assert {h.agent_name for h in by_vector(query, [MODEL], Filters(agent_type="voice"), 50).hits} == {
        "caller"
    }
    found = by_vector(query, [MODEL], Filters(metadata={"n": 2}), 50).hits
    assert {hit.metadata["n"] for hit in found} == {2}
    assert len(found) == 3
    assert by_vector(query, [MODEL], Filters(agent_id=uuid.uuid4()), 50).hits == []


def test_the_index_route_never_gives_fewer_than_k(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rare agent among many rows: what an index scan with a filter afterwards gets wrong."""
    monkeypatch.setattr(routes, "EXACT_ROWS", 10)
    crowd = Agent.objects.create(name="crowd", type="assistant")
    query = a_query()
    noise = np.random.default_rng(5).normal(scale=0.3, size=(630, 1536)).astype(np.float32)
    Memory.objects.bulk_create(
        Memory(agent=crowd, content="near", embedding=query + row, embedding_model=MODEL)
        for row in noise[:600]
    )
    mine = noise[600:] - query  # on the other side: an index scan meets the crowd first, and gives up
    Memory.objects.bulk_create(
        Memory(agent=agent, content="far", embedding=row, embedding_model=MODEL) for row in mine
    )
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL hnsw.max_scan_tuples = 1")
        cursor.execute("ANALYZE agents.memories")
    result = by_vector(query, [MODEL], Filters(agent.pk), 20)
    expected = np.sort(cosine(mine, query))[::-1][:20]
    assert result.route == "exact"
    assert [hit.similarity for hit in result.hits] == pytest.approx(list(expected), abs=1e-5)


def test_the_index_route_uses_the_index_and_finds_what_exact_search_finds(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = store(agent, 1500)
    query = a_query()
    monkeypatch.setattr(routes, "EXACT_ROWS", 100)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE agents.memories")
    before = index_scans()
    result = by_vector(query, [MODEL], Filters(), 10)
    assert result.route == "hnsw"
    assert result.candidates_capped
    assert index_scans() > before
    expected = np.sort(cosine(vectors, query))[::-1][:10]
    found = [hit.similarity or 0 for hit in result.hits]
    assert len(found) == 10
    assert sum(np.isclose(expected, similarity, atol=1e-5).any() for similarity in found) >= 8


def index_scans() -> int:
    """Scans of the vector index in the current transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_get_xact_numscans('agents.idx_memories_embedding'::regclass)")
        return int(cursor.fetchone()[0])


def test_the_query_is_embedded_by_the_provider(agent: Agent, embedding_server: EmbeddingServer) -> None:
    provider = embedding_server.provider()
    for content in ("alpha", "beta"):
        memory = Memory.objects.create(agent=agent, content=content)
        Memory.objects.filter(pk=memory.pk).update(
            embedding=provider.embed([content])[0], embedding_model=provider.model
        )
    result = search("alpha", provider, filters=Filters(agent.pk), k=2)
    assert result.hits[0].content == "alpha"
    assert result.hits[0].similarity == pytest.approx(1, abs=1e-5)


def test_a_provider_that_is_late_gives_a_keyword_answer_that_says_so(
    agent: Agent, embedding_server: EmbeddingServer, settings: Any
) -> None:
    settings.ARC_QUERY_DEADLINE = 0.2
    answered = threading.Event()

    def late(body: Any) -> Any:
        answered.wait(60)
        return embedding_server.vectors(body)

    embedding_server.answer = late
    Memory.objects.create(agent=agent, content="The worker keeps a lease on the batch.")
    Memory.objects.create(agent=agent, content="Nothing of the kind.")
    result = search("leases", embedding_server.provider(timeout=60.0), filters=Filters(agent.pk))
    answered.set()
    assert result.route == "keyword"
    assert "did not answer within 0.2 s" in result.note
    assert [hit.content for hit in result.hits] == ["The worker keeps a lease on the batch."]
    assert result.hits[0].similarity is None


def test_keyword_search_takes_phrases_and_exclusions(agent: Agent, embedding_server: EmbeddingServer) -> None:
    for content in ("red apple pie", "red apple tart", "apple red"):
        Memory.objects.create(agent=agent, content=content)
    found = search('"red apple" -tart', embedding_server.provider(), filters=Filters(), mode="keyword").hits
    assert [hit.content for hit in found] == ["red apple pie"]
    assert embedding_server.asked == []


def test_a_vector_of_another_service_is_searched_when_its_model_is_declared(
    agent: Agent, embedding_server: EmbeddingServer, settings: Any
) -> None:
    provider = embedding_server.provider()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO agents.memories (agent_id, content, embedding) VALUES (%s, 'theirs', %s)",
            [agent.pk, str([1.0, *[0.0] * 1535])],
        )
    assert search("q", provider, filters=Filters(agent.pk)).hits == []
    settings.ARC_EXTERNAL_MODEL = "test-model"
    assert [hit.content for hit in search("q", provider, filters=Filters(agent.pk)).hits] == ["theirs"]


@pytest.mark.parametrize(
    ("query", "k", "words"),
    [("", 10, "Type what"), ("  ", 10, "Type what"), ("x" * 701, 10, "701 characters"), ("a", 0, "k is 0"),
     ("a", 201, "k is 201"), ("a\x00b", 10, "zero byte")],
)  # fmt: skip
def test_input_that_cannot_be_searched_is_told_in_words(
    embedding_server: EmbeddingServer, query: str, k: int, words: str
) -> None:
    with pytest.raises(SearchInputError, match=words):
        search(query, embedding_server.provider(), filters=Filters(), k=k)


def embedded(agent: Agent, provider: Any, *contents: str) -> None:
    for content in contents:
        memory = Memory.objects.create(agent=agent, content=content)
        Memory.objects.filter(pk=memory.pk).update(
            embedding=provider.embed([content])[0], embedding_model=provider.model
        )


def test_a_hybrid_search_fuses_both_orders_and_tells_the_places(
    agent: Agent, embedding_server: EmbeddingServer
) -> None:
    provider = embedding_server.provider()
    embedded(agent, provider, "red apple", *(f"filler {n}" for n in range(8)))
    Memory.objects.create(agent=agent, content="the red apple pie without a vector")
    result = search("red apple", provider, filters=Filters(agent.pk), k=20, mode="hybrid")
    assert result.route == "hybrid"
    assert result.how == "hybrid of 9 by meaning (exact, 9 rows) and 2 by any word (2 rows match)"
    first, second = result.hits[:2]
    assert (first.content, first.place_by_meaning) == ("red apple", 1)
    assert first.place_by_keyword in (1, 2)
    assert first.similarity == pytest.approx(1, abs=1e-5)
    assert first.score == pytest.approx(1 / 61 + 1 / (60 + first.place_by_keyword))
    assert len(result.hits) == 10
    only_by_word = next(hit for hit in result.hits if "pie" in hit.content)
    assert (only_by_word.similarity, only_by_word.place_by_meaning) == (None, None)
    assert only_by_word.rank
    assert all(hit.rank is None for hit in result.hits if hit.content.startswith("filler"))
    assert second.score is not None
    assert second.score < first.score
    assert len(search("red", provider, filters=Filters(agent.pk), k=3, mode="hybrid").hits) == 3


def test_the_sql_that_ran_runs_again_as_it_is_shown(agent: Agent, embedding_server: EmbeddingServer) -> None:
    metadata = {"o'brien": "%(q)s; -- \\"}
    for number in range(3):
        Memory.objects.create(agent=agent, content=f"it's a lease, 100% {number}", metadata=metadata)
    result = search(
        "lease it's 100%",
        embedding_server.provider(),
        filters=Filters(agent.pk, agent.type, metadata),
        mode="keyword",
    )
    assert len(result.hits) == 3
    statements = [part for part in result.sql.split(";\n") if "ts_rank_cd" in part]
    with connection.cursor() as cursor:
        cursor.execute(statements[0])
        assert [row[0] for row in cursor.fetchall()] == [hit.id for hit in result.hits]
    assert result.sql.startswith("BEGIN;\nSET LOCAL statement_timeout")
    assert result.sql.endswith("COMMIT;")


def test_the_vector_is_abbreviated_in_the_sql_and_this_is_said(
    agent: Agent, embedding_server: EmbeddingServer
) -> None:
    provider = embedding_server.provider()
    embedded(agent, provider, "alpha")
    result = search("alpha", provider, filters=Filters(agent.pk))
    assert result.sql.startswith("-- The query's vector is abbreviated.")
    assert result.sql.count("…]") == 1
    assert len(result.sql) < 3000
    assert f"m.agent_id = '{agent.pk.hex}'" in result.sql
    assert "hnsw" not in result.sql


def test_how_it_was_found_is_told_in_words(
    agent: Agent, embedding_server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(agent, 1204)
    assert by_vector(a_query(), [MODEL], Filters(), 10).how == "exact, 1,204 rows"
    monkeypatch.setattr(routes, "EXACT_ROWS", 1000)
    how = by_vector(a_query(), [MODEL], Filters(), 10).how
    assert how == "HNSW index, ef_search 100, over more than 1,000 rows"
    assert "ef_search 400" in by_vector(a_query(), [MODEL], Filters(), 200).how

    def away(body: Any) -> Any:
        return 503, {}, {"error": {"message": "overloaded"}}

    embedding_server.answer = away
    result = search("alpha", embedding_server.provider(retries=0), filters=Filters())
    assert result.how == "keyword, because the model did not answer in time, 0 rows match"
    assert result.timing.embedding > 0
    assert result.milliseconds >= result.timing.embedding


def test_the_querys_words_are_marked_by_their_stems(agent: Agent, embedding_server: EmbeddingServer) -> None:
    provider = embedding_server.provider()
    text = "A worker's lease, <b>leases</b> & &amp; a \x01 trick\x02: http://lease.example/lease"
    embedded(agent, provider, text, "A worker renews leases.")
    for mode in ("semantic", "keyword", "hybrid"):
        hits = search("the lease", provider, filters=Filters(agent.pk), mode=mode).hits
        words = {hit.content: [hit.content[start:end] for start, end in hit.words] for hit in hits}
        assert words["A worker renews leases."] == ["leases"], mode
        assert words[text] == [], "marks in the content make the text differ: nothing is marked"
    embedded(agent, provider, "<b>leases</b> & &amp; the lease <script>lease</script>")
    [hit] = search("script", provider, filters=Filters(agent.pk), k=1, mode="semantic").hits
    hit = search("leases", provider, filters=Filters(agent.pk), k=9, mode="semantic").hits[0]
    assert all(hit.content[start:end].startswith("lease") for start, end in hit.words)


def test_a_hybrid_search_takes_any_word_but_leaves_out_what_it_must(
    agent: Agent, embedding_server: EmbeddingServer
) -> None:
    provider = embedding_server.provider()
    embedded(agent, provider, "filler")
    for content in ("the lease ends", "a worker waits", "a worker's lease"):
        Memory.objects.create(agent=agent, content=content)

    def found(query: str, mode: str = "hybrid") -> set[str]:
        hits = search(query, provider, filters=Filters(agent.pk), k=9, mode=mode).hits
        return {hit.content for hit in hits if hit.place_by_keyword or mode == "keyword"}

    assert found("how long does a worker lease last?") == {
        "the lease ends",
        "a worker waits",
        "a worker's lease",
    }
    assert found("how long does a worker lease last?", "keyword") == set()
    assert found('"worker waits"') == {"a worker waits"}
    assert found("lease -worker") == {"the lease ends"}


def test_a_word_that_is_everywhere_is_ranked_among_so_many(
    agent: Agent, embedding_server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "RANKED_ROWS", 5)
    for number in range(9):
        Memory.objects.create(agent=agent, content=f"lease {number}")
    result = search("lease", embedding_server.provider(), filters=Filters(), k=9, mode="keyword")
    assert (len(result.hits), result.candidates_capped) == (5, True)
    assert result.how == "keyword, ranked among the first 5 rows that match"


def test_an_unknown_mode_is_told(embedding_server: EmbeddingServer) -> None:
    with pytest.raises(SearchInputError, match="no mode 'psychic'"):
        search("a", embedding_server.provider(), filters=Filters(), mode="psychic")


def test_what_is_left_out_is_counted_by_reason(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    store(agent, 2)
    store(agent, 3, seed=2, model="aaa")
    store(agent, 4, seed=3, model="zzz")
    store(agent, 5, seed=4, model="external")
    Memory.objects.create(agent=agent, content="waits")
    failed = Memory.objects.create(agent=agent, content="failed")
    Memory.objects.filter(pk=failed.pk).update(embedding_state="failed")
    Memory.objects.create(content="nobody's")
    mine = Filters(agent.pk)
    assert left_out(mine, [MODEL]) == LeftOut(rows=16, pending=1, failed=1, other_models=12)
    assert left_out(mine, [MODEL, "external"]).other_models == 7
    assert left_out(mine, ["external", "aaa"]).other_models == 6
    assert left_out(Filters(), [MODEL]).pending == 2
    assert left_out(Filters(metadata={"n": 3}), [MODEL]) == LeftOut(
        rows=2, pending=0, failed=0, other_models=2
    )
    monkeypatch.setattr("memories.left_out.MOST_COUNTED", 4)
    assert left_out(mine, [MODEL]).other_models == 5
