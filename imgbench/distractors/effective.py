"""How many random images are as hard as these on-topic ones?

A corpus full of look-alikes is harder than its size says. Its effective size is the number of images at which
the distractor curve of random images has fallen to the score of the hard corpus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from ir_measures import Measure
from jaxtyping import Float, Float64

from imgbench.distractors import expected
from imgbench.distractors.curve import Curve
from imgbench.errors import InputError, unknown
from imgbench.ranks import Ranks

_POINTS = 60  # sizes between which the curve is interpolated, in the logarithm of the distractors
_RESAMPLES = 2000
_ROUNDING = 1e-9  # two sums of the same score differ by less


class Reach(StrEnum):
    """What the number rests on, or why there is none."""

    EASIER = "above the whole curve"
    MEASURED = "measured"
    EXTRAPOLATED = "extrapolated, checked"
    BEYOND = "beyond what was checked"


@dataclass(frozen=True)
class EffectiveSize:
    """The corpus of random images that is as hard, in images, with its limits.

    `size` is None where the curve does not fall that far within what was checked (`reach` is BEYOND): then it
    is more than `low`. It is None too where the score is above the whole curve (EASIER): then it is less than
    `high`. `high` is None where the upper limit lies beyond what was checked, `low` 0 where the lower one is
    below the smallest corpus. `fixed`: how many of the images are not random.
    """

    measure: str
    score: float
    size: int | None
    low: int
    high: int | None
    fixed: int
    reach: Reach
    confidence: float

    @property
    def distractors(self) -> int | None:
        """How many of the images are random distractors."""
        return None if self.size is None else self.size - self.fixed

    def __str__(self) -> str:
        hard = f"{self.measure} {self.score:.3f}: "
        if self.reach is Reach.EASIER:
            than = "the smallest corpus" if self.high is None else f"{self.high:,} images"
            return f"{hard}easier than {than} ({self.reach})"
        if self.size is None:
            return f"{hard}harder than {self.low:,} images ({self.reach})"
        high = f"{self.high:,}" if self.high is not None else "no known limit"
        low = f"{self.low:,} to" if self.low else "up to"
        return f"{hard}as hard as {self.size:,} images ({low} {high}; {self.reach})"


def effective_size(
    curve: Curve,
    hard: Ranks | Mapping[str, float] | Float[np.ndarray, "query"],
    measure: str | Measure | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> EffectiveSize:
    """The number of images at which `curve`, of random distractors, meets the score on a hard corpus.

    `hard`: the hard corpus's `Ranks`, or its score per judged query (by id, or in the curve's order).
    `measure`: the curve's first by default. Limits are percentiles of a bootstrap over query clusters that
    draws curve and score together, because both come from the same queries, with the error of the
    extrapolation times one number of Student's a draw. Below `curve.images` the curve is exact, up to
    `curve.farthest` its extrapolation was checked, and beyond no number is given. InputError for scores of
    other queries or outside 0 to 1, and measures that the curve does not have.
    """
    name = curve.measures[0] if measure is None else str(measure)
    if name not in curve.measures:
        raise unknown("a measure of this curve", name, curve.measures)
    if not 0 < confidence < 1:
        raise InputError(f"The confidence is {confidence}.", "It lies between 0 and 1.", "Pass 0.95.")
    score = _scores(curve, hard, name)
    sizes = _grid(curve)
    m = curve.measures.index(name)
    each = curve.scores(sizes)[m]
    excess = each - score  # falls with the size, and is 0 where both are equal
    fixed = int((~curve.ranks.pooled).sum())
    found = _crossings(excess.mean(axis=1)[None], sizes, fixed)[0]
    drawn = _crossings(_resampled(curve, excess, sizes, m, seed), sizes, fixed)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], method="closest_observation")
    reach = _reach(curve, found)
    size = round(float(found)) if reach in {Reach.MEASURED, Reach.EXTRAPOLATED} else None
    least = _least(low, curve.farthest)
    most = None if high == np.inf else round(float(max(high, sizes[0])))
    return EffectiveSize(name, float(score.mean()), size, least, most, fixed, reach, confidence)


def _reach(curve: Curve, crossing: float) -> Reach:
    if np.isinf(crossing):
        return Reach.BEYOND if crossing > 0 else Reach.EASIER
    return Reach.MEASURED if round(crossing) <= curve.images else Reach.EXTRAPOLATED


def _least(low: float, farthest: int) -> int:
    if np.isinf(low):
        return farthest if low > 0 else 0
    return round(float(low))


def _scores(
    curve: Curve, hard: Ranks | Mapping[str, float] | Float[np.ndarray, "query"], name: str
) -> Float64[np.ndarray, "query"]:
    names = curve.ranks.qrels.query_ids
    if isinstance(hard, Ranks):
        values = expected.closed(hard, expected.parse(name), [hard.images])[0, 0]
        hard = dict(zip(hard.qrels.query_ids, values.tolist(), strict=True))
    if isinstance(hard, Mapping):
        if set(hard) != set(names):
            came = f"Scores of {len(hard)} queries came for a curve of {len(names)}, not the same ones."
            raise InputError(came, "Both are about the same queries.", "Select the queries first.")
        hard = np.array([hard[query] for query in names])
    try:
        found = np.asarray(hard, dtype=np.float64)
    except (TypeError, ValueError):
        came = f"Scores came as {type(hard).__name__}, not all of them numbers."
        raise InputError(came, "Each judged query has one.", "Pass floats between 0 and 1.") from None
    if found.shape != (len(names),) or not np.isfinite(found).all():
        came = f"Scores of shape {found.shape} came for {len(names)} queries."
        raise InputError(came, "Each judged query has a finite one.", "Score missing answers as 0.")
    if found.min(initial=0.0) < -_ROUNDING or found.max(initial=0.0) > 1 + _ROUNDING:
        came = f"The scores are {found.min():.3g} to {found.max():.3g}."
        raise InputError(
            came, f"{name} lies between 0 and 1.", "Pass each query's score, not a sum or percent."
        )
    return found


def _grid(curve: Curve) -> list[int]:
    """Sizes whose numbers of distractors have evenly spaced logarithms, and the whole corpus."""
    least = curve.smallest
    more = (
        np.geomspace(1, curve.farthest - least, _POINTS).round().astype(int) if curve.farthest > least else []
    )
    return sorted({least, curve.images, *(least + int(number) for number in more)})


def _resampled(
    curve: Curve, excess: Float64[np.ndarray, "size query"], sizes: list[int], m: int, seed: int
) -> Float64[np.ndarray, "resample size"]:
    """The mean excess in bootstrap samples of the clusters, with a random error where it is extrapolated."""
    generator = np.random.default_rng(seed)
    count = int(curve.clusters.max()) + 1
    sums = np.array([np.bincount(curve.clusters, weights=row, minlength=count) for row in excess])
    members = np.bincount(curve.clusters, minlength=count)
    weights = generator.multinomial(count, np.full(count, 1 / count), size=_RESAMPLES).astype(np.float64)
    found = (weights @ sums.T) / (weights @ members)[:, None]
    if curve.error:
        times = 1 + np.maximum(np.array(sizes) - curve.images, 0) / curve.pool_size
        found += generator.standard_t(curve.error.draws, (_RESAMPLES, 1)) * curve.error.at(times)[m]
    return found


def _crossings(
    excess: Float64[np.ndarray, "curve size"], sizes: list[int], fixed: int
) -> Float64[np.ndarray, "curve"]:
    """Where each curve falls to 0, linear in the distractors' logarithm.

    Infinite where it never does, minus infinite where it starts below.
    """
    at = np.log(np.maximum(np.array(sizes) - fixed, 0) + 1.0)
    falling = np.minimum.accumulate(excess, axis=1)
    below = falling <= 0
    first = np.where(below.any(axis=1), below.argmax(axis=1), -1)
    found = np.full(len(excess), np.inf)
    found[first == 0] = np.where(falling[first == 0, 0] < -_ROUNDING, -np.inf, sizes[0])
    row = np.flatnonzero(first > 0)
    after, before = falling[row, first[row]], falling[row, first[row] - 1]
    share = before / (before - after)
    start = at[first[row] - 1]
    found[row] = fixed + np.expm1(start + share * (at[first[row]] - start))
    return found
