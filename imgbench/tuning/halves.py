"""Queries in two halves that share no image, and searches on one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64, Integer

from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.evaluator import Evaluator
from imgbench.index import Index
from imgbench.significance import LEAST_CLUSTERS
from imgbench.tuning.candidates import Candidate
from imgbench.tuning.goals import Meter


@dataclass(frozen=True, eq=False)
class Half:
    """Judged queries of some clusters, in the order in which they are searched: cluster after cluster.

    `rows` are columns of the evaluator's matrix; `clusters` counts from 0 and does not fall.
    """

    rows: Int64[np.ndarray, "query"]
    clusters: Int64[np.ndarray, "query"]

    @property
    def count(self) -> int:
        """The number of clusters."""
        return int(self.clusters[-1]) + 1

    def queries(self, clusters: int) -> int:
        """How many queries the first so many clusters have."""
        return int(np.searchsorted(self.clusters, clusters))


def split(clusters: Integer[np.ndarray, "query"], seed: int) -> tuple[Half, Half]:
    """The clusters in seeded random order, cut in the middle: one half to tune, the other to confirm.

    >>> tune, confirm = split(np.repeat(np.arange(40), 2), seed=0)
    >>> tune.count, len(tune.rows), set(tune.rows // 2).isdisjoint(confirm.rows // 2)
    (20, 40, True)
    """
    numbers = np.unique(clusters, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    if count < 2 * LEAST_CLUSTERS:
        raise InputError(
            f"There are {count} clusters of queries.",
            f"Two halves need {LEAST_CLUSTERS} each.",
            "Ask about more images.",
        )
    place = np.random.default_rng(seed).permutation(count)[numbers]
    order = np.argsort(place, kind="stable")
    cut = int(np.searchsorted(place[order], count // 2))
    return _half(order[:cut], place), _half(order[cut:], place)


def _half(rows: Int64[np.ndarray, "query"], place: Int64[np.ndarray, "query"]) -> Half:
    return Half(rows, np.unique(place[rows], return_inverse=True)[1])


@dataclass
class Searches:
    """Scores of points on one half: each query is searched once a point, and only when it is asked for."""

    half: Half
    judge: Evaluator
    vectors: Embeddings
    """Of this half's queries, those that have any."""
    indexes: Mapping[str, Index]
    k: int
    meter: Meter
    purpose: str
    _scores: dict[str, Float64[np.ndarray, "query"]] = field(default_factory=dict)

    def scores(self, point: Candidate, clusters: int) -> Float64[np.ndarray, "query"]:
        """The score of each query of the first so many clusters; 0 for one without a vector."""
        known = self._scores.get(point.key, np.empty(0))
        wanted = self.half.queries(clusters)
        if len(known) < wanted:
            known = np.append(known, self._search(point, self.half.rows[len(known) : wanted]))
            self._scores[point.key] = known
        return known[:wanted]

    def _search(self, point: Candidate, rows: Int64[np.ndarray, "query"]) -> Float64[np.ndarray, "query"]:
        asked = {self.judge.query_ids[row] for row in rows.tolist()}
        there = [place for place, query in enumerate(self.vectors.ids) if query in asked]
        if not there:
            return np.zeros(len(rows))
        run = self.indexes[point.index].search(self.vectors.select(there), self.k, **point.params)
        self.meter.add(self.purpose, point.key, len(there))
        return self.judge.matrix(run)[0][rows]


def own(half: Half, judge: Evaluator, queries: Embeddings) -> Embeddings:
    """The vectors of that half's queries alone; InputError if it has none."""
    there = set(queries.ids)
    found = [judge.query_ids[row] for row in half.rows.tolist() if judge.query_ids[row] in there]
    if not found:
        raise InputError("One half of the queries has no vector.", "Both need some.", "Pass more vectors.")
    return queries.select(found)
