"""Paired differences between two searches: intervals by cluster, simultaneous over points, and verdicts.

The unit is the cluster (the five captions of one photo are no five independent questions; Miller 2024,
arXiv 2411.00640). With cluster sums S_c and sizes n_c the estimate is sum S_c / sum n_c, and its error comes
from the residuals e_c = S_c - mean * n_c. Two bounds are blended, by how many clusters carry the variance:

- many: bootstrap-t over clusters (Efron and Tibshirani 1993, chapter 12), because losses are skewed, with the
  largest statistic over all points in each resample (max-T: Westfall and Young 1993; for retrieval: Boytsov,
  Belova and Westfall, SIGIR 2013);
- few: a resampling sees only what happened. Gaffke's bound (2005; Learned-Miller and Thomas 2019, arXiv
  1905.06208) adds one unseen cluster with the worst possible change and weighs all by a Dirichlet
  distribution. If nothing changed in C clusters it is the exact binomial bound 1 - alpha^(1/C), about
  3.7 / C: the "rule of three". Bonferroni over points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer
from scipy.stats import norm

from imgbench.errors import InputError

_RESAMPLES = 2000
_CHUNK = 250  # resamples at once: 10,000 clusters x 250 x 8 bytes = 20 MB
_FEW, _MANY = 10.0, 40.0  # effective clusters: below only Gaffke's bound, above only the bootstrap
_LEAST_CLUSTERS = 10
_MOST_NEEDED = 10**9
_CHANGED = 1e-12  # smaller differences are rounding


class Verdict(StrEnum):
    """What the interval says about the margin."""

    HOLDS = "holds"
    DEGRADES = "degrades"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Interval:
    """A mean over queries with its confidence limits, in units of the measure."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison(Interval):
    """The mean difference of one point, its simultaneous limits, and what they say about the margin.

    `clusters_needed`: for an inconclusive point, about how many clusters in all would decide it if the
    difference stayed what it is (None: no number would). `changed`: how many queries differ at all.
    """

    verdict: Verdict
    clusters_needed: int | None
    changed: int


def paired(
    deltas: Float[np.ndarray, "point query"],
    clusters: Integer[np.ndarray, "query"],
    *,
    margin: float,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Comparison]:
    """One comparison a point of `deltas`, the score of the point minus the score of exact search.

    `holds`: the lower limit is above -margin; `degrades`: the upper limit is below it; else `inconclusive`.
    All limits of a call hold at once with probability `confidence`, half of the error on each side. A change
    is at most 1 a query, as for every measure between 0 and 1 (or the largest change seen, if larger). Raises
    `InputError` for a negative margin, values that are not finite, wrong shapes, or fewer than 10 clusters.

    >>> same = paired(np.zeros((1, 1000)), np.arange(1000), margin=0.005)[0]
    >>> same.mean, round(same.low, 4), same.verdict.value
    (0.0, -0.0037, 'holds')
    """
    values, groups = _checked(deltas, clusters, confidence)
    if not (math.isfinite(margin) and margin >= 0):
        raise InputError(f"The margin is {margin}.", "It is a loss of 0 or more.", "Pass for example 0.005.")
    count = int(groups.max(initial=-1)) + 1
    if count < _LEAST_CLUSTERS:
        wanted = f"An interval needs at least {_LEAST_CLUSTERS}."
        raise InputError(f"There are {count} clusters of queries.", wanted, "Ask more queries.")
    worst = max(1.0, float(np.abs(values).max(initial=0.0)))
    found = _limits(values, groups, (-worst, worst), confidence=confidence, seed=seed, together=True)
    changed = (np.abs(values) > _CHANGED).sum(axis=1)
    limits = zip(*(side.tolist() for side in found), strict=True)
    return [
        _comparison((mean, low, high), int(n), margin=margin, count=count)
        for (mean, low, high), n in zip(limits, changed, strict=True)
    ]


def mean_interval(
    scores: Float[np.ndarray, "point query"],
    clusters: Integer[np.ndarray, "query"],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> list[Interval]:
    """The mean of each row with limits of its own (not simultaneous), for values between `bounds`.

    For a measure's mean the bounds are 0 and 1, for the difference of two encoders -1 and 1; rows that exceed
    them widen them. Raises `InputError` as `paired`, but takes any number of clusters.

    >>> mean_interval(np.ones((1, 400)), np.arange(400))
    [Interval(mean=1.0, low=0.990..., high=1.0)]
    """
    values, groups = _checked(scores, clusters, confidence)
    widest = min(bounds[0], float(values.min(initial=0.0))), max(bounds[1], float(values.max(initial=0.0)))
    found = _limits(values, groups, widest, confidence=confidence, seed=seed, together=False)
    return [Interval(*map(float, row)) for row in zip(*found, strict=True)]


def _checked(
    values: Float[np.ndarray, "point query"], clusters: Integer[np.ndarray, "query"], confidence: float
) -> tuple[Float64[np.ndarray, "point query"], Int64[np.ndarray, "query"]]:
    found, labels = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    if found.ndim != 2 or labels.shape != found.shape[1:]:  # noqa: PLR2004
        came = f"Differences of shape {found.shape} came with clusters of shape {labels.shape}."
        raise InputError(came, "They are (points, queries) and (queries,).", "Pass one cluster a query.")
    if not found.shape[1]:
        raise InputError("There are no queries.", "An interval needs some.", "Check the judgements.")
    if not np.isfinite(found).all():
        raise InputError(
            "Some values are not finite.", "Every query has a score.", "Score missing answers as 0."
        )
    if not (isinstance(confidence, float) and 0 < confidence < 1):
        wanted = "It lies between 0 and 1."
        raise InputError(f"The confidence is {confidence!r}.", wanted, "Pass for example 0.95.")
    return found, np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _comparison(limits: tuple[float, float, float], changed: int, *, margin: float, count: int) -> Comparison:
    mean, low, high = limits
    verdict, needed = Verdict.INCONCLUSIVE, None
    if low > -margin:
        verdict = Verdict.HOLDS
    elif high < -margin:
        verdict = Verdict.DEGRADES
    elif gap := abs(mean + margin):
        half = mean - low if mean > -margin else high - mean
        # Limits shrink with the root of the clusters; where nothing changed, with the clusters themselves.
        rare = math.log1p(-half) / math.log1p(-gap) if max(half, gap) < 1 else half / gap
        more = count * ((half / gap) ** 2 if changed else rare)
        needed = max(math.ceil(more), count + 1) if more < _MOST_NEEDED else None
    return Comparison(mean, low, high, verdict, needed, changed)


Limits = tuple[Float64[np.ndarray, "point"], Float64[np.ndarray, "point"], Float64[np.ndarray, "point"]]


def _limits(
    values: Float64[np.ndarray, "point query"],
    groups: Int64[np.ndarray, "query"],
    bounds: tuple[float, float],
    *,
    confidence: float,
    seed: int,
    together: bool,
) -> Limits:
    points, sizes = len(values), np.bincount(groups).astype(np.float64)
    sums = np.array([np.bincount(groups, weights=row) for row in values]).reshape(points, len(sizes))
    mean = sums.sum(axis=1) / sizes.sum()
    residuals = sums - mean[:, None] * sizes
    alpha, family = (1 - confidence) / 2, points if together else 1
    # 0: the bootstrap alone, 1: Gaffke's bound alone; between them it changes without a jump.
    rare = np.clip((_MANY - _effective(residuals)) / (_MANY - _FEW), 0.0, 1.0)
    low, high = np.full(points, bounds[0]), np.full(points, bounds[1])
    if (common := rare < 1).any():
        level = alpha * (common.sum() / points if together else 1.0)
        found = _bootstrap(residuals[common], sizes, level, seed, together=together)
        low[common] = np.maximum(mean[common] - found[0], bounds[0])
        high[common] = np.minimum(mean[common] + found[1], bounds[1])
    for p in np.flatnonzero(rare > 0):
        each = mean[p] + residuals[p] / sizes.mean()  # its mean over clusters is the estimate
        # A cluster of the largest size, wholly changed, is the worst that may be unseen.
        worst, best = (mean[p] + (bound - mean[p]) * sizes.max() / sizes.mean() for bound in bounds)
        low[p] += rare[p] * (max(-_gaffke(-each, -worst, alpha / family), bounds[0]) - low[p])
        high[p] += rare[p] * (min(_gaffke(each, best, alpha / family), bounds[1]) - high[p])
    return mean, low, high


def _effective(residuals: Float64[np.ndarray, "point cluster"]) -> Float64[np.ndarray, "point"]:
    """How many equal clusters would carry the variance: (sum e^2)^2 / sum e^4, 0 without any."""
    squares = residuals**2
    fourth = (squares**2).sum(axis=1)
    found = np.divide(squares.sum(axis=1) ** 2, fourth, out=np.zeros(len(squares)), where=fourth > 0)
    return np.where(squares.max(axis=1, initial=0.0) > _CHANGED**2, found, 0.0)


def _bootstrap(
    e: Float64[np.ndarray, "point cluster"],
    sizes: Float64[np.ndarray, "cluster"],
    alpha: float,
    seed: int,
    *,
    together: bool,
) -> tuple[Float64[np.ndarray, "point"], Float64[np.ndarray, "point"]]:
    """Distances of the lower and upper limit from the mean."""
    C, points = len(sizes), len(e)
    error = np.sqrt(C / max(C - 1, 1) * (e**2).sum(axis=1)) / sizes.sum()
    columns, scale = _whole(np.vstack([e, e**2, e * sizes, sizes, sizes**2]).T)
    statistics: list[Float64[np.ndarray, "resample point"]] = []
    for weights in _weights(C, seed):
        found = (weights @ columns) * scale
        n, n2 = found[:, -2:-1], found[:, -1:]
        first, second, mixed = (found[:, at : at + points] for at in (0, points, 2 * points))
        shift = first / n
        spread = np.sqrt(C / max(C - 1, 1) * np.maximum(second - 2 * shift * mixed + shift**2 * n2, 0.0)) / n
        # A resample without spread proves nothing about the error: it counts as extreme.
        extreme = np.where(shift == 0, 0.0, np.copysign(np.inf, shift))
        statistics.append(np.divide(shift, spread, out=extreme, where=spread > _CHANGED))
    t = np.concatenate(statistics)
    return _critical(t, alpha, together=together) * error, _critical(-t, alpha, together=together) * error


def _weights(clusters: int, seed: int) -> Iterator[Float64[np.ndarray, "resample cluster"]]:
    """How often each resample drew each cluster."""
    rng = np.random.default_rng(seed)
    for start in range(0, _RESAMPLES, _CHUNK):
        count = min(_CHUNK, _RESAMPLES - start)
        drawn = rng.integers(0, clusters, (count, clusters)) + np.arange(count)[:, None] * clusters
        yield np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters).astype(float)


def _whole(
    columns: Float64[np.ndarray, "cluster column"],
) -> tuple[Float64[np.ndarray, "cluster column"], Float64[np.ndarray, "column"]]:
    """The columns as whole numbers of a fine grid, and the grid.

    Sums of whole numbers below 2^53 are exact in any order: the limits are the same for any number of threads
    and on any processor. The grid is finer than 1e-10 of a column's largest value.
    """
    largest = np.abs(columns).max(axis=0)
    grid = np.exp2(np.ceil(np.log2(np.where(largest > 0, largest, 1.0) * len(columns))) - 52)
    return np.rint(columns / grid), grid


def _critical(
    t: Float64[np.ndarray, "resample point"], alpha: float, *, together: bool
) -> Float64[np.ndarray, "point"]:
    largest = np.sort(np.broadcast_to(t.max(axis=1, keepdims=True), t.shape) if together else t, axis=0)
    rank = min(math.ceil((len(t) + 1) * (1 - alpha)), len(t))
    return largest[rank - 1]


def _gaffke(values: Float64[np.ndarray, "cluster"], worst: float, alpha: float) -> float:
    """Upper limit of the mean of values that are at most `worst`, from any distribution.

    It is the t for which the weighted sum of values and worst, with Dirichlet(1, ..., 1) weights, exceeds t
    with probability alpha. That is P(sum g_i (y_i - t) > 0) for exponential g_i, whose saddlepoint
    approximation (Lugannani and Rice 1980) is within a per cent here and needs no random numbers.
    """
    least = float(values.min())
    width = worst - least
    if width <= 0:
        return worst
    distinct, counts = np.unique(np.append(values - least, width) / width, return_counts=True)
    # t is explicit in the tilt q = 1 - exp(-u), and the probability falls with u: bisection on u.
    low, high = 1e-3, 40.0
    for _ in range(45):
        u = (low + high) / 2
        low, high = (u, high) if _tail(distinct, counts, u)[0] > alpha else (low, u)
    return least + width * _tail(distinct, counts, high)[1]


def _tail(
    y: Float64[np.ndarray, "distinct"], counts: Int64[np.ndarray, "distinct"], u: float
) -> tuple[float, float]:
    """Probability and t at the tilt q = 1 - exp(-u), where 1 - s (y - t) = (1 - q y) / (1 - q t)."""
    q = -math.expm1(-u)
    tilt = 1 - q * y
    t = float((counts * y / tilt).sum() / (counts / tilt).sum())
    s = q / (1 - q * t)
    a = s * (y - t)
    cumulant = -float((counts * np.log1p(-a)).sum())
    r = math.sqrt(max(-2 * cumulant, 1e-300))
    v = math.sqrt(float((counts * (a / (1 - a)) ** 2).sum()))
    return float(norm.sf(r) + norm.pdf(r) * (1 / v - 1 / r)), t
