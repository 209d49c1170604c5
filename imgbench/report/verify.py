"""Do the saved figures hold? The saved runs are scored again, by code that did not write the figures.

The scores come from ir-measures' own providers (trec_eval's C code for nDCG, AP, R and P), never from the
array scorer of imgbench; the verdicts are compared with their own intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from imgbench.errors import InputError
from imgbench.measures import parse
from imgbench.qrels import Qrels
from imgbench.report.plain import shown
from imgbench.report.results import Results, exact_of, margin_of, measures, overlap, run_files
from imgbench.run import Run
from imgbench.significance import Margin

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-9

PerQuery = dict[str, Float64[np.ndarray, "query"]]
Runs = Mapping[tuple[str, str], Run]


def differences(results: Results, per_query: pd.DataFrame, runs: Runs, qrels: Qrels) -> list[str]:
    """One sentence for each figure that the saved runs and judgements do not give; empty if all hold."""
    judge = _Judge(qrels, measures(results))
    saved = _saved(per_query, judge.queries)
    found = list(_judged(results, judge))
    again: dict[tuple[str, str], PerQuery] = {}
    exact: dict[str, Run] = {}  # of one encoder at a time: runs are large
    for point in results["points"]:
        name = (point["encoder"], point["key"])
        try:
            run = runs[name]
            again[name] = judge.scores(run)
            found += _means(point, again[name], judge)
            found += _rows(point, again[name], saved)
            found += _overlap(point, run, _truth(exact, point["encoder"], results, runs))
            for build in list(run_files(point))[1:]:
                again[point["encoder"], build] = judge.scores(runs[point["encoder"], build])
        except InputError as error:
            found.append(f"{_name(point)}: its run cannot be scored: {error}")
    found += _deltas(results, again)
    found += _margins(results, again)
    found += _encoders(results, again)
    return [shown(sentence) for sentence in found]


class _Judge:
    """The providers of ir-measures, without the one that imgbench adds to them."""

    def __init__(self, qrels: Qrels, names: list[str]) -> None:
        import ir_measures
        from ir_measures.providers import FallbackProvider

        pipeline: Any = ir_measures.DefaultPipeline
        own = [each for each in pipeline.providers if type(each).__module__.startswith("ir_measures.")]
        self.queries = {query: row for row, query in enumerate(qrels.query_ids)}
        self.measures = dict(zip(names, parse(names), strict=True))
        # Ids become numbers: some providers take no other query ids, and no white space in image ids.
        self._images = {image: f"d{row}" for row, image in enumerate(qrels.image_ids)}
        judgements = {
            str(self.queries[query]): {self._images[image]: grade for image, grade in images.items()}
            for query, images in qrels.to_dict().items()
        }
        self._evaluator: Any = FallbackProvider(own).evaluator(list(self.measures.values()), judgements)

    def scores(self, run: Run) -> PerQuery:
        """Per measure one score a judged query, in the order of `queries`; a missing answer is a zero."""
        found = {measure: np.full(len(self.queries), measure.DEFAULT) for measure in self.measures.values()}
        for metric in self._evaluator.iter_calc(self._numbered(run)):
            found[metric.measure][int(metric.query_id)] = metric.value
        return {name: found[measure] for name, measure in self.measures.items()}

    def aggregate(self, measure: str, scores: Float64[np.ndarray, "query"]) -> float:
        """The mean over all judged queries (a sum for counting measures)."""
        aggregator: Any = self.measures[measure].aggregator()
        for score in scores.tolist():
            aggregator.add(score)
        return float(aggregator.result())

    def _numbered(self, run: Run) -> dict[str, dict[str, float]]:
        names = {image: self._images.get(image, f"u{row}") for row, image in enumerate(run.image_ids)}
        return {
            str(self.queries[query]): {names[image]: score for image, score in images.items()}
            for query, images in run.to_dict().items()
            if query in self.queries
        }


def _saved(per_query: pd.DataFrame, queries: Mapping[str, int]) -> dict[tuple[str, str, str], Any]:
    """(encoder, point, measure) -> scores in the order of `queries`, NaN where there is no row."""
    found: dict[tuple[str, str, str], Any] = {}
    groups: Any = per_query.groupby(["encoder", "point", "measure"], sort=False, observed=True)
    for name, rows in groups:
        at = np.array([queries.get(query, -1) for query in rows["query"]], np.int64)
        scores = np.full(len(queries), np.nan)
        scores[at[at >= 0]] = rows["value"].to_numpy(np.float64)[at >= 0]
        # A query that nobody judged, or one that stands there twice, is no row of ours.
        found[name] = scores if len(np.unique(at)) == len(at) and (at >= 0).all() else scores[:0]
    return found


def _judged(results: Results, judge: _Judge) -> Iterator[str]:
    said, is_now = results["corpus"]["judged_queries"], len(judge.queries)
    if said != is_now:
        yield f"results.json says {said} judged queries, qrels.trec has {is_now}."


def _means(point: Results, again: PerQuery, judge: _Judge) -> Iterator[str]:
    for measure, scores in again.items():
        said, is_now = point["quality"][measure]["mean"], judge.aggregate(measure, scores)
        yield from _same(f"{_name(point)}: {measure}", said, is_now)


def _rows(point: Results, again: PerQuery, saved: dict[tuple[str, str, str], Any]) -> Iterator[str]:
    for measure, scores in again.items():
        mine = saved.get((point["encoder"], point["key"], measure))
        if mine is None or len(mine) != len(scores):
            yield f"{_name(point)}: per_query.parquet does not have one {measure} for each judged query."
        elif wrong := int((~(np.abs(mine - scores) <= TOLERANCE)).sum()):
            share = f"{wrong} of {len(scores)} queries"
            yield f"{_name(point)}: per_query.parquet has another {measure} for {share}."


def _truth(exact: dict[str, Run], encoder: str, results: Results, runs: Runs) -> Run | None:
    if encoder not in exact and (encoder, results["baseline"]) in runs:
        exact.clear()
        exact[encoder] = runs[encoder, results["baseline"]]
    return exact.get(encoder)


def _overlap(point: Results, run: Run, truth: Run | None) -> Iterator[str]:
    k, said = overlap(point)
    if truth is not None:
        yield from _same(f"{_name(point)}: overlap@{k}", said, run.overlap(truth, k))


def _of_builds(point: Results, again: Mapping[tuple[str, str], PerQuery], exact: PerQuery) -> PerQuery:
    """The difference to exact search by measure, per build of the index (row) and query."""
    found = [again[point["encoder"], name] for name in run_files(point) if (point["encoder"], name) in again]
    return {
        measure: np.array([each[measure] for each in found]) - scores for measure, scores in exact.items()
    }


def _deltas(results: Results, again: Mapping[tuple[str, str], PerQuery]) -> Iterator[str]:
    for point in results["points"]:
        exact = again.get((point["encoder"], results["baseline"]))
        there = exact is not None and (point["encoder"], point["key"]) in again
        deltas = _of_builds(point, again, exact) if exact and there else {}
        for measure, delta in point["delta"].items():
            if measure in deltas:
                what = f"{_name(point)}: the difference in {measure}"
                yield from _same(what, delta["mean"], float(deltas[measure].mean()))
                means = (delta.get("builds") or {}).get("means", [])
                for said, is_now in zip(means, deltas[measure].mean(axis=1).tolist(), strict=False):
                    yield from _same(f"{what} by one build", said, is_now)
            yield from _verdict(point, measure, delta, margin_of(results, point, measure))


def _margins(results: Results, again: Mapping[tuple[str, str], PerQuery]) -> Iterator[str]:
    """The margins of all points, from what was asked and the exact scores."""
    asked = {name: Margin.parse(text) for name, text in (results.get("margin_given") or {}).items()}
    for measure, margin in asked.items():
        bounds: list[float] = []
        for point in results["points"]:
            exact = again.get((point["encoder"], results["baseline"]), {})
            if measure in exact and measure in point["delta"]:
                share = float(exact[measure].mean()) if margin.relative else 1.0
                bounds.append(margin.value * share)
                said = margin_of(results, point, measure)
                yield from _same(f"{_name(point)}: the margin of {measure}", said or 0.0, bounds[-1])
        if bounds and measure in results["margin"]:
            yield from _same(f"The margin of {measure}", results["margin"][measure], min(bounds))


def _verdict(point: Results, measure: str, delta: Results, margin: float | None) -> Iterator[str]:
    if margin is None:
        return
    low, high = delta["low"], delta["high"]
    follows = "holds" if low > -margin else "degrades" if high < -margin else "inconclusive"
    if follows != delta["verdict"]:
        yield (
            f"{_name(point)}: the verdict on {measure} is {delta['verdict']!r}, but the interval "
            f"[{low:g}, {high:g}] and the margin {margin:g} give {follows!r}."
        )


def _encoders(results: Results, again: Mapping[tuple[str, str], PerQuery]) -> Iterator[str]:
    for said in results["encoder_differences"]:
        pair = [exact_of(results, said[side]) for side in "ab"]
        scores = [again.get((point["encoder"], point["key"])) if point else None for point in pair]
        if scores[0] and scores[1] and said["measure"] in scores[0]:
            is_now = float((scores[0][said["measure"]] - scores[1][said["measure"]]).mean())
            what = f"The difference in {said['measure']} between {said['a']!r} and {said['b']!r}"
            yield from _same(what, said["mean"], is_now)


def _same(what: str, said: float, is_now: float) -> Iterator[str]:
    if not abs(said - is_now) <= TOLERANCE:
        yield f"{what} is {said!r} in results.json, but the saved runs give {is_now!r}."


def _name(point: Results) -> str:
    return f"{point['encoder']!r}, {point['key']!r}"
