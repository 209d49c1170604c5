"""Gaffke's bound: an upper limit of a mean that assumes nothing but the largest possible value."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64, Int64
from scipy.special import ndtr


def upper_limit(values: Float64[np.ndarray, "cluster"], worst: float, alpha: float) -> float:
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

    def beyond(u: float) -> float:
        return math.log(max(_tail(distinct, counts, u)[0], 1e-300) / alpha)

    # t is explicit in the tilt q = 1 - exp(-u), and the probability falls with u.
    u = 1e-3
    if beyond(u) > 0:
        from scipy.optimize import brentq  # a fifth of a second to load, and seldom needed

        u = float(brentq(beyond, u, 30.0, xtol=1e-9))
    return least + width * _tail(distinct, counts, u)[1]


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
    return float(ndtr(-r) + math.exp(-r * r / 2) / math.sqrt(2 * math.pi) * (1 / v - 1 / r)), t
