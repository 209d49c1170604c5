"""Measures of a run: means over all judged queries, scores per query, paired differences with verdicts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ir_measures
import numpy as np
from ir_measures import Measure
from ir_measures.providers import FallbackProvider
from jaxtyping import Float64, Int32, Integer

from imgbench import clusters as rules
from imgbench import measures as names
from imgbench import providers, significance
from imgbench.errors import InputError, unknown
from imgbench.qrels import Qrels
from imgbench.run import Run
from imgbench.significance import Comparison, Margin

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_MEASURES = ("nDCG@10", "AP@10", "R@10", "P@10")
_GIVEN = "The clusters were given."
DEPTH = 100
"""Hits a query where a measure has no cutoff."""


class Evaluator:
    """Judgements and measures, ready to score any number of runs.

    `qrels`: a `Qrels`, a dict of dicts, or the path of a TREC or CSV file. `measures`: names or objects of
    ir-measures. `clusters`: the cluster of each judged query, as a mapping from its id or as numbers in the
    order of `query_ids`; without it, queries whose single relevant image is the same form one.

    As in trec_eval with -c, every query with a judgement counts, also one without a relevant image (it scores
    0), and one that the run does not answer (a missing answer is a zero). Queries without judgement do not.

    >>> judge = Evaluator({"q1": {"a": 1}, "q2": {"b": 1}}, ["Success@1", "nDCG@10"])
    >>> judge.score(Run.from_search(["q1"], ["a", "b"], [[0.9, 0.8]], [[0, 1]]))
    {'Success@1': 0.5, 'nDCG@10': 0.5}
    """

    def __init__(
        self,
        qrels: Qrels | Mapping[str, Mapping[str, int]] | str | Path,
        measures: str | Measure | Iterable[str | Measure] = DEFAULT_MEASURES,
        clusters: Mapping[str, Any] | Integer[np.ndarray, "query"] | Sequence[int] | None = None,
    ) -> None:
        self.qrels = Qrels.coerce(qrels)
        if not self.qrels.query_ids:
            raise InputError("The qrels judge no query.", "Scoring needs judgements.", "Check the file.")
        self.measures = names.parse(measures)
        self.clusters, self.cluster_rule = _clusters(self.qrels, clusters)
        self._judged = providers.Judgements(self.qrels)
        mine = providers.ArrayProvider()
        self._fast = tuple(measure for measure in self.measures if mine.supports(measure))
        self._slow = tuple(measure for measure in self.measures if measure not in self._fast)
        for measure in self._slow:
            _check_provider(measure)

    def __repr__(self) -> str:
        return f"Evaluator({', '.join(self.names)}; {len(self.query_ids)} judged queries)"

    @property
    def query_ids(self) -> tuple[str, ...]:
        """Every judged query, in the order of the columns of `matrix`."""
        return self.qrels.query_ids

    @property
    def names(self) -> tuple[str, ...]:
        """The measures' names as ir-measures prints them, in the order asked."""
        return tuple(map(str, self.measures))

    def score(self, run: Run) -> dict[str, float]:
        """Means over all judged queries by measure (sums for the counting measures NumRet, NumRel, ...)."""
        return {
            str(measure): _aggregate(measure, values)
            for measure, values in zip(self.measures, self.matrix(run), strict=True)
        }

    def score_each(self, run: Run) -> pd.DataFrame:
        """A frame with a row per judged query (index `query_id`) and a column per measure."""
        import pandas as pd

        index = pd.Index(self.query_ids, name="query_id")
        return pd.DataFrame(self.matrix(run).T, index=index, columns=list(self.names))

    def matrix(self, run: Run) -> Float64[np.ndarray, "measure query"]:
        """Scores per measure and judged query. The six common measures never build a dictionary."""
        if not isinstance(run, Run):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(
                f"A {type(run).__name__} came.",
                "An evaluator scores a Run.",
                "See Run.from_search and Run.read_trec.",
            )
        found = dict(zip(self._fast, providers.matrix(self._fast, self._judged, run), strict=True))
        if self._slow:
            found |= self._behind(run)
        return np.array([found[measure] for measure in self.measures])

    def missing(self, run: Run) -> int:
        """How many judged queries have no hit in the run: they score 0."""
        answered = self._judged.query_rows(run.query_ids)[(run.rows >= 0).any(axis=1)]
        return len(self.query_ids) - int((answered >= 0).sum())

    def compare(
        self,
        run: Run,
        truth: Run,
        *,
        margin: float | str | Margin | Mapping[str, Any] = 0.005,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> dict[str, Comparison]:
        """By measure: the run minus the truth, its interval, and whether the loss stays within the margin.

        `margin` is in units of the measure, or "1%" of the truth's score; one for all or by measure name. See
        `significance.paired`. InputError for runs that answer different queries or none that is judged, and
        for a margin as large as the truth's score.
        """
        return self.compare_many([run], truth, margin=margin, confidence=confidence, seed=seed)[0]

    def compare_many(
        self,
        runs: Sequence[Run],
        truth: Run,
        *,
        margin: float | str | Margin | Mapping[str, Any] = 0.005,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> list[dict[str, Comparison]]:
        """`compare` for every run, with bounds that hold for all of them at once (per measure)."""
        exact = self.matrix(truth)
        self._check_comparable(runs, truth)
        bounds = self.absolute(margin, exact)
        deltas = np.array([self.matrix(run) - exact for run in runs]).reshape(len(runs), *exact.shape)
        columns = [
            significance.paired(deltas[:, m], self.clusters, margin=bound, confidence=confidence, seed=seed)
            for m, bound in enumerate(bounds.values())
        ]
        return [dict(zip(self.names, row, strict=True)) for row in zip(*columns, strict=True)]

    def margins(self, margin: float | str | Margin | Mapping[str, Any]) -> dict[str, Margin]:
        """The margin of every measure, from one for all or from a mapping by name."""
        if not isinstance(margin, Mapping):
            return dict.fromkeys(self.names, Margin.parse(margin))
        given = {str(names.parse(name)[0]): Margin.parse(value) for name, value in margin.items()}
        for name in given:
            if name not in self.names:
                raise unknown("a measure of this evaluator", name, self.names)
        if lacking := [name for name in self.names if name not in given]:
            came = f"The margins lack {', '.join(lacking)}."
            raise InputError(came, "Every measure needs one.", "Add them, or pass one number for all.")
        return {name: given[name] for name in self.names}

    def absolute(
        self,
        margin: float | str | Margin | Mapping[str, Any],
        exact: Float64[np.ndarray, "measure query"],
    ) -> dict[str, float]:
        """The margins in units of the measures, where `exact` holds the scores of exact search.

        InputError for a margin that is as large as the mean score: no search could lose more. Likewise for a
        measure that exceeds 1: limits need to know how much a query can lose.
        """
        for name, scores in zip(self.names, exact, strict=True):
            if np.abs(scores).max() > 1:
                came = f"{name} of exact search is up to {np.abs(scores).max():.4g}."
                wanted = "Verdicts are made for measures between 0 and 1."
                raise InputError(came, wanted, "Leave it out of the comparison.")
        return {
            name: bound.absolute(float(scores.mean()), name)
            for (name, bound), scores in zip(self.margins(margin).items(), exact, strict=True)
        }

    def depth(self, k: int | None, images: int) -> int:
        """The depth of a search among so many images: as deep as the measures look, unless `k` is deeper.

        100 where a measure has no cutoff. InputError for a k beyond the images, or less than a measure needs.
        """
        cutoffs = [int(measure["cutoff"]) for measure in self.measures if "cutoff" in measure.params]
        deepest = min(max(cutoffs, default=1), images)
        if k is None:
            return max(deepest, min(DEPTH, images)) if len(cutoffs) < len(self.measures) else deepest
        if not isinstance(k, int) or not 1 <= k <= images:  # pyright: ignore[reportUnnecessaryIsInstance]
            came, wanted = f"k is {k!r}.", f"The corpus has {images:,} images."
            raise InputError(came, wanted, f"Choose k from 1 to {images:,}.")
        if k < deepest:
            wanted = f"The measures look at {deepest} images."
            raise InputError(f"k is {k}.", wanted, f"Choose k from {deepest}, or leave it out.")
        return k

    def _check_comparable(self, runs: Sequence[Run], truth: Run) -> None:
        queries = set(truth.query_ids)
        if queries.isdisjoint(self.query_ids):
            raise InputError(
                f"None of the {len(truth)} queries is judged.",
                f"The judgements name queries such as {self.query_ids[0]!r}.",
                "Search with the queries of these judgements.",
            )
        deepest = max((int(m["cutoff"]) for m in self.measures if "cutoff" in m.params), default=1)
        for run in runs:
            if run.depth < min(deepest, truth.depth):
                raise InputError(
                    f"A run holds {run.depth} images a query, the truth {truth.depth}.",
                    f"The measures look at {deepest}.",
                    f"Search both with k={deepest}.",
                )
            if other := queries.symmetric_difference(run.query_ids):
                raise InputError(
                    f"The runs answer different queries ({len(other)}, such as {min(other)!r}, in only one).",
                    "A paired difference needs the same queries in both.",
                    "Search both with the same queries, or read the file with query_ids=truth.query_ids.",
                )

    @cached_property
    def _numbered(self) -> dict[str, dict[str, int]]:
        # gdeval reads only numbers as query ids and only text without spaces as image ids. Grades below -1
        # corrupt pytrec_eval's memory (0.5.11: crashes and hangs): not relevant is 0 for all of them.
        q, i = self.qrels.query_rows.tolist(), self.qrels.image_rows.tolist()
        found: dict[str, dict[str, int]] = {str(row): {} for row in range(len(self.query_ids))}
        for query, image, grade in zip(q, i, np.maximum(self.qrels.grades, 0).tolist(), strict=True):
            found[str(query)][f"d{image}"] = grade
        return found

    def _behind(self, run: Run) -> dict[Measure, Float64[np.ndarray, "query"]]:
        """Scores by ir-measures' own providers, which take dictionaries."""
        found = {m: np.full(len(self.query_ids), m.DEFAULT, dtype=np.float64) for m in self._slow}
        named = [
            m for m in self._slow if hasattr(m, "runtime_impl")
        ]  # a user's own function sees the real ids
        numbered = [m for m in self._slow if m not in named]
        if named:
            place = {name: row for row, name in enumerate(self.query_ids)}
            _fill(found, named, self.qrels.to_dict(), run.to_dict(), place)
        if numbered:
            place = {str(row): row for row in range(len(self.query_ids))}
            _fill(found, numbered, self._numbered, self._numbered_run(run), place)
        return found

    def _numbered_run(self, run: Run) -> dict[str, dict[str, float]]:
        place = {name: f"d{row}" for row, name in enumerate(self.qrels.image_ids)}
        queries = {name: str(row) for row, name in enumerate(self.query_ids)}
        images = [place.get(name, f"u{row}") for row, name in enumerate(run.image_ids)]
        values = [float(run.depth - rank) for rank in range(run.depth)]
        return {
            queries[query]: {images[row]: value for row, value in zip(rows, values, strict=True) if row >= 0}
            for query, rows in zip(run.query_ids, run.rows.tolist(), strict=True)
            if query in queries
        }


def _clusters(
    qrels: Qrels, given: Mapping[str, Any] | Integer[np.ndarray, "query"] | Sequence[int] | None
) -> tuple[Int32[np.ndarray, "query"], str]:
    if given is None:
        return rules.cluster_queries(qrels.query_ids, qrels)
    if isinstance(given, Mapping):
        return rules.labelled(qrels.query_ids, {key: str(label) for key, label in given.items()}), _GIVEN
    if len(given) != len(qrels.query_ids):
        came = f"{len(given)} clusters came for {len(qrels.query_ids)} judged queries."
        raise InputError(came, "Each judged query has one.", "Pass a mapping from query id to cluster.")
    return rules.labelled(qrels.query_ids, [str(label) for label in given]), _GIVEN


def _check_provider(measure: Measure) -> None:
    if ir_measures.DefaultPipeline.supports(measure):
        return
    wanting = [
        p for p in ir_measures.DefaultPipeline.providers if not p.is_available() and p.supports(measure)
    ]
    advice = [str(p.install_instructions()) for p in wanting if p.install_instructions()]
    raise InputError(
        f"No installed provider of ir-measures computes {measure}.",
        "A measure needs one.",
        f"Try: {advice[0]}." if advice else "Choose other parameters or another measure.",
    )


def _fill(
    found: dict[Measure, Float64[np.ndarray, "query"]],
    measures: list[Measure],
    qrels: dict[str, dict[str, int]],
    scored: dict[str, dict[str, float]],
    place: dict[str, int],
) -> None:
    pipeline = FallbackProvider([providers.ArrayProvider(), *ir_measures.DefaultPipeline.providers])
    try:
        # One at a time: together, ir-measures 0.4.3 counts NumRet over judged images only if a judged_only
        # measure happens to come before it in a set, so that its value would change from process to process.
        for metric in (
            m for measure in measures for m in pipeline.evaluator([measure], qrels).iter_calc(scored)
        ):
            if metric.query_id in place:
                found[metric.measure][place[metric.query_id]] = metric.value
    except (subprocess.CalledProcessError, OSError) as error:
        listed = ", ".join(map(str, measures))
        came = f"A provider of ir-measures failed on one of {listed} ({error})."
        raise InputError(came, "Its program has to run.", "Leave the measure out.") from error


def _aggregate(measure: Measure, values: Float64[np.ndarray, "query"]) -> float:
    aggregator = measure.aggregator()
    if isinstance(aggregator, ir_measures.MeanAgg):
        return float(values.mean())
    for value in values.tolist():
        aggregator.add(value)
    return float(aggregator.result())
