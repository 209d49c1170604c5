"""From measured points to the figures of a report: quality, differences, verdicts, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from imgbench import significance
from imgbench.evaluator import Evaluator
from imgbench.points import Point, Points
from imgbench.run import Run
from imgbench.significance import Comparison

if TYPE_CHECKING:
    import pandas as pd

OVERLAP_AT = 10
"""The depth of the overlap with exact search, unless a search is shallower."""


@dataclass(frozen=True)
class Outcome:
    """What the points of one or more vector spaces found, judged. The first point of a space is exact search.

    Bounds of differences to exact search are simultaneous over all points of all spaces, for each measure.
    """

    judge: Evaluator
    spaces: Mapping[str, Points]
    margins: Mapping[str, float]
    confidence: float
    seed: int

    @cached_property
    def named(self) -> list[tuple[str, Point]]:
        """Every point with the name of its space."""
        return [(name, point) for name, points in self.spaces.items() for point in points.points]

    @cached_property
    def scores(self) -> Float64[np.ndarray, "point measure query"]:
        """The score of every point, measure and judged query."""
        return np.array([self.judge.matrix(point.run) for _, point in self.named])

    @cached_property
    def exact(self) -> dict[str, int]:
        """Where in `named` the exact search of each space stands."""
        found: dict[str, int] = {}
        for number, (name, _) in enumerate(self.named):
            found.setdefault(name, number)
        return found

    def points(self) -> list[dict[str, Any]]:
        """`points` of results.json."""
        quality, deltas = self._quality(), self._deltas()
        return [
            {
                "encoder": name,
                "index": point.index.spec,
                "params": point.params,
                "key": point.key,
                "run": f"runs/{number}.trec.gz",
                "quality": quality[number],
                "delta": deltas[number],
                **self._overlap(name, point.run),
                **_costs(point),
            }
            for number, (name, point) in enumerate(self.named)
        ]

    def encoder_differences(self) -> list[dict[str, Any]]:
        """`encoder_differences` of results.json: exact search of a minus exact search of b, for each pair."""
        pairs = list(combinations(self.exact, 2))
        if not pairs:
            return []
        deltas = np.array([self.scores[self.exact[a]] - self.scores[self.exact[b]] for a, b in pairs])
        found: list[dict[str, Any]] = []
        for at, measure in enumerate(self.judge.names):
            compared = self._compared(deltas[:, at], self.margins[measure])
            found += [
                {"a": a, "b": b, "measure": measure, "mean": each.mean, "low": each.low, "high": each.high}
                for (a, b), each in zip(pairs, compared, strict=True)
            ]
        return found

    def per_query(self) -> pd.DataFrame:
        """A row for each point, judged query and measure: encoder, point, query, measure, value."""
        import pandas as pd

        queries, measures = list(self.judge.query_ids), list(self.judge.names)
        cells = len(queries) * len(measures)

        def repeated(values: Sequence[str], each: int, times: int) -> pd.Categorical:
            order = list(dict.fromkeys(values))
            place = {value: number for number, value in enumerate(order)}
            codes = np.tile(np.repeat([place[value] for value in values], each), times)
            return pd.Categorical.from_codes(codes, categories=pd.Index(order, dtype=object))

        return pd.DataFrame(
            {
                "encoder": repeated([name for name, _ in self.named], cells, 1),
                "point": repeated([point.key for _, point in self.named], cells, 1),
                "query": repeated(queries, 1, len(measures) * len(self.named)),
                "measure": repeated(measures, len(queries), len(self.named)),
                "value": self.scores.reshape(-1),
            }
        )

    def notes(self) -> list[str]:
        """What the training of the indexes left to say, each sentence once."""
        said = (f"{point.index.spec}: {note}" for _, point in self.named for note in point.index.notes)
        return list(dict.fromkeys(said))

    def runs(self) -> dict[tuple[str, str], Run]:
        """The run of each (encoder, key)."""
        return {(name, point.key): point.run for name, point in self.named}

    def _quality(self) -> list[dict[str, dict[str, float]]]:
        """`quality` of each point."""
        found: list[dict[str, dict[str, float]]] = [{} for _ in self.named]
        for at, measure in enumerate(self.judge.names):
            intervals = significance.mean_interval(
                self.scores[:, at], self.judge.clusters, confidence=self.confidence, seed=self.seed
            )
            for number, each in enumerate(intervals):
                found[number][measure] = {"mean": each.mean, "low": each.low, "high": each.high}
        return found

    def _deltas(self) -> list[dict[str, dict[str, Any]]]:
        """`delta` of each point; exact search is compared with nothing and has {}."""
        others = [number for number, (name, _) in enumerate(self.named) if number != self.exact[name]]
        found: list[dict[str, dict[str, Any]]] = [{} for _ in self.named]
        if not others:
            return found
        baselines = [self.exact[self.named[number][0]] for number in others]
        deltas = self.scores[others] - self.scores[baselines]
        for at, measure in enumerate(self.judge.names):
            for number, each in zip(
                others, self._compared(deltas[:, at], self.margins[measure]), strict=True
            ):
                found[number][measure] = {
                    "mean": each.mean,
                    "low": each.low,
                    "high": each.high,
                    "verdict": str(each.verdict),
                    "clusters_needed": each.clusters_needed,
                }
        return found

    def _compared(self, deltas: Float64[np.ndarray, "point query"], margin: float) -> Sequence[Comparison]:
        return significance.paired(
            deltas, self.judge.clusters, margin=margin, confidence=self.confidence, seed=self.seed
        )

    def _overlap(self, name: str, run: Run) -> dict[str, float]:
        truth = self.named[self.exact[name]][1].run
        depth = min(OVERLAP_AT, truth.depth)
        return {f"overlap@{depth}": run.overlap(truth, k=depth)}


def _costs(point: Point) -> dict[str, Any]:
    return {
        "latency_ms": point.latency.to_dict(),
        "throughput_qps": point.throughput.to_dict(),
        "train_seconds": point.index.train_seconds,
        "add_seconds": point.index.add_seconds,
        "index_bytes": point.index.bytes,
        "bytes_per_image": point.index.bytes_per_image,
        "distance_computations_per_query": point.distances,
    }
