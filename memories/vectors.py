"""Vectors before they are stored: checked and padded. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Vectors: TypeAlias = npt.NDArray[np.float32]


class BadVectorsError(ValueError):
    """What came back is not what can be stored; the message says what is wrong with it."""


def checked(raw: Vectors | Sequence[Sequence[float]], *, count: int, dimensions: int) -> Vectors:
    """The vectors as float32 of shape (count, dimensions), padded with zeros on the right.

    Zeros leave cosine similarity as it is. Raises BadVectorsError for another number of vectors
    than texts, ragged or too many dimensions, NaN or infinity, or a vector of length zero, which no
    index holds and no similarity is defined for.
    """
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity and is refused below
            vectors = np.asarray(raw, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise BadVectorsError(
            "the vectors differ in their number of dimensions or hold no numbers"
        ) from error
    if vectors.ndim != 2 or vectors.shape[0] != count:
        raise BadVectorsError(f"{count} texts were sent and {len(vectors)} vectors came back")
    if vectors.shape[1] == 0 or vectors.shape[1] > dimensions:
        raise BadVectorsError(
            f"the model gives {vectors.shape[1]} dimensions and the column holds {dimensions}; "
            "choose a model that has fewer or can shorten its vectors (ARC_OPENAI_DIMENSIONS)"
        )
    if not np.isfinite(vectors).all():
        raise BadVectorsError("a vector holds NaN or infinity")
    if not np.linalg.norm(vectors, axis=1).all():
        raise BadVectorsError("a vector has length zero")
    return np.pad(vectors, ((0, 0), (0, dimensions - vectors.shape[1])))
