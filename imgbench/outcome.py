"""From measured points to the figures of a report: quality, differences, verdicts, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from imgbench import overlaps, significance, strata
from imgbench.evaluator import Evaluator
from imgbench.funnel import Steps, funnels_of
from imgbench.points import Point, Points
from imgbench.run import Run
from imgbench.significance import Comparison, Interval, Margin
from imgbench.strata import Part, Strata

if TYPE_CHECKING:
    import pandas as pd

OVERLAP_AT = 10
"""The depth of the overlap with exact search, unless a search is shallower."""


@dataclass(frozen=True)
class Outcome:
    """What the points of one or more vector spaces found, judged. The first point of a space is exact search.

    Bounds of differences to exact search are simultaneous over all points of all spaces, for each measure.
    A relative margin follows the exact search of each space.
    """

    judge: Evaluator
    spaces: Mapping[str, Points]
    margins: Mapping[str, Margin]
    confidence: float
    seed: int
    strata: Sequence[Strata] = ()
    steps: Mapping[str, Mapping[str, Steps]] = field(default_factory=dict[str, Mapping[str, Steps]])
    """By space and point, the runs of its funnel."""

    loads: Mapping[str, Mapping[str, dict[str, Any]]] = field(
        default_factory=dict[str, Mapping[str, dict[str, Any]]]
    )
    """By space and point, `concurrency` and `batches` as results.json has them."""

    @cached_property
    def named(self) -> list[tuple[str, Point]]:
        """Every point with the name of its space."""
        return [(name, point) for name, points in self.spaces.items() for point in points.points]

    @cached_property
    def scores(self) -> Float64[np.ndarray, "point measure query"]:
        """The score of every point, measure and judged query, by the first build of its index."""
        return np.array([self.judge.matrix(point.run) for _, point in self.named])

    @cached_property
    def exact(self) -> dict[str, int]:
        """Where in `named` the exact search of each space stands."""
        found: dict[str, int] = {}
        for number, (name, _) in enumerate(self.named):
            found.setdefault(name, number)
        return found

    @cached_property
    def others(self) -> list[int]:
        """Where the points stand that are compared with exact search."""
        return [number for number, (name, _) in enumerate(self.named) if number != self.exact[name]]

    @cached_property
    def deltas(self) -> Float64[np.ndarray, "other build measure query"]:
        """The scores of every other point, by each build of its index, minus those of exact search."""
        return np.array([self._of_builds(number) for number in self.others])

    @cached_property
    def bounds(self) -> dict[str, dict[str, float]]:
        """The margin in units of the measure, by measure and space."""
        return {
            measure: {
                name: margin.absolute(float(self.scores[number, at].mean()), measure)
                for name, number in self.exact.items()
            }
            for at, (measure, margin) in enumerate(self.margins.items())
        }

    def margin(self) -> dict[str, float]:
        """`margin` of results.json: of a relative margin the strictest over the spaces."""
        return {measure: min(bounds.values()) for measure, bounds in self.bounds.items()}

    def points(self) -> list[dict[str, Any]]:
        """`points` of results.json."""
        quality, deltas, funnels = self._quality(), self._deltas(), self._funnels()
        return [
            {
                "encoder": name,
                "index": point.index.spec,
                "params": point.params,
                "key": point.key,
                "run": f"runs/{number}.trec.gz",
                **self._builds(number),
                "quality": quality[number],
                "delta": deltas[number],
                **self._overlap(number),
                **funnels.get((name, point.key), {}),
                **_costs(point),
                **self.loads.get(name, {}).get(point.key, {}),
            }
            for number, (name, point) in enumerate(self.named)
        ]

    def parts(self) -> list[dict[str, Any]]:
        """`strata` of results.json: each measure and stratum, and in it each point compared with exact."""
        if not self.others:
            return []
        found: list[dict[str, Any]] = []
        for at, measure in enumerate(self.judge.names):
            compared = strata.compared(
                self.deltas[:, :, at], self.judge.clusters, self.strata,
                margin=self._margins(measure), confidence=self.confidence, seed=self.seed,
            )  # fmt: skip
            found += [
                {
                    "measure": measure,
                    "strata": part.strata,
                    "label": part.label,
                    "queries": part.queries,
                    "clusters": part.clusters,
                    "points": self._part(part),
                }
                for part in compared
            ]
        return found

    def encoder_differences(self) -> list[dict[str, Any]]:
        """`encoder_differences` of results.json: exact search of a minus exact search of b, for each pair."""
        pairs = list(combinations(self.exact, 2))
        if not pairs:
            return []
        deltas = np.array([self.scores[self.exact[a]] - self.scores[self.exact[b]] for a, b in pairs])
        found: list[dict[str, Any]] = []
        for at, measure in enumerate(self.judge.names):
            compared = significance.paired(
                deltas[:, at], self.judge.clusters, margin=0.0, confidence=self.confidence, seed=self.seed
            )
            found += [
                {"a": a, "b": b, "measure": measure, **_interval(each)}
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
        """The run of each (encoder, key), and of each further build under its own name."""
        found = {(name, point.key): point.run for name, point in self.named}
        for number, (name, point) in enumerate(self.named):
            names = [each["name"] for each in self._builds(number).get("builds", [])]
            found |= {(name, build): run for build, run in zip(names, point.again, strict=True)}
        return found

    def _of_builds(self, number: int) -> Float64[np.ndarray, "build measure query"]:
        name, point = self.named[number]
        again = [self.judge.matrix(run) for run in point.again]
        return np.array([self.scores[number], *again]) - self.scores[self.exact[name]]

    def _builds(self, number: int) -> dict[str, list[dict[str, Any]]]:
        """`builds` of a point: the further builds, whose runs are saved too."""
        point = self.named[number][1]
        seeds = range(self.seed + 1, self.seed + 1 + len(point.again))
        found = [
            {"seed": seed, "name": f"{point.key} (seed {seed})", "run": f"runs/{number}-seed{seed}.trec.gz"}
            for seed in seeds
        ]
        return {"builds": found} if found else {}

    def _quality(self) -> list[dict[str, dict[str, float]]]:
        """`quality` of each point."""
        found: list[dict[str, dict[str, float]]] = [{} for _ in self.named]
        for at, measure in enumerate(self.judge.names):
            intervals = significance.mean_interval(
                self.scores[:, at], self.judge.clusters, confidence=self.confidence, seed=self.seed
            )
            for number, each in enumerate(intervals):
                found[number][measure] = _interval(each)
        return found

    def _deltas(self) -> list[dict[str, dict[str, Any]]]:
        """`delta` of each point; exact search is compared with nothing and has {}."""
        found: list[dict[str, dict[str, Any]]] = [{} for _ in self.named]
        for at, measure in enumerate(self.judge.names if self.others else ()):
            compared = significance.paired(
                self.deltas[:, :, at], self.judge.clusters,
                margin=self._margins(measure), confidence=self.confidence, seed=self.seed,
            )  # fmt: skip
            for number, each, deltas in zip(self.others, compared, self.deltas[:, :, at], strict=True):
                found[number][measure] = _compared(each) | _of_builds(each, deltas)
        return found

    def _funnels(self) -> dict[tuple[str, str], dict[str, Any]]:
        """`funnel` of the points that have one; the limits of all of them hold at once."""
        names = [(name, key) for name, steps in self.steps.items() for key in steps]
        if not names:
            return {}
        found = funnels_of(
            [self.steps[name][key] for name, key in names], self.judge,
            margin=self.margins, confidence=self.confidence, seed=self.seed,
        )  # fmt: skip
        return {name: {"funnel": funnel.to_dict()} for name, funnel in zip(names, found, strict=True)}

    def _margins(self, measure: str) -> Float64[np.ndarray, "other"]:
        """The margin of each point that is compared."""
        return np.array([self.bounds[measure][self.named[number][0]] for number in self.others])

    def _part(self, part: Part) -> list[dict[str, Any]]:
        return [
            {"encoder": self.named[number][0], "key": self.named[number][1].key} | _compared(each)
            for number, each in zip(self.others, part.comparisons or (), strict=bool(part.comparisons))
        ]

    def _overlap(self, number: int) -> dict[str, Any]:
        """The overlap of a point with exact search, and what lost overlap did to each measure."""
        name, point = self.named[number]
        truth = self.named[self.exact[name]][1].run
        depth = min(OVERLAP_AT, truth.depth)
        found: dict[str, Any] = {f"overlap@{depth}": point.run.overlap(truth, k=depth)}
        if number in self.others:
            lost = overlaps.lost_each(point.run, truth, depth, self.judge.query_ids)
            deltas = self.scores[number] - self.scores[self.exact[name]]
            found["overlap_quality"] = {
                measure: overlaps.against_quality(lost, deltas[at]).to_dict()
                for at, measure in enumerate(self.judge.names)
            }
        return found


def _interval(found: Interval) -> dict[str, float]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _compared(found: Comparison) -> dict[str, Any]:
    return _interval(found) | {
        "verdict": str(found.verdict),
        "margin": found.margin,
        "clusters_needed": found.clusters_needed,
        "changed": found.changed,
        "method": str(found.method),
    }


def _of_builds(found: Comparison, deltas: Float64[np.ndarray, "build query"]) -> dict[str, Any]:
    """The part of the builds: their means, the spread of these, and the limits of the queries alone."""
    if found.builds == 1:
        return {}
    alone = {"low": found.queries.low, "high": found.queries.high}
    return {"builds": {"means": deltas.mean(axis=1).tolist(), "spread": found.build_spread, "queries": alone}}


def _costs(point: Point) -> dict[str, Any]:
    return {
        "latency_ms": point.latency.to_dict(),
        "throughput_qps": point.throughput.to_dict(),
        "train_seconds": point.index.train_seconds,
        "add_seconds": point.index.add_seconds,
        "index_bytes": point.index.bytes,
        "bytes_per_image": point.index.bytes_per_image,
        "distance_computations_per_query": point.distances,
        "cached": point.cached,
    }
