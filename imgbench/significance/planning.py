"""What a corpus can prove: shown before a run, so that nobody expects a proof from 200 queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, Integer

from imgbench.errors import InputError
from imgbench.significance.gaffke import upper_limit
from imgbench.significance.limits import limits
from imgbench.significance.paired import numbered

TYPICAL_CHANGE = 0.3
"""Root mean square of the nDCG@10 changes of the queries that change at all. Measured: 0.21 to 0.34, over the
5,000 test captions of Flickr8k in 11,679 images with a small dual encoder, at eight settings of IVF and HNSW
that change 0.3 % to 9 % of the queries."""

TOGETHER = 0.1
"""Correlation of the changes of two captions of one photo: 0 to 0.1 at the same settings."""

_POWER = 0.8
_FEWEST, _MOST, _CLUSTERS = 25, 200, 300_000  # simulated searches, and their clusters in all


@dataclass(frozen=True)
class Detectable:
    """The smallest losses that can be ruled out, in units of the measure; `detectable` makes it.

    `floor`: the limit of a search that changes nothing at all. `typical`: the smallest margin that a search
    without loss proves in four cases of five if it changes the share `changed` of the queries by `size` each.
    """

    clusters: int
    points: int
    confidence: float
    changed: float
    size: float
    floor: float
    typical: float

    @property
    def least(self) -> float:
        """The smaller of the two: a margin below it is hardly ever proven."""
        return min(self.floor, self.typical)

    def __str__(self) -> str:
        points = "1 point" if self.points == 1 else f"{self.points:,} points"
        return (
            f"With {self.clusters:,} clusters of queries and {points} a search that changes nothing proves "
            f"that less than {self.floor:.2g} is lost, and no smaller margin. One that loses nothing but "
            f"changes {100 * self.changed:.3g} % of the queries, by about {self.size:.2g} each, proves a "
            f"margin of {self.typical:.2g} in four cases of five."
        )


def detectable(
    clusters: Integer[np.ndarray, "query"],
    *,
    points: int = 1,
    confidence: float = 0.95,
    changed: float = 0.05,
    size: float = TYPICAL_CHANGE,
    seed: int = 0,
) -> Detectable:
    """The smallest losses that `paired` can rule out with these clusters of queries and so many points.

    `changed`: the share of queries whose score a typical point changes, `size`: the root mean square of these
    changes. `typical` is what four in five of up to 200 simulated searches without loss prove. Raises
    `InputError` for fewer than 10 clusters and for numbers out of range.

    >>> print(detectable(np.arange(200)))  # doctest: +NORMALIZE_WHITESPACE
    With 200 clusters of queries and 1 point a search that changes nothing proves that less than 0.018 is
    lost, and no smaller margin. One that loses nothing but changes 5 % of the queries, by about 0.3 each,
    proves a margin of 0.025 in four cases of five.
    """
    _check(points, changed, size)
    groups, count = numbered(clusters, confidence)
    sizes = np.bincount(groups).astype(np.float64)
    single = 1 - (1 - confidence) / points  # Bonferroni: a little more than what paired asks for
    worst = float(sizes.max() / sizes.mean())
    floor = min(upper_limit(np.zeros(count), worst, (1 - single) / 2), 1.0)
    changes = _without_loss(groups, changed, size, np.random.default_rng(seed))
    found = limits(changes, groups, (-1.0, 1.0), confidence=single, seed=seed, together=False)
    typical = min(float(np.quantile(-found.low, _POWER)), 1.0)
    return Detectable(count, points, confidence, changed, size, floor, typical)


def _check(points: int, changed: float, size: float) -> None:
    if points < 1:
        raise InputError(f"There are {points} points.", "A plan needs at least 1.", "Count what you compare.")
    for name, value in (("share of changed queries", changed), ("size of a change", size)):
        if not 0 < value <= 1:
            raise InputError(f"The {name} is {value}.", "It lies between 0 and 1.", "Pass for example 0.05.")


def _without_loss(
    groups: Int64[np.ndarray, "query"], changed: float, size: float, rng: np.random.Generator
) -> Float64[np.ndarray, "world query"]:
    """Differences around zero; a query copies its cluster so often that two are correlated by TOGETHER."""
    clusters = int(groups.max()) + 1
    worlds = min(max(_CLUSTERS // clusters, _FEWEST), _MOST)
    shape, shared = (worlds, len(groups)), (worlds, clusters)
    scale = size / np.sqrt(2)  # Laplace's distribution: most changes are small, as measured ones are
    copies = rng.random(shape) < np.sqrt(TOGETHER)

    def of_cluster(drawn: Float64[np.ndarray, "world cluster"]) -> Float64[np.ndarray, "world query"]:
        return np.take(drawn, groups, axis=1)

    hit = np.where(copies, of_cluster(rng.random(shared)), rng.random(shape)) < changed
    each = np.where(copies, of_cluster(rng.laplace(0, scale, shared)), rng.laplace(0, scale, shape))
    return np.clip(each * hit, -1.0, 1.0)
