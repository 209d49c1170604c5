"""Paired differences between two searches, and verdicts: `holds`, `degrades`, `inconclusive`.

`significance.limits` says how the limits are found and from which papers, `significance.builds` how they come
to cover another build of the index.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer

from imgbench.errors import InputError
from imgbench.significance import builds
from imgbench.significance.limits import CHANGED, Limits, Method, limits
from imgbench.significance.rounding import outward

LEAST_CLUSTERS = 10
"""Fewer independent clusters of queries carry no verdict."""

_MOST_NEEDED = 10**9
_BOUNDS = (-1.0, 1.0)  # of a difference of two measures between 0 and 1


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

    `margin`: the loss that would be acceptable, in units of the measure. `clusters_needed`: for an
    inconclusive point, about how many clusters in all would decide it if the difference stayed what it is: so
    many decide in about half of the cases (None: no number would). `changed`: how many queries differ at
    all, in any build. `method`: where the limits come from. `build_spread`: the standard deviation of the
    mean difference between the `builds` builds; `queries`: the limits that would hold for these builds, were
    they the only ones. `clusters`: how many clusters the queries form; `confidence`: that of all limits of
    one call at once.
    """

    verdict: Verdict
    margin: float
    clusters_needed: int | None
    changed: int
    method: Method
    builds: int
    build_spread: float
    queries: Interval
    clusters: int
    confidence: float

    def __str__(self) -> str:
        """The verdict in a sentence or two; numbers are in units of the measure.

        >>> print(paired(np.zeros((1, 1000)), np.arange(1000), margin=0.005)[0])
        No query changed: both searches got the same scores. From 1,000 clusters of queries that proves a loss
        below 0.0037: holds against a margin of 0.005.
        """
        against = f"against a margin of {self.margin:.3g}"
        if not self.changed:
            return (
                "No query changed: both searches got the same scores. "
                f"From {self.clusters:,} clusters of queries that proves a loss below "
                f"{-outward(self.low):g}: {self.verdict.value} {against}.{self._more}"
            )
        queries = "1 query" if self.changed == 1 else f"{self.changed:,} queries"
        between = f"between {outward(self.low):+g} and {outward(self.high, up=True):+g}"
        return f"{self.verdict.value}: {self.mean:+.2g}, {between}, {against}; {queries} changed.{self._more}"

    @property
    def _more(self) -> str:
        if self.verdict is not Verdict.INCONCLUSIVE:
            return ""
        if self.clusters_needed is None:
            return " More queries would not decide it: it is the margin itself, or builds differ too much."
        return f" About {self.clusters_needed:,} clusters of queries would decide it."


def paired(
    deltas: Float[np.ndarray, "point query"] | Float[np.ndarray, "point build query"],
    clusters: Integer[np.ndarray, "query"],
    *,
    margin: float | Float[np.ndarray, "point"],
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Comparison]:
    """One comparison a point of `deltas`, the score of the point minus the score of exact search.

    `holds`: the lower limit is above -margin; `degrades`: the upper limit is below it; else `inconclusive`.
    `margin` is one for all points or one for each. All limits of a call hold at once with probability
    `confidence`, half of the error on each side. With several builds of each point the mean is over builds
    and the limits cover a new build as well. A change is at most 1 a query, as for every measure between 0
    and 1. Raises `InputError` for a negative margin, values that are not finite or beyond 1, wrong shapes, or
    fewer than 10 clusters.

    >>> same = paired(np.zeros((1, 1000)), np.arange(1000), margin=0.005)[0]
    >>> same.mean, round(same.low, 4), same.verdict.value
    (0.0, -0.0037, 'holds')
    """
    several = np.asarray(deltas, dtype=np.float64)
    several = several if several.ndim == 3 else several[:, None]  # noqa: PLR2004
    values = _checked(several.mean(axis=1), clusters)
    margins = _margins(margin, len(values))
    groups, count = numbered(clusters, confidence)
    if (largest := float(np.abs(values).max(initial=0.0))) > 1 + CHANGED:
        came, wanted = f"A difference is {largest:.4g}.", "Limits are made for measures between 0 and 1."
        raise InputError(came, wanted, "Leave that measure out, or divide it by its largest possible value.")
    found = limits(values, groups, _BOUNDS, confidence=confidence, seed=seed, together=True)
    spread = builds.spread(several)
    low, high = builds.widened(found, spread, several.shape[1], _BOUNDS, confidence=confidence, together=True)
    changed = (np.abs(several) > CHANGED).any(axis=1).sum(axis=1)
    return [
        _comparison(
            Interval(float(found.mean[p]), float(low[p]), float(high[p])),
            queries=Interval(float(found.mean[p]), float(found.low[p]), float(found.high[p])),
            margin=float(margins[p]),
            scarce=_scarce(found, p),
            changed=int(changed[p]),
            method=found.method(p),
            builds=several.shape[1],
            build_spread=float(spread[p]),
            clusters=count,
            confidence=confidence,
        )
        for p in range(len(values))
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
    values, (groups, _) = _checked(scores, clusters), numbered(clusters, confidence, least=1)
    widest = min(bounds[0], float(values.min(initial=0.0))), max(bounds[1], float(values.max(initial=0.0)))
    found = limits(values, groups, widest, confidence=confidence, seed=seed, together=False)
    return [Interval(*map(float, row)) for row in zip(found.mean, found.low, found.high, strict=True)]


def _checked(
    values: Float[np.ndarray, "point query"], clusters: Integer[np.ndarray, "query"]
) -> Float64[np.ndarray, "point query"]:
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
    return found


def numbered(
    clusters: Integer[np.ndarray, "query"], confidence: float, *, least: int = LEAST_CLUSTERS
) -> tuple[Int64[np.ndarray, "query"], int]:
    """The clusters numbered from 0, and how many there are. InputError for fewer than `least`.

    >>> numbered(np.array([7, 7, 3]), 0.95, least=2)
    (array([1, 1, 0]), 2)
    """
    if not (isinstance(confidence, float) and 0 < confidence < 1):
        wanted = "It lies between 0 and 1."
        raise InputError(f"The confidence is {confidence!r}.", wanted, "Pass for example 0.95.")
    groups = np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64)
    count = int(groups.max(initial=-1)) + 1
    if count < least:
        wanted = f"An interval needs at least {least}."
        raise InputError(f"There are {count} clusters of queries.", wanted, "Ask more queries.")
    return groups, count


def _margins(margin: float | Float[np.ndarray, "point"], points: int) -> Float64[np.ndarray, "point"]:
    try:
        given = np.asarray(margin, dtype=np.float64)
    except (TypeError, ValueError):
        given = np.array(np.nan)
    if given.ndim and given.shape != (points,):
        came = f"{given.size} margins came for {points} points."
        raise InputError(came, "Each point has one.", "Pass one number for all, or one for each.")
    wrong = ~(np.isfinite(given) & (given >= 0))
    if wrong.any():
        came = f"The margin is {given[wrong][0] if given.ndim else margin}."
        raise InputError(came, "It is a loss of 0 or more.", "Pass for example 0.005.")
    return np.broadcast_to(given, points)


def _comparison(
    found: Interval,
    *,
    queries: Interval,
    margin: float,
    scarce: tuple[bool, bool],
    **facts: Any,  # noqa: ANN401  fields of a Comparison
) -> Comparison:
    verdict, needed = Verdict.INCONCLUSIVE, None
    if found.low > -margin:
        verdict = Verdict.HOLDS
    elif found.high < -margin:
        verdict = Verdict.DEGRADES
    else:
        needed = _clusters_needed(found, queries, margin, facts["clusters"], scarce)
    return Comparison(found.mean, found.low, found.high, verdict, margin, needed, queries=queries, **facts)


def _scarce(found: Limits, point: int) -> tuple[bool, bool]:
    """Whether the lower and the upper limit come from what may be unseen: then they shrink faster."""
    rare = bool(found.rare[point] >= 1)
    return (
        rare or bool(found.low[point] >= found.nearest_low[point]),
        rare or bool(found.high[point] <= found.nearest_high[point]),
    )


def _clusters_needed(
    found: Interval, queries: Interval, margin: float, clusters: int, scarce: tuple[bool, bool]
) -> int | None:
    """How many clusters would bring the limit to the margin, the difference and the builds as they are."""
    below = found.mean > -margin  # the lower limit decides

    def half(interval: Interval) -> float:
        return interval.mean - interval.low if below else interval.high - interval.mean

    gap = abs(found.mean + margin)
    of_builds = max(half(found) ** 2 - half(queries) ** 2, 0.0)
    if gap**2 <= of_builds:
        return None  # more queries do not make builds more alike
    narrow, wide = math.sqrt(gap**2 - of_builds), half(queries)
    # Limits shrink with the root of the clusters; for what may be unseen, with the clusters themselves.
    rare = math.log1p(-wide) / math.log1p(-narrow) if max(wide, narrow) < 1 else wide / narrow
    more = clusters * (rare if scarce[not below] else (wide / narrow) ** 2)
    return max(math.ceil(more), clusters + 1) if more < _MOST_NEEDED else None
