"""What cheap means: a goal, its unit, and how it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from imgbench import timing
from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.index import Index
from imgbench.points import Protocol
from imgbench.tuning.candidates import Candidate

GOALS = {
    "latency": "ms a query, median",
    "throughput": "queries/s",
    "bytes": "bytes of the whole index",
    "distances": "distance computations a query",
}
"""What may be cheapest, and its unit. Only `latency` and `throughput` depend on the machine."""

_SAMPLE = 64  # queries whose distance computations are counted
_CALLS = 40  # timed calls a point, before the finalists are timed properly
_WARM = 5
_BATCH, _REPEATS = 32, 3


@dataclass
class Meter:
    """Queries that were searched, by point and by what for."""

    counted: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, purpose: str, key: str, queries: int) -> None:
        """So many more."""
        self.counted[purpose, key] = self.counted.get((purpose, key), 0) + queries

    def queries(self, purpose: str) -> dict[str, int]:
        """Queries searched for one purpose, by point."""
        return {key: count for (each, key), count in self.counted.items() if each == purpose}


@dataclass(frozen=True)
class Bench:
    """Built indexes by name, and the queries of the tune half to measure their cost with."""

    indexes: Mapping[str, Index]
    queries: Embeddings
    k: int
    protocol: Protocol
    seed: int
    meter: Meter

    def distances(self, points: Sequence[Candidate]) -> dict[str, float | None]:
        """Distance computations a query, by point; None where FAISS does not count them."""
        sample = self.queries.select(range(min(_SAMPLE, len(self.queries))))
        found: dict[str, float | None] = {}
        for point in points:
            index = self.indexes[point.index]
            found[point.key] = index.distance_computations(sample, self.k, **point.params)
            if found[point.key] is not None and _searches(point.index):
                self.meter.add("cost", point.key, len(sample))
        return found

    def prices(
        self,
        goal: str,
        points: Sequence[Candidate],
        distances: Mapping[str, float | None],
        *,
        thoroughly: bool,
    ) -> dict[str, float]:
        """What each point costs, the lower the better: seconds a query for `throughput`, else the unit.

        Not `thoroughly`: a few timed calls, enough to put the points in order.
        """
        if goal == "bytes":
            return {point.key: float(self.indexes[point.index].bytes) for point in points}
        if goal == "latency":
            return self._latencies(points, thoroughly=thoroughly)
        if goal == "throughput":
            return self._rates(points, thoroughly=thoroughly)
        return {point.key: _counted(point, distances[point.key]) for point in points}

    def _latencies(self, points: Sequence[Candidate], *, thoroughly: bool) -> dict[str, float]:
        calls = self.protocol.latency_calls if thoroughly else min(_CALLS, self.protocol.latency_calls)
        rows = self.queries.float32()
        found = timing.latency(
            {point.key: self._single(point, rows) for point in points},
            queries=len(rows),
            calls_each=calls,
            warmup=50 if thoroughly else _WARM,
            seed=self.seed,
        )
        return {key: latency.p50.value for key, latency in found.items()}

    def _rates(self, points: Sequence[Candidate], *, thoroughly: bool) -> dict[str, float]:
        if not thoroughly:
            return self._quick_rates(points)
        rows, found = self.queries.float32(), dict[str, float]()
        for place in np.random.default_rng(self.seed).permutation(len(points)).tolist():
            call = self._call(points[place])
            rate = timing.throughput(
                lambda call=call: call(rows),
                queries=len(rows),
                threads=self.protocol.threads,
                repeats=self.protocol.throughput_repeats,
            )
            found[points[place].key] = 1 / rate.value
        return found

    def _quick_rates(self, points: Sequence[Candidate]) -> dict[str, float]:
        """Small batches, interleaved: the median of three."""
        rows = self.queries.float32()[:_BATCH]
        batches = {point.key: self._batch(point, rows) for point in points}
        found = timing.latency(
            batches, queries=1, calls_each=_REPEATS, warmup=0, threads=self.protocol.threads, seed=self.seed
        )
        return {key: latency.p50.value / 1000 / len(rows) for key, latency in found.items()}

    def _batch(self, point: Candidate, rows: np.ndarray) -> Callable[[int], object]:
        call = self._call(point)
        return lambda _: call(rows)

    def _single(self, point: Candidate, rows: np.ndarray) -> Callable[[int], object]:
        call = self._call(point)
        return lambda query: call(rows[query : query + 1])

    def _call(self, point: Candidate) -> Callable[[np.ndarray], object]:
        """A search whose queries are counted: also those that only warm up."""
        search = self.indexes[point.index].searcher(self.k, **point.params)

        def call(rows: np.ndarray) -> object:
            self.meter.add("cost", point.key, len(rows))
            return search(rows)

        return call


def natural(goal: str, price: float) -> float:
    """A price in the unit of its goal."""
    return 1 / price if goal == "throughput" else price


def _searches(name: str) -> bool:
    """Whether FAISS has to search to count: the others compare every vector."""
    return "IVF" in name or "HNSW" in name


def _counted(point: Candidate, distances: float | None) -> float:
    if distances is None:
        raise InputError(
            f"FAISS does not count the distance computations of {point.key}.",
            "This goal needs them for every point.",
            f"Leave {point.index} out, or choose goal='latency'.",
        )
    return distances
