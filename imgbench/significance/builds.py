"""Limits that cover a new build of the index: another training, another order of insertion.

The mean loss of a build is mu + B_b. The mean over n builds estimates mu with the error of the queries and
with the builds' own variance s^2 / n, and a new build adds s^2: half^2 = queries^2 + (t s)^2 (1 + 1/n), with
the quantile t of Student's distribution with n - 1 degrees of freedom (the prediction limit of Hahn, JASA
1969, joined with the queries' part as two independent errors). Bonferroni over the points whose builds
differ. s also holds what the queries' changes differ from build to build, so it is rather too large than too
small. Few builds are dear: t is 4.3 for three builds and one point, 12.6 for eight points; with five builds
2.8 and 5.3, with ten 2.3 and 3.5. benchmarks/calibration has the coverage of builds that were not seen.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from scipy.special import stdtrit

from imgbench.significance.limits import CHANGED, Limits


def spread(deltas: Float64[np.ndarray, "point build query"]) -> Float64[np.ndarray, "point"]:
    """The standard deviation of the mean difference between builds; 0 for one build.

    >>> spread(np.array([[[0.0, 0.2], [0.0, 0.4]]])).round(3)
    array([0.071])
    """
    builds = deltas.shape[1]
    return deltas.mean(axis=2).std(axis=1, ddof=1) if builds > 1 else np.zeros(len(deltas))


def widened(
    found: Limits,
    spread: Float64[np.ndarray, "point"],
    builds: int,
    bounds: tuple[float, float],
    *,
    confidence: float,
    together: bool,
) -> tuple[Float64[np.ndarray, "point"], Float64[np.ndarray, "point"]]:
    """The lower and upper limits, those of `found` with the part of the builds added."""
    if builds < 2:  # noqa: PLR2004  one build says nothing of others
        return found.low, found.high
    alpha = (1 - confidence) / 2 / (max(int((spread > CHANGED).sum()), 1) if together else 1)
    of_builds = stdtrit(builds - 1, 1 - alpha) * spread * np.sqrt(1 + 1 / builds)
    low = found.mean - np.hypot(found.mean - found.low, of_builds)
    high = found.mean + np.hypot(found.high - found.mean, of_builds)
    return np.maximum(low, bounds[0]), np.minimum(high, bounds[1])
