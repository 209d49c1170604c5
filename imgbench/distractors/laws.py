"""Expectations over the number of distractors above an image, hypergeometric or binomial: no resampling.

Draw m of M distractors, a of which score above a relevant image: the number H of those drawn is
hypergeometric, P(H = h) = C(a, h) C(M - a, m - h) / C(M, m). Measures are sums of f(rank) with
rank = offset + 1 + H. For f = 1 / rank and offset 0 there is even a formula without a sum,

    E[1 / (1 + H)] = (M + 1) / ((m + 1) (a + 1)) * (1 - C(M - a, m + 1) / C(M + 1, m + 1)),

because C(a, h) / (h + 1) = C(a + 1, h + 1) / (a + 1), which turns the sum into Vandermonde's without its
first term. The sum below gives the same and serves every f and offset: terms in log space, only where they
count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import gammaln

_TABLED = 2**20  # logarithms of factorials that are looked up: 8 MiB
_CELLS = 2**20  # terms held at once
_WIDE, _RARE = 9.0, 20.0  # beyond 9 standard deviations and 20 more, less than 1e-15 is left
_DENSE = 1.5  # terms a standard deviation that suffice for a smooth f

Cases = Int64[np.ndarray, "case"]
Value: TypeAlias = Callable[[Float64[np.ndarray, "case term"]], Float64[np.ndarray, "case term"]]


@dataclass(frozen=True, eq=False)
class Law:
    """Distributions of counts, one a case: support, mean, standard deviation and log P(count)."""

    low: Cases
    high: Cases
    mean: Float64[np.ndarray, "case"]
    deviation: Float64[np.ndarray, "case"]
    log_chance: Callable[[Cases, Int64[np.ndarray, "case term"]], Float64[np.ndarray, "case term"]]


def hypergeometric(M: Cases, a: Cases, m: Cases) -> Law:
    """How many of `a` things are among `m` that are drawn from `M` without putting any back."""
    share = np.divide(a, M, out=np.zeros(len(a)), where=M > 0)
    spread = np.divide(M - m, M - 1, out=np.zeros(len(a)), where=M > 1)

    def log_chance(case: Cases, h: Int64[np.ndarray, "case term"]) -> Float64[np.ndarray, "case term"]:
        M_, a_, m_ = M[case], a[case], m[case]
        whole = _log_choose(M_, m_) - _factorial(a_) - _factorial(M_ - a_)
        parts = _factorial(h) + _factorial(a_[:, None] - h) + _factorial(m_[:, None] - h)
        return -parts - _factorial((M_ - a_ - m_)[:, None] + h) - whole[:, None]

    deviation = np.sqrt(m * share * (1 - share) * spread)
    return Law(np.maximum(0, m - (M - a)), np.minimum(a, m), m * share, deviation, log_chance)


def binomial(n: Cases, p: Float64[np.ndarray, "case"]) -> Law:
    """How many of `n` new things exceed something that each exceeds with probability `p`."""
    with np.errstate(divide="ignore"):
        yes, no = np.log(p), np.log1p(-p)
    # What is impossible or certain has no other counts, and these logarithms are multiplied by 0.
    yes[p == 0], no[p == 1] = 0.0, 0.0

    def log_chance(case: Cases, h: Int64[np.ndarray, "case term"]) -> Float64[np.ndarray, "case term"]:
        rest = n[case, None] - h
        whole = _factorial(n[case])[:, None]
        return whole - _factorial(h) - _factorial(rest) + h * yes[case, None] + rest * no[case, None]

    low, high = np.where(p < 1, 0, n), np.where(p > 0, n, 0)
    return Law(low, high, n * p, np.sqrt(n * p * (1 - p)), log_chance)


def expected(law: Law, offset: Cases, value: Value, cutoff: int | None = None) -> Float64[np.ndarray, "case"]:
    """E[value(offset + 1 + H)], where ranks beyond the cutoff have the value 0.

    A smooth bell needs no more than every third of a standard deviation's terms or so: the trapezoid rule is
    wrong by exp(-2 pi^2 1.5^2) = 5e-20 of it (Trefethen and Weideman 2014, doi:10.1137/130932132). Only sums
    that neither cutoff nor support cuts are thinned out like that, and they are divided by their weight.
    """
    start, stop = _window(law)
    last = stop if cutoff is None else np.minimum(stop, cutoff - 1 - offset)
    whole = last == stop
    smooth = whole & (start > law.low) & (stop < law.high)
    step = np.where(smooth, np.maximum(1, (law.deviation / _DENSE).astype(np.int64)), 1)
    terms = np.maximum(0, (last - start) // step + 1)
    found = np.zeros(len(offset))
    for case in _alike(terms):
        number = np.arange(int(terms[case].max()))
        h = start[case, None] + step[case, None] * number
        inside = number < terms[case, None]
        h = np.where(inside, h, start[case, None])
        chance = np.exp(law.log_chance(case, h)) * inside
        # A whole distribution sums to 1, whatever logarithms of large factorials lost to rounding.
        weight = np.where(whole[case], chance.sum(axis=1), 1.0)
        values = value(offset[case, None] + 1.0 + h)
        found[case] = (chance * values).sum(axis=1) / weight
    return found


def distinct(*columns: Cases) -> tuple[Cases, Cases]:
    """The first row of each different combination of values, and which combination each row has."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        if (column != column[0]).any():
            number = np.unique(column, return_inverse=True)[1]
            # At most rows * rows: nothing overflows, however many images there are.
            code = np.unique(code * (number.max() + 1) + number, return_inverse=True)[1]
    _, first = np.unique(code, return_index=True)
    return first, code


def _window(law: Law) -> tuple[Cases, Cases]:
    """The counts that matter."""
    around = _WIDE * law.deviation + _RARE
    start = np.maximum(law.low, np.floor(law.mean - around).astype(np.int64))
    return start, np.minimum(law.high, np.ceil(law.mean + around).astype(np.int64))


def _alike(terms: Cases) -> Iterator[Cases]:
    """Groups of cases with about as many terms, none of them without."""
    order = np.argsort(terms, kind="stable")
    order = order[terms[order] > 0]
    while len(order):
        # Never more than twice as many cells as terms.
        most = 2 * int(terms[order[0]])
        count = int(np.searchsorted(terms[order], most, side="right"))
        count = min(count, max(1, _CELLS // most))
        yield order[:count]
        order = order[count:]


def _log_choose(n: Cases, k: Cases) -> Float64[np.ndarray, "case"]:
    return _factorial(n) - _factorial(k) - _factorial(n - k)


def _factorial(n: Int64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
    """The logarithm of n!"""
    if n.max(initial=0) < _TABLED:
        return _table()[n]
    return gammaln(n + 1.0)


@cache
def _table() -> Float64[np.ndarray, "n"]:
    return gammaln(np.arange(_TABLED) + 1.0)
