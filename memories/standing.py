"""How a memory stands with its vector: a shape, a word, and a sentence that says what to do. No queries."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from memories.models import EXTERNAL_MODEL, EmbeddingState, Memory

#: The shape of each state, as pages show it.
SHAPES: dict[str, str] = {
    EmbeddingState.EMBEDDED: "good",
    EmbeddingState.PENDING: "idle",
    EmbeddingState.STALE: "warn",
    EmbeddingState.FAILED: "bad",
    EmbeddingState.EMPTY: "idle",
}


class Standing(NamedTuple):
    shape: str
    word: str
    sentence: str


def standing(memory: Memory, now: datetime) -> Standing:
    """The state of a memory for people, at that time."""
    state = EmbeddingState(memory.embedding_state)
    return Standing(SHAPES[state], state.label, _SENTENCES[state](memory, now))


def _embedded(memory: Memory, now: datetime) -> str:
    when = f" on {memory.embedded_at:%Y-%m-%d at %H:%M:%S} UTC" if memory.embedded_at else ""
    if memory.embedding_model == EXTERNAL_MODEL:
        return (
            f"Another service stored its vector{when} without naming the model; searches compare it only "
            "when ARC_EXTERNAL_MODEL names that model."
        )
    return f"Embedded by {memory.embedding_model}{when}; searches by meaning find it."


def _pending(memory: Memory, now: datetime) -> str:
    return f"It waits for its vector; until then it is found by keyword only.{_waits(memory, now)}"


def _stale(memory: Memory, now: datetime) -> str:
    since = f" of {memory.embedded_at:%Y-%m-%d at %H:%M:%S} UTC" if memory.embedded_at else ""
    return (
        f"The content has changed since its vector{since} was made; searches find it by its old meaning "
        f"until it is embedded again.{_waits(memory, now)}"
    )


def _failed(memory: Memory, now: datetime) -> str:
    return (
        f"It could not be embedded: {memory.embedding_error or 'no reason was recorded.'} Searches by "
        "meaning miss it. Change the content, or mend the provider, and have it embedded again."
    )


def _empty(memory: Memory, now: datetime) -> str:
    return "It has no content, so there is nothing to embed or to find."


def _waits(memory: Memory, now: datetime) -> str:
    why = f" Last time: {memory.embedding_error}" if memory.embedding_error else ""
    due = memory.embedding_due_at
    if due is None or due <= now:
        return f" It is due now.{why}"
    if due.year == 9999:
        return f" It is held back.{why}"
    return f" It is in work, or is tried again at {due:%H:%M:%S} UTC.{why}"


_SENTENCES = {
    EmbeddingState.EMBEDDED: _embedded,
    EmbeddingState.PENDING: _pending,
    EmbeddingState.STALE: _stale,
    EmbeddingState.FAILED: _failed,
    EmbeddingState.EMPTY: _empty,
}
