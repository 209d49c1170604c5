"""Limits as people read them: rounded, and never to the side that would claim more."""

from __future__ import annotations

import math


def outward(limit: float, *, figures: int = 2, up: bool = False) -> float:
    """A lower limit with few figures, never higher than it is; an upper one (`up`) never lower.

    >>> outward(-0.00321), outward(-0.00321, up=True), outward(-0.00321, figures=3), outward(0.0)
    (-0.0033, -0.0032, -0.00321, 0.0)
    """
    if limit == 0:
        return 0.0
    digits = figures - 1 - math.floor(math.log10(abs(limit)))
    scaled = round(limit * 10.0**digits, 6)
    return round((math.ceil(scaled) if up else math.floor(scaled)) / 10.0**digits, max(digits, 0))
