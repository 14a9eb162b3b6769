import numpy as np
import pytest

from memories.vectors import BadVectorsError, checked


def test_short_vectors_are_padded_and_keep_their_similarity() -> None:
    raw = np.random.default_rng(1).normal(size=(2, 384)).astype(np.float32)
    stored = checked(raw, count=2, dimensions=1536)
    assert stored.shape == (2, 1536)
    assert stored.dtype == np.float32
    assert not stored[:, 384:].any()

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(*stored) == pytest.approx(cosine(*raw), abs=1e-6)


@pytest.mark.parametrize(
    ("raw", "count", "words"),
    [
        ([[1.0, 2.0]], 2, "2 texts were sent and 1 vectors came back"),
        ([[1.0] * 9], 1, "9 dimensions and the column holds 8"),
        ([[1.0, float("nan")]], 1, "NaN or infinity"),
        ([[float("inf"), 1.0]], 1, "NaN or infinity"),
        ([[0.0, 0.0]], 1, "length zero"),
        ([[1.0], [1.0, 2.0]], 2, "differ in their number of dimensions"),
        ([["a"]], 1, "hold no numbers"),
        ([], 1, "0 vectors came back"),
        ([[]], 1, "0 dimensions"),
    ],
)
def test_unusable_vectors_are_refused_in_words(raw: list[list[float]], count: int, words: str) -> None:
    with pytest.raises(BadVectorsError, match=words):
        checked(raw, count=count, dimensions=8)
