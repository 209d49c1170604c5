"""Confidence limits of means over query clusters, simultaneous over points if asked.

The unit is the cluster (the five captions of one photo are no five independent questions; Miller 2024,
arXiv 2411.00640). With cluster sums S_c and sizes n_c the estimate is sum S_c / sum n_c, and its error comes
from the residuals e_c = S_c - mean * n_c. Two bounds are blended, by how many clusters changed and how many
of them carry the variance:

- many: bootstrap-t over clusters (Efron and Tibshirani 1993, chapter 12), because losses are skewed. Over
  several points the largest statistic of each resample counts (max-T: Westfall and Young 1993; for retrieval:
  Boytsov, Belova and Westfall, SIGIR 2013), each in units of its own tail. A variance that few clusters carry
  is itself uncertain: the limits are widened by Student's quantile over the normal one, with (sum e^2)^2 /
  sum e^4 degrees of freedom (half of what Satterthwaite 1946 gives; his own let `mixed` worlds fail).
- few: a resampling sees only what happened. Gaffke's bound (2005; Learned-Miller and Thomas 2019, arXiv
  1905.06208) adds one unseen cluster with the worst possible change and weighs all by a Dirichlet
  distribution. If nothing changed in C clusters it is the exact binomial bound 1 - alpha^(1/C), about
  3.7 / C: the "rule of three". Bonferroni over points.

No limit is nearer to the mean than that of a search that changes nothing: whatever was seen, one cluster in
C that loses all may have stayed unseen, and changes elsewhere are no evidence about it.

How often this is wrong stands in benchmarks/calibration, with the script: over 468 kinds of worlds (clusters
of 1 to 10, correlation 0 to 0.6, 0.1 % to 20 % of the queries changed) a loss at the margin passed as `holds`
in at most 3.6 % of the worlds of any kind and in 0.5 % on average; by a t interval over queries, in up to
91 % and 24 % on average. Where whole clusters were lost among small changes elsewhere: 2.4 % and 99 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import ndtri, stdtrit

from imgbench.significance.gaffke import upper_limit

_RESAMPLES = 2000
_BEYOND, _MOST_RESAMPLES = 10, 20_000  # as many are to lie beyond a limit, if that takes no more resamples
_CHUNK = 250  # resamples at once: 10,000 clusters x 250 x 8 bytes = 20 MB
# Below the first number of clusters only Gaffke's bound, above the second only the bootstrap:
_EFFECTIVE = 2.0, 6.0  # clusters that carry the variance
_MOVED = 8.0, 16.0  # clusters that differ from most: a resample without any of them has no spread
_FAR = 5.0  # a point's unit is the quantile that its statistic exceeds five times more rarely than alpha
CHANGED = 1e-12
"""Smaller differences are rounding."""


class Method(StrEnum):
    """Where the limits of a mean come from."""

    BOOTSTRAP = "bootstrap-t"
    GAFFKE = "Gaffke"
    BLEND = "bootstrap-t and Gaffke"


@dataclass(frozen=True)
class Limits:
    """Means and their limits; `rare` is 0 for the bootstrap alone, 1 for Gaffke's bound alone.

    `nearest_low` and `nearest_high` are the limits of a search that changes nothing, around these means.
    """

    mean: Float64[np.ndarray, "point"]
    low: Float64[np.ndarray, "point"]
    high: Float64[np.ndarray, "point"]
    rare: Float64[np.ndarray, "point"]
    nearest_low: Float64[np.ndarray, "point"]
    nearest_high: Float64[np.ndarray, "point"]

    def method(self, point: int) -> Method:
        """Where the limits of one point come from."""
        share = self.rare[point]
        return Method.BOOTSTRAP if share <= 0 else Method.GAFFKE if share >= 1 else Method.BLEND


def limits(
    values: Float64[np.ndarray, "point query"],
    groups: Int64[np.ndarray, "query"],
    bounds: tuple[float, float],
    *,
    confidence: float,
    seed: int,
    together: bool,
) -> Limits:
    """Limits of the mean of each row of `values`, which lie between `bounds`; half of the error on each side.

    `groups` numbers the clusters from 0. `together`: all rows' limits hold at once, else each for itself.
    """
    points, sizes = len(values), np.bincount(groups).astype(np.float64)
    sums = np.array([np.bincount(groups, weights=row) for row in values]).reshape(points, len(sizes))
    mean = sums.sum(axis=1) / sizes.sum()
    residuals = sums - mean[:, None] * sizes
    alpha, family = (1 - confidence) / 2, max(points, 1) if together else 1
    effective = _effective(residuals)
    rare = np.maximum(_share(effective, _EFFECTIVE), _share(_moved(sums, sizes), _MOVED))
    low, high = np.full(points, float(bounds[0])), np.full(points, float(bounds[1]))
    if (common := rare < 1).any():
        level = alpha * (common.sum() / points if together else 1.0)
        found = _bootstrap(residuals[common], sizes, level, seed, together=together)
        wider = stdtrit(effective[common], alpha / family) / ndtri(alpha / family)
        low[common] = np.maximum(mean[common] - found[0] * wider, bounds[0])
        high[common] = np.minimum(mean[common] + found[1] * wider, bounds[1])
    for p in np.flatnonzero(rare > 0):
        least, most = _gaffke(float(mean[p]), residuals[p], sizes, bounds, alpha / family)
        # Between the two without a jump; where the bootstrap cannot tell, Gaffke's bound is the narrower one.
        low[p] = least + (1 - rare[p]) * max(low[p] - least, 0.0)
        high[p] = most - (1 - rare[p]) * max(most - high[p], 0.0)
    unseen = (1 - (alpha / family) ** (1 / len(sizes))) * sizes.max() / sizes.mean()
    near = np.maximum(mean - (mean - bounds[0]) * unseen, bounds[0])
    far = np.minimum(mean + (bounds[1] - mean) * unseen, bounds[1])
    return Limits(mean, np.minimum(low, near), np.maximum(high, far), rare, near, far)


def _gaffke(
    mean: float,
    e: Float64[np.ndarray, "cluster"],
    sizes: Float64[np.ndarray, "cluster"],
    bounds: tuple[float, float],
    alpha: float,
) -> tuple[float, float]:
    """Gaffke's lower and upper limit of one point."""
    each = mean + e / sizes.mean()  # its mean over clusters is the estimate
    # A cluster of the largest size, wholly changed, is the worst that may be unseen.
    worst, best = (mean + (bound - mean) * float(sizes.max() / sizes.mean()) for bound in bounds)
    low, high = -upper_limit(-each, -worst, alpha), upper_limit(each, best, alpha)
    return max(low, bounds[0]), min(high, bounds[1])


def _effective(residuals: Float64[np.ndarray, "point cluster"]) -> Float64[np.ndarray, "point"]:
    """How many equal clusters would carry the variance: (sum e^2)^2 / sum e^4, 0 without any."""
    squares = residuals**2
    fourth = (squares**2).sum(axis=1)
    found = np.divide(squares.sum(axis=1) ** 2, fourth, out=np.zeros(len(squares)), where=fourth > 0)
    return np.where(squares.max(axis=1, initial=0.0) > CHANGED**2, found, 0.0)


def _moved(
    sums: Float64[np.ndarray, "point cluster"], sizes: Float64[np.ndarray, "cluster"]
) -> Float64[np.ndarray, "point"]:
    """How many clusters have another mean than the middle one: those that changed, if few did."""
    means = sums / sizes
    middle = np.median(means, axis=1, keepdims=True)
    return (np.abs(means - middle) > CHANGED).sum(axis=1).astype(np.float64)


def _share(found: Float64[np.ndarray, "point"], between: tuple[float, float]) -> Float64[np.ndarray, "point"]:
    """1 at the first number and below, 0 at the second and above."""
    return np.clip((between[1] - found) / (between[1] - between[0]), 0.0, 1.0)


def _bootstrap(
    e: Float64[np.ndarray, "point cluster"],
    sizes: Float64[np.ndarray, "cluster"],
    alpha: float,
    seed: int,
    *,
    together: bool,
) -> tuple[Float64[np.ndarray, "point"], Float64[np.ndarray, "point"]]:
    """Distances of the lower and upper limit from the mean.

    Where alpha is too small for the resamples, the last quantile is stretched as a normal one would be.
    """
    C, points = len(sizes), len(e)
    count = min(max(_RESAMPLES, math.ceil(_BEYOND / alpha)), _MOST_RESAMPLES)
    level = max(alpha, _BEYOND / count)
    error = ndtri(alpha) / ndtri(level) * _error(e, sizes)
    columns, scale = _whole(np.vstack([e, e**2, e * sizes, sizes, sizes**2]).T)
    statistics: list[Float64[np.ndarray, "resample point"]] = []
    for weights in resamples(C, seed, count):
        found = (weights @ columns) * scale
        n, n2 = found[:, -2:-1], found[:, -1:]
        first, second, mixed = (found[:, at : at + points] for at in (0, points, 2 * points))
        shift = first / n
        spread = np.sqrt(C / max(C - 1, 1) * np.maximum(second - 2 * shift * mixed + shift**2 * n2, 0.0)) / n
        # A resample without spread proves nothing about the error: it counts as extreme.
        extreme = np.where(shift == 0, 0.0, np.copysign(np.inf, shift))
        statistics.append(np.divide(shift, spread, out=extreme, where=spread > CHANGED))
    t = np.concatenate(statistics)
    return _critical(t, level, together=together) * error, _critical(-t, level, together=together) * error


def _error(
    e: Float64[np.ndarray, "point cluster"], sizes: Float64[np.ndarray, "cluster"]
) -> Float64[np.ndarray, "point"]:
    """The standard error of the mean."""
    C = len(sizes)
    return np.sqrt(C / max(C - 1, 1) * (e**2).sum(axis=1)) / sizes.sum()


def resamples(
    clusters: int, seed: int, most: int = _RESAMPLES
) -> Iterator[Float64[np.ndarray, "resample cluster"]]:
    """How often each resample drew each cluster."""
    rng = np.random.default_rng(seed)
    for start in range(0, most, _CHUNK):
        count = min(_CHUNK, most - start)
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
    """The value that t exceeds with probability alpha; together: that any column exceeds, each in units of
    its own far quantile, so that a rare point with its long tail does not widen the limits of all.
    """
    ordered = np.sort(t, axis=0)
    if not together:
        return ordered[_rank(len(t), alpha)]
    unit = np.clip(ordered[_rank(len(t), alpha / _FAR)], 1.0, 1e6)
    return np.sort((t / unit).max(axis=1))[_rank(len(t), alpha)] * unit


def _rank(resamples: int, alpha: float) -> int:
    return min(math.ceil((resamples + 1) * (1 - alpha)), resamples) - 1
