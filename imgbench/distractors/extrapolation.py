"""Measures in larger corpora, predicted from this one, and how wrong such predictions are here.

New distractors come from where the pool came from. Those above a relevant image are the ones that are there
plus a binomial number of the new ones, with a probability that `imgbench.distractors.tail` estimates. How far
this can be trusted is measured: from random halves, quarters and eighths of this corpus the whole is
predicted, and compared with what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ir_measures import Measure
from jaxtyping import Float64, Int64

from imgbench.distractors import expected, laws, tail
from imgbench.errors import InputError
from imgbench.ranks import Ranks

FACTORS = (2, 4, 8)
"""By how much a sub-corpus is smaller from which the whole is predicted."""

_SMALLEST = 50  # distractors of a sub-corpus


@dataclass(frozen=True, eq=False)
class Error:
    """Predicted minus true means when this corpus is predicted from 1 / factor of its pool, over some draws.

    `bias` is the mean difference, `typical` the root of its mean square; both (measure, factor).
    """

    factors: tuple[int, ...]
    draws: int
    bias: Float64[np.ndarray, "measure factor"]
    typical: Float64[np.ndarray, "measure factor"]

    @property
    def farthest(self) -> int:
        """The largest factor that was measured."""
        return self.factors[-1]

    def at(self, factors: Float64[np.ndarray, "size"]) -> Float64[np.ndarray, "measure size"]:
        """The typical error at other factors, linear in their logarithm, from 0 at factor 1.

        Beyond the farthest it is not measured, and grows with the logarithm from there.
        """
        known, wanted = np.log2([1.0, *self.factors]), np.log2(factors)
        further = np.maximum(wanted / known[-1], 1.0)
        return np.array([np.interp(wanted, known, [0.0, *row]) * further for row in self.typical])


def predicted(
    ranks: Ranks, measures: Sequence[Measure], added: Sequence[int], *, model: str
) -> expected.Scores:
    """The expectation of each measure for every judged query after adding so many distractors."""
    more = np.array(added, dtype=np.int64)[:, None] + np.zeros_like(ranks.distractors)
    return _predicted(ranks, tail.seen(ranks), measures, more, model)


def _predicted(
    ranks: Ranks,
    found: tail.Seen,
    measures: Sequence[Measure],
    added: Int64[np.ndarray, "size query"],
    model: str,
) -> expected.Scores:
    parts = tail.chances(found, model)
    sums = expected.Sums(measures, ranks)
    offset = (ranks.above_relevant + ranks.above_fixed + found.above)[parts.pair]
    # Many parts share both, and are computed once.
    same = laws.distinct(offset, np.unique(parts.chance, return_inverse=True)[1])[1]
    scores = np.zeros((len(sums.terms), *added.shape))
    for kind, pair in sums.kinds.items():
        place = np.full(len(ranks), -1)
        place[pair] = np.arange(len(pair))
        part = np.flatnonzero(place[parts.pair] >= 0)
        for s, more in enumerate(added):
            new = more[found.query[parts.pair[part]]]
            first, case = laws.distinct(new, same[part])
            law = laws.binomial(new[first], parts.chance[part[first]])
            each = laws.expected(law, offset[part[first]], expected.VALUES[kind[0]], kind[1])[case]
            values = np.bincount(place[parts.pair[part]], parts.weight[part] * each, minlength=len(pair))
            sums.put(kind, values, scores[:, s])
    return scores


def measured_error(
    ranks: Ranks,
    measures: Sequence[Measure],
    *,
    model: str,
    factors: Sequence[int] = FACTORS,
    draws: int = 4,
    seed: int = 0,
) -> Error:
    """How wrong the model is on this corpus. InputError if the pool is too small to be divided."""
    if draws < 1:
        raise InputError(f"draws is {draws}.", "An error is measured on some sub-corpora.", "Pass draws=4.")
    possible = tuple(factor for factor in factors if ranks.distractors.min() >= _SMALLEST * factor)
    if not possible:
        raise InputError(
            f"The pool has {int(ranks.distractors.min())} distractors for some query.",
            f"To check an extrapolation it needs {2 * _SMALLEST}, {_SMALLEST} in each half.",
            "Add images to the pool.",
        )
    truth = expected.closed(ranks, measures, [ranks.images])[:, 0].mean(axis=1)
    differences = np.empty((len(measures), len(possible), draws))
    for f, factor in enumerate(possible):
        for draw in range(draws):
            found = tail.thinned(ranks, factor, np.random.default_rng([seed, factor, draw]))
            missing = (ranks.distractors - found.drawn)[None]
            means = _predicted(ranks, found, measures, missing, model)[:, 0].mean(axis=1)
            differences[:, f, draw] = means - truth
    typical = np.sqrt((differences**2).mean(axis=2))
    return Error(possible, draws, differences.mean(axis=2), typical)
