"""Overlap against quality: what the images that an approximate search lost cost each query."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from imgbench.run import Run


@dataclass(frozen=True)
class Bin:
    """The queries that lost the share `lost` of their exact top k, and their mean change of score."""

    lost: float
    queries: int
    mean: float


@dataclass(frozen=True)
class OverlapQuality:
    """How lost overlap and lost score go together over the queries of one point.

    `pearson` and `spearman` correlate the two losses (None where one of them never varies). `unharmed` is the
    share of the queries with lost overlap whose score did not fall (None where none lost any).
    """

    pearson: float | None
    spearman: float | None
    unharmed: float | None
    bins: tuple[Bin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for results.json."""
        return asdict(self) | {"bins": [asdict(each) for each in self.bins]}


def lost_each(run: Run, truth: Run, k: int, query_ids: tuple[str, ...]) -> Float64[np.ndarray, "query"]:
    """The share of each query's exact top k that the run lacks; 0 for queries that neither answers."""
    shares = dict(zip(run.query_ids, (1 - run.overlap_each(truth, k)).tolist(), strict=True))
    return np.array([shares.get(query, 0.0) for query in query_ids])


def against_quality(
    lost: Float64[np.ndarray, "query"],
    deltas: Float64[np.ndarray, "query"],
) -> OverlapQuality:
    """Lost overlap and change of score, query by query.

    >>> found = against_quality(np.array([0, 0, 0.1, 0.5]), np.array([0, 0, 0, -0.4]))
    >>> round(found.pearson, 2), found.unharmed, [each.queries for each in found.bins]
    (0.98, 0.5, [2, 1, 1])
    """
    lost = lost.round(9)
    harmed = lost > 0
    unharmed = float((deltas[harmed] >= 0).mean()) if harmed.any() else None
    parts = {share: deltas[lost == share] for share in np.unique(lost).tolist()}
    bins = [Bin(share, len(part), float(part.mean())) for share, part in parts.items()]
    return OverlapQuality(
        _correlation(lost, -deltas),
        _correlation(_ranks(lost), _ranks(-deltas)),  # Spearman's
        unharmed,
        tuple(bins),
    )


def _ranks(x: Float64[np.ndarray, "query"]) -> Float64[np.ndarray, "query"]:
    """Ranks from 1, ties at their mean, as scipy.stats.rankdata has them, which takes long to load."""
    _, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[which]


def _correlation(x: Float64[np.ndarray, "query"], y: Float64[np.ndarray, "query"]) -> float | None:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    found = float(np.corrcoef(x, y)[0, 1])
    return found if np.isfinite(found) else None  # values that differ by rounding only
