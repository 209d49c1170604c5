"""The chance that a point will hold on queries which nobody has looked at, from those already searched.

It only steers the race. What is true is said by `significance.paired` on the other half of the queries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import ndtr, ndtri

from imgbench import significance

Deltas = Float64[np.ndarray, "query"]
Groups = Int64[np.ndarray, "query"]

_UNSEEN = 0.25
"""What an unseen changed cluster is expected to lose a query, at least: searches that miss, miss wholly."""
_MOST = 2000  # clusters whose limits are computed; beyond, they are known from there
_HOPELESS = 1e-3


@dataclass(frozen=True)
class Outlook:
    """One point after `clusters` clusters (`queries` queries): its mean difference to exact search with rough
    limits, the `chance` that it will hold, and that `share` of the chance of a point that changes nothing.
    """

    clusters: int
    queries: int
    mean: float
    low: float
    high: float
    chance: float
    share: float


@dataclass(frozen=True)
class Forecast:
    """What the other half can prove: it has `clusters` clusters, and there even a point that changes nothing
    is only known to lose less than `floor`.
    """

    margin: float
    clusters: int
    floor: float
    confidence: float = 0.95

    def outlook(self, deltas: Deltas, groups: Groups, typical: float) -> Outlook:
        """The outlook of a point with differences `deltas` in the clusters `groups`, numbered as they come.

        `typical` is what a changed cluster loses on average a query, over all points of the race.

        >>> forecast = Forecast(margin=0.005, clusters=1000, floor=0.0037)
        >>> round(forecast.outlook(np.zeros(1000), np.arange(1000), typical=0.1).chance, 2)
        1.0
        """
        sizes = np.bincount(groups).astype(np.float64)
        sums = np.bincount(groups, weights=deltas)
        mean, error = _estimate(sums, sizes, typical)
        quantile = float(ndtri((1 + self.confidence) / 2))
        # No limit is closer than the normal one: where that would fail, the dear ones need not be computed.
        chance = self._chance(
            mean, error, quantile * error * math.sqrt(len(sizes) / self.clusters), len(sizes)
        )
        if chance > _HOPELESS:
            chance = min(chance, self._chance(mean, error, self._half(deltas, groups), len(sizes)))
        nothing = self._chance(*_estimate(np.zeros_like(sums), sizes, typical), self.floor, len(sizes))
        return Outlook(
            clusters=len(sizes),
            queries=len(deltas),
            mean=float(deltas.mean()),
            low=mean - quantile * error,
            high=mean + quantile * error,
            chance=chance,
            # Near the floor not even a point that changes nothing has much of a chance.
            share=min(1.0, chance / max(nothing, 1e-9)),
        )

    def _chance(self, mean: float, error: float, half: float, seen: int) -> float:
        """P(lower limit on the other half > -margin), if that limit is normal around mean - half."""
        there = error * math.sqrt(seen / self.clusters)
        return float(ndtr((mean + self.margin - half) / max(math.hypot(error, there), 1e-12)))

    def _half(self, deltas: Deltas, groups: Groups) -> float:
        """How far below the mean the limit would be if the other half were copies of these clusters.

        With more clusters the limit of a search that changes nothing comes nearer as one over their number,
        and what is beyond it with the root.
        """
        wanted, seen = min(self.clusters, _MOST), int(groups[-1]) + 1
        whole, rest = divmod(wanted, seen)
        part = deltas[groups < rest]
        copies = np.concatenate([np.tile(deltas, whole), part])
        numbers = np.concatenate(
            [(groups + seen * np.arange(whole)[:, None]).ravel(), groups[: len(part)] + seen * whole]
        )
        half, least = (self._below(row, numbers) for row in (copies, np.zeros(len(copies))))
        beyond, rate = max(half - least, 0.0), wanted / self.clusters
        # A cluster of the other half may be larger than all of these.
        return max(least * rate + beyond * math.sqrt(rate), self.floor)

    def _below(self, deltas: Deltas, groups: Groups) -> float:
        """From the mean down to its lower limit."""
        found = significance.paired(deltas[None], groups, margin=self.margin, confidence=self.confidence)[0]
        return found.mean - found.low


def _estimate(
    sums: Float64[np.ndarray, "cluster"], sizes: Float64[np.ndarray, "cluster"], typical: float
) -> tuple[float, float]:
    """The mean and its standard error over clusters, as if one more cluster had lost what is typical.

    Most clusters change nothing: without that one, 64 unchanged clusters would seem to prove a loss of 0.
    """
    size = sizes.mean()
    sums, sizes = np.append(sums, -typical * size), np.append(sizes, size)
    mean = sums.sum() / sizes.sum()
    residuals = sums - mean * sizes
    count = len(sums)
    return float(mean), float(math.sqrt(count / (count - 1) * (residuals**2).sum()) / sizes.sum())


class Changes:
    """What changed clusters lose a query: the root mean square over the points looked at."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[float, int]] = {}

    def note(self, point: int, deltas: Deltas, groups: Groups) -> None:
        """The latest look at a point, in place of its last."""
        means = np.bincount(groups, weights=deltas) / np.bincount(groups)
        changed = np.abs(means) > 1e-12  # noqa: PLR2004  rounding, as in significance.limits
        self._seen[point] = float((means[changed] ** 2).sum()), int(changed.sum())

    @property
    def typical(self) -> float:
        """The root mean square, and at least 0.25: the first changes seen may be small."""
        squares, count = map(sum, zip(*self._seen.values(), strict=True)) if self._seen else (0.0, 0)
        return max(math.sqrt(squares / count), _UNSEEN) if count else _UNSEEN
