"""Whether two searches found the same, up to ties: images whose scores are equal but for rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

from imgbench.index._faiss import concrete, faiss

TOLERANCE = 1e-4
"""Scores of unit vectors so close count as tied: float32 sums in another order differ by 1e-6, those with a
half-precision code by 1e-5."""
LISTS = 2e-6
"""Scores of centroids so close may change places: float32 sums in another order."""


def differences(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray], tolerance: float = TOLERANCE
) -> tuple[int, int, float]:
    """Of two searches, each (scores, rows) of shape (query, k) in falling order: on how many hits they differ
    beyond ties, on how many at all, and how far the scores of a rank lie apart at most.

    They differ beyond ties where the scores of a rank lie further apart than `tolerance`, and for each image
    of either that stands at another rank in the other search with a score further away, or was left out
    there although it scored higher than the last one by more than that.

    >>> scores = np.float32([[0.9, 0.5, 0.5]])
    >>> differences((scores, np.array([[1, 2, 3]])), (scores, np.array([[1, 3, 4]])))[:2]
    (0, 2)
    >>> differences((scores, np.array([[1, 2, 3]])), (scores, np.array([[4, 2, 3]])))[:2]
    (2, 1)
    """
    apart = np.abs(first[0].astype(np.float64) - second[0])
    apart[(first[1] < 0) & (second[1] < 0)] = 0.0  # neither found so many: no scores to compare
    moved = first[1] != second[1]
    wrong = int((apart > tolerance).sum())
    for query in np.flatnonzero(moved.any(axis=1)):
        wrong += _unexplained(first, second, query, tolerance) + _unexplained(second, first, query, tolerance)
    return wrong, int(moved.sum()), float(apart.max(initial=0.0))


def _unexplained(
    ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray], query: int, tolerance: float
) -> int:
    """Hits of ours whose image has another score among theirs, or is missing there without being tied."""
    known = dict(zip(theirs[1][query].tolist(), theirs[0][query].tolist(), strict=True))
    last = theirs[0][query][-1]
    pairs = zip(ours[0][query].tolist(), ours[1][query].tolist(), theirs[1][query].tolist(), strict=True)
    return sum(
        bool(abs(score - known.get(row, last)) > tolerance)
        for score, row, other in pairs
        if row != other and row >= 0
    )


def tied_lists(index: Any, queries: np.ndarray, nprobe: int | None) -> np.ndarray:
    """(query,) whether the last list that is probed and the next one score the same but for rounding."""
    index = concrete(index)
    if isinstance(index, faiss.IndexPreTransform):
        for row in range(index.chain.size()):
            queries = faiss.downcast_VectorTransform(index.chain.at(row)).apply(queries)
        return tied_lists(index.index, queries, nprobe)
    if not isinstance(index, faiss.IndexIVF) or not nprobe or nprobe >= index.nlist:
        return np.zeros(len(queries), bool)
    scores, _ = index.quantizer.search(queries, nprobe + 1)
    return scores[:, -2] - scores[:, -1] < LISTS
