"""Measures as sums over relevant images, and their expectations in smaller corpora.

All of a query's relevant images stay, so that the i-th of them is the i-th in every corpus, and only its rank
is random: every measure is a sum of weight * f(rank), whose expectation needs one rank at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from ir_measures import Measure
from jaxtyping import Bool, Float64, Int64

from imgbench import measures as names
from imgbench.distractors import laws
from imgbench.errors import InputError
from imgbench.providers import ArrayProvider, Judgements
from imgbench.ranks import Ranks

Pairs = Float64[np.ndarray, "pair"]
Kind: TypeAlias = "tuple[str, int | None]"
Scores = Float64[np.ndarray, "measure size query"]

VALUES: dict[str, laws.Value] = {
    "found": np.ones_like,
    "reciprocal": lambda rank: 1.0 / rank,
    "discount": lambda rank: 1.0 / np.log2(rank + 1.0),
}
"""What a rank is worth, by name."""

_FORMS = {
    "AP": "reciprocal", "P": "found", "R": "found",
    "RR": "reciprocal", "Success": "found", "nDCG": "discount",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Term:
    """A measure of a query: the sum over its relevant images of weight * value(rank) up to the cutoff."""

    value: str
    cutoff: int | None
    weights: Pairs

    @property
    def kind(self) -> Kind:
        """What two measures share if their expectations differ by weights only."""
        return self.value, self.cutoff


def parse(measures: str | Measure | Sequence[str | Measure]) -> tuple[Measure, ...]:
    """The measures, all of which have a closed form; InputError for others."""
    found, provider = names.parse(measures), ArrayProvider()
    for measure in found:
        if not provider.supports(measure):
            raise InputError(
                f"{measure} has no closed form.",
                f"Known: {', '.join(_FORMS)}, with rel=1 or more and trec_eval's gains.",
                "Leave it out, or choose one of these.",
            )
    return found


def closed_forms(measures: Sequence[Measure]) -> tuple[Measure, ...]:
    """Those of `measures` that have a closed form."""
    provider = ArrayProvider()
    return tuple(measure for measure in measures if provider.supports(measure))


class Sums:
    """Measures as sums over the pairs of `ranks`, as `imgbench.providers` defines them.

    `kinds`: the different values that they need, and the pairs that have a weight with any of them.
    """

    def __init__(self, measures: Sequence[Measure], ranks: Ranks) -> None:
        judged = Judgements(ranks.qrels)
        self.terms = [_term(measure, judged, ranks) for measure in measures]
        self.queries, self._query = len(ranks.qrels.query_ids), ranks.query_rows
        used = {
            kind: np.any([term.weights > 0 for term in self.terms if term.kind == kind], axis=0)
            for kind in {term.kind: None for term in self.terms}
        }
        self.kinds = {kind: np.flatnonzero(pairs) for kind, pairs in used.items()}

    def put(
        self,
        kind: Kind,
        values: Float64[np.ndarray, "used"],
        scores: Float64[np.ndarray, "measure query"],
    ) -> None:
        """The measures of this kind into their rows of `scores`, from the values of its pairs."""
        pair = self.kinds[kind]
        for t, term in enumerate(self.terms):
            if term.kind == kind:
                scores[t] = np.bincount(self._query[pair], term.weights[pair] * values, self.queries)


def _term(measure: Measure, judged: Judgements, ranks: Ranks) -> Term:
    name, cutoff = str(measure.NAME), measure.params.get("cutoff")
    if name == "nDCG":
        weights = ranks.grades / judged.ideal(cutoff)[ranks.query_rows]
        return Term(_FORMS[name], cutoff, weights)
    enough = ranks.grades >= measure["rel"]
    nth = _nth(ranks.query_rows, enough)
    relevant = np.maximum(judged.relevant(measure["rel"]), 1)[ranks.query_rows]
    weights = {
        "AP": nth / relevant,  # precision at the i-th relevant image is i / rank
        "P": np.full(len(nth), 1.0 / (cutoff or 1)),
        "R": 1.0 / relevant,
        "RR": nth == 1,
        "Success": nth == 1,
    }[name]
    return Term(_FORMS[name], cutoff, weights * enough)


def _nth(query: Int64[np.ndarray, "pair"], enough: Bool[np.ndarray, "pair"]) -> Int64[np.ndarray, "pair"]:
    """Which of its query's relevant images each is, from 1."""
    count = np.cumsum(enough)
    before = np.concatenate([[0], count])[np.searchsorted(query, query)]
    return count - before


def closed(ranks: Ranks, measures: Sequence[Measure], sizes: Sequence[int]) -> Scores:
    """The expectation of each measure at each corpus size, for every judged query."""
    case, sums = _Cases(ranks), Sums(measures, ranks)
    found = np.zeros((len(sums.terms), len(sizes), sums.queries))
    for kind, pair in sums.kinds.items():
        used, of_pair = np.unique(case.of_pair[pair], return_inverse=True)
        pool, above = case.pool[used], case.above[used]
        for s, size in enumerate(sizes):
            law = laws.hypergeometric(pool, above, size - (ranks.images - pool))
            values = laws.expected(law, case.offset[used], VALUES[kind[0]], kind[1])
            sums.put(kind, values[of_pair], found[:, s])
    return found


class _Cases:
    """The different (pool, offset, images above) of a corpus's pairs, each computed once."""

    def __init__(self, ranks: Ranks) -> None:
        pool, offset = ranks.distractors[ranks.query_rows], ranks.above_relevant + ranks.above_fixed
        first, self.of_pair = laws.distinct(pool, offset, ranks.above_pool)
        self.pool, self.offset, self.above = pool[first], offset[first], ranks.above_pool[first]
