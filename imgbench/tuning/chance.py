"""The chance that a point will hold on queries which nobody has looked at, from those already searched.

It only steers the race. What is true is said by `significance.paired` on the other half of the queries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.stats import norm

_FEW, _MANY = 10.0, 40.0  # effective clusters, as in significance.limits
_UNSEEN = 0.1
"""What a changed cluster loses, as long as no change was seen at all."""


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
    is only known to lose less than `floor`. `quantile` is the normal one of a one-sided limit.
    """

    margin: float
    clusters: int
    floor: float
    quantile: float

    def outlook(
        self, sums: Float64[np.ndarray, "cluster"], sizes: Float64[np.ndarray, "cluster"], typical: float
    ) -> Outlook:
        """The outlook of a point whose differences sum to `sums` in clusters of `sizes` queries.

        `typical` is what a changed cluster loses on average a query, over all points of the race.

        >>> nothing, sizes = np.zeros(1000), np.full(1000, 5.0)
        >>> forecast = Forecast(margin=0.005, clusters=1000, floor=0.0037, quantile=1.96)
        >>> round(forecast.outlook(nothing, sizes, 0.1).chance, 2)
        1.0
        """
        mean, error = _estimate(sums, sizes, typical)
        chance = self._chance(mean, error, sums, sizes)
        nothing = self._chance(*_estimate(np.zeros_like(sums), sizes, typical), np.zeros_like(sums), sizes)
        return Outlook(
            clusters=len(sums),
            queries=int(sizes.sum()),
            mean=float(sums.sum() / sizes.sum()),
            low=mean - self.quantile * error,
            high=mean + self.quantile * error,
            chance=chance,
            # Near the floor not even a point that changes nothing has much of a chance.
            share=min(1.0, chance / max(nothing, 1e-9)),
        )

    def _chance(
        self,
        mean: float,
        error: float,
        sums: Float64[np.ndarray, "cluster"],
        sizes: Float64[np.ndarray, "cluster"],
    ) -> float:
        """P(lower limit on the other half > -margin), that limit being normal around mean - half.

        `half` joins the error of the other half with its floor, which counts where few clusters change.
        """
        scale = len(sums) / self.clusters
        effective = _effective(sums - sums.sum() / sizes.sum() * sizes) / scale
        rare = min(max((_MANY - effective) / (_MANY - _FEW), 0.0), 1.0)
        there = error * math.sqrt(scale)
        half = math.hypot(self.quantile * there, rare * self.floor)
        return float(norm.cdf((mean + self.margin - half) / max(math.hypot(error, there), 1e-12)))


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


def _effective(residuals: Float64[np.ndarray, "cluster"]) -> float:
    squares = residuals**2
    fourth = float((squares**2).sum())
    return float(squares.sum()) ** 2 / fourth if fourth > 0 else 0.0


class Changes:
    """What changed clusters lose a query: the root mean square over the points looked at."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[float, int]] = {}

    def note(
        self, point: int, sums: Float64[np.ndarray, "cluster"], sizes: Float64[np.ndarray, "cluster"]
    ) -> None:
        """The latest look at a point, in place of its last."""
        changed = np.abs(sums) > 1e-12  # noqa: PLR2004  rounding, as in significance.limits
        self._seen[point] = float(((sums / sizes)[changed] ** 2).sum()), int(changed.sum())

    @property
    def typical(self) -> float:
        """The root mean square, or 0.1 where nothing has changed yet."""
        squares, count = map(sum, zip(*self._seen.values(), strict=True)) if self._seen else (0.0, 0)
        return math.sqrt(squares / count) if count else _UNSEEN
