"""nDCG, AP, R, P, Success and RR over whole arrays, defined as in trec_eval: an ir-measures provider.

One run of 10,000 queries is scored in milliseconds instead of tenths of a second, because images and queries
are row numbers and no dictionary is built. It can be used like any provider of ir-measures:

>>> from ir_measures import AP, nDCG
>>> qrels = {"q": {"a": 2, "b": 1, "c": 0}}
>>> ArrayProvider().calc_aggregate([nDCG @ 10, AP], qrels, {"q": {"c": 3.0, "a": 2.0, "b": 1.0}})
{nDCG@10: 0.66967181649423, AP: 0.5833333333333333}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, cast

import numpy as np
from ir_measures import Measure, Metric, providers
from ir_measures import measures as families
from ir_measures.providers.base import NOT_PROVIDED, Choices, ParamSpec
from ir_measures.util import QrelsConverter, RunConverter
from jaxtyping import Float64, Int32, Int64

from imgbench.qrels import Qrels
from imgbench.run import Run


class Judgements:
    """Qrels as sorted integer keys, so that the grades of a whole run are one lookup."""

    def __init__(self, qrels: Qrels) -> None:
        self.qrels = qrels
        keys = self._keys(qrels.query_rows.astype(np.int64), qrels.image_rows.astype(np.int64))
        order = np.argsort(keys, kind="stable")
        # A sentinel behind the last key, so that a search never points outside.
        self._sorted = np.append(keys[order], np.iinfo(np.int64).max)
        self._grades = np.append(qrels.grades[order], 0).astype(np.int32)
        self._images: tuple[tuple[str, ...], Int32[np.ndarray, "image"]] | None = None
        self._queries: tuple[tuple[str, ...], Int32[np.ndarray, "query"]] | None = None

    def _keys(
        self, query: Int64[np.ndarray, "*n"], image: Int64[np.ndarray, "*n"]
    ) -> Int64[np.ndarray, "*n"]:
        return query * max(len(self.qrels.image_ids), 1) + image

    @cached_property
    def _image_of(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.qrels.image_ids)}

    @cached_property
    def _query_of(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.qrels.query_ids)}

    def _image_rows(self, ids: tuple[str, ...]) -> Int32[np.ndarray, "image"]:
        # The runs of a sweep share one catalogue: its ids are looked up once.
        if self._images is None or self._images[0] is not ids:
            self._images = ids, _lookup(ids, self._image_of)
        return self._images[1]

    def query_rows(self, ids: tuple[str, ...]) -> Int32[np.ndarray, "query"]:
        """The judged query of each query of a run, -1 for one that nobody judged."""
        if self._queries is None or self._queries[0] is not ids:
            self._queries = ids, _lookup(ids, self._query_of)[:-1]
        return self._queries[1]

    def grades_of(self, run: Run, depth: int | None) -> Int32[np.ndarray, "judged depth"]:
        """Grade of the hit at each rank for every judged query; 0 where unjudged or without hit."""
        rows = run.rows[:, :depth]
        queries = self.query_rows(run.query_ids)
        known = queries >= 0
        images = self._image_rows(run.image_ids)[rows[known]]
        query = queries[known].astype(np.int64)
        keys = np.where(images >= 0, self._keys(query[:, None], images.astype(np.int64)), -1)
        at = np.searchsorted(self._sorted, keys)
        grades = np.zeros((len(self.qrels.query_ids), rows.shape[1]), dtype=np.int32)
        grades[query] = np.where(self._sorted[at] == keys, self._grades[at], 0)
        return grades

    def relevant(self, rel: int) -> Int64[np.ndarray, "judged"]:
        """How many images have at least the grade `rel`, per judged query."""
        enough = self.qrels.grades >= rel
        return np.bincount(self.qrels.query_rows[enough], minlength=len(self.qrels.query_ids))

    def ideal(self, depth: int | None) -> Float64[np.ndarray, "judged"]:
        """DCG of the best possible ranking, per judged query."""
        q, gain = self.qrels.query_rows, np.maximum(self.qrels.grades, 0)
        order = np.lexsort((-gain, q))
        counts = np.bincount(q, minlength=len(self.qrels.query_ids))
        rank = np.arange(len(q)) - np.repeat(np.cumsum(counts) - counts, counts)
        within = rank < (len(q) if depth is None else depth)
        weights = gain[order] / np.log2(rank + 2.0) * within
        return np.bincount(q[order], weights=weights, minlength=len(counts))


def _lookup(ids: tuple[str, ...], rows: dict[str, int]) -> Int32[np.ndarray, "id_and_last"]:
    """The row of each id, -1 for an unknown one; a last -1, where the index -1 (no hit) points."""
    return np.array([*(rows.get(name, -1) for name in ids), -1], dtype=np.int32)


Grades = Int32[np.ndarray, "judged depth"]
Scores = Float64[np.ndarray, "judged"]


def _ndcg(measure: Measure, judged: Judgements, grades: Grades) -> Scores:
    """Järvelin and Kekäläinen 2002, as in trec_eval: gain = grade (negative: 0), discount log2(rank + 1)."""
    gains = np.maximum(grades, 0) / np.log2(np.arange(grades.shape[1]) + 2.0)
    return _ratio(gains.sum(axis=1), judged.ideal(_cutoff(measure)))


def _ap(measure: Measure, judged: Judgements, grades: Grades) -> Scores:
    """Precision at each relevant hit, over all relevant images, also those below the cutoff."""
    hit = grades >= measure["rel"]
    precision = np.cumsum(hit, axis=1) / np.arange(1, grades.shape[1] + 1)
    return _ratio((precision * hit).sum(axis=1), judged.relevant(measure["rel"]))


def _r(measure: Measure, judged: Judgements, grades: Grades) -> Scores:
    """The share of all relevant images that stand above the cutoff."""
    return _ratio((grades >= measure["rel"]).sum(axis=1), judged.relevant(measure["rel"]))


def _p(measure: Measure, judged: Judgements, grades: Grades) -> Scores:
    """Relevant hits over the cutoff, however many hits there were."""
    del judged
    return (grades >= measure["rel"]).sum(axis=1) / float(measure["cutoff"])


def _success(measure: Measure, judged: Judgements, grades: Grades) -> Scores:
    """1 if a relevant image stands above the cutoff. Vision papers call it text-to-image R@k."""
    del judged
    return (grades >= measure["rel"]).any(axis=1).astype(np.float64)


def _rr(measure: Measure, judged: Judgements, grades: Grades) -> Scores:
    """One over the rank of the first relevant hit, 0 without one."""
    del judged
    hit = grades >= measure["rel"]
    return (hit / np.arange(1, grades.shape[1] + 1)).max(axis=1, initial=0.0)


def _ratio(above: np.ndarray[Any, Any], below: np.ndarray[Any, Any]) -> Scores:
    """A query without anything relevant scores 0, as in trec_eval."""
    return np.divide(above, below, out=np.zeros(len(below)), where=below > 0)


FORMULAS: dict[str, Callable[[Measure, Judgements, Grades], Scores]] = {
    "AP": _ap, "P": _p, "R": _r, "RR": _rr, "Success": _success, "nDCG": _ndcg,
}  # fmt: skip


def _cutoff(measure: Measure) -> int | None:
    return measure.params.get("cutoff")


def matrix(
    measures: Iterable[Measure], judged: Judgements, run: Run
) -> Float64[np.ndarray, "measure judged"]:
    """Scores of every judged query, in the order of the measures; a query without hits scores 0."""
    wanted = list(measures)
    cutoffs = [_cutoff(measure) for measure in wanted]
    depth = run.depth if None in cutoffs else max((c for c in cutoffs if c is not None), default=0)
    grades = judged.grades_of(run, depth)
    scored = (
        FORMULAS[str(m.NAME)](m, judged, grades[:, :cut]) for m, cut in zip(wanted, cutoffs, strict=True)
    )
    return np.array(list(scored)).reshape(len(wanted), len(judged.qrels.query_ids))


class _Any(ParamSpec):
    def validate(self, value: object) -> bool:
        del value
        return True


class _Positive(ParamSpec):
    """With rel <= 0 unjudged images would count in some tools and not in others: left to pytrec_eval."""

    def validate(self, value: object) -> bool:
        return isinstance(value, int) and value >= 1


class ArrayProvider(providers.Provider):
    """This module as a provider; takes a `Run` in its own order, or any run that ir-measures takes."""

    NAME = "imgbench"
    SUPPORTED_MEASURES = [  # noqa: RUF012  the name and form that ir-measures reads
        *(
            family(cutoff=_Any(), rel=_Positive(), judged_only=Choices(False))
            for family in (families.AP, families.P, families.R, families.RR, families.Success)
        ),
        families.nDCG(
            cutoff=_Any(), dcg=Choices("log2"), gains=Choices(NOT_PROVIDED), judged_only=Choices(False)
        ),
    ]

    def _evaluator(self, measures: Iterable[Measure], qrels: Any) -> ArrayEvaluator:  # noqa: ANN401
        if not isinstance(qrels, Qrels):
            qrels = Qrels.from_dict(
                cast("dict[str, dict[str, int]]", QrelsConverter(qrels).as_dict_of_dict())
            )
        return ArrayEvaluator(measures, Judgements(qrels))


class ArrayEvaluator(providers.Evaluator):
    """The measures bound to one set of judgements."""

    def __init__(self, measures: Iterable[Measure], judged: Judgements) -> None:
        super().__init__(list(measures), set(judged.qrels.query_ids))
        self._judged = judged

    def _iter_calc(self, run: Any) -> Iterator[Metric]:  # noqa: ANN401  every form that ir-measures takes
        given: Any = run if isinstance(run, Run) else RunConverter(run).as_dict_of_dict()
        ordered = given if isinstance(given, Run) else sorted_run(given)
        measures = list(self.measures)
        for measure, values in zip(measures, matrix(measures, self._judged, ordered), strict=True):
            for query, value in zip(self._judged.qrels.query_ids, values.tolist(), strict=True):
                yield Metric(query_id=query, measure=measure, value=value)


def sorted_run(scored: dict[str, dict[str, float]]) -> Run:
    """A run from scores by ids in the order of trec_eval: float32 scores falling, ties by id falling."""
    ids = {name for found in scored.values() for name in found}
    names = sorted(ids, key=lambda name: name.encode(errors="surrogatepass"), reverse=True)
    place = {name: row for row, name in enumerate(names)}
    depth = max(map(len, scored.values()), default=0)
    rows = np.full((len(scored), depth), -1, dtype=np.int64)
    scores = np.zeros((len(scored), depth))
    for q, found in enumerate(scored.values()):
        rows[q, : len(found)] = [place[name] for name in found]
        scores[q, : len(found)] = list(found.values())
    with np.errstate(over="ignore"):  # what is too large for float32 ties at inf in trec_eval, too
        single = np.where(np.isnan(scores), -np.inf, scores).astype(np.float32)  # it sorts NaN last
    return Run.from_search(scored, names, single, rows)
