"""What a half can prove at all, so that nobody searches for what cannot be found."""

from __future__ import annotations

import math

import numpy as np

from imgbench import significance
from imgbench.errors import InputError
from imgbench.tuning.halves import Half

_UNEQUAL = 1.5
"""A cluster of so many times the mean size widens what can be proven by as much, which is worth a word."""


def provable(half: Half, confidence: float, seed: int) -> float:
    """The smallest margin that the half can prove: for a search that changes nothing."""
    nothing = np.zeros((1, len(half.rows)))
    found = significance.paired(nothing, half.clusters, margin=0.0, confidence=confidence, seed=seed)
    return -found[0].low


def check_provable(
    margin: float, floor: float, half: Half, confidence: float, seed: int, *, name: str
) -> None:
    """InputError where no result on the half could hold; `name` is the margin as it was asked."""
    if margin > floor:
        return
    nothing = np.zeros((1, len(half.rows)))
    found = significance.paired(nothing, half.clusters, margin=margin, confidence=confidence, seed=seed)[0]
    step = 10.0 ** (math.floor(math.log10(floor)) - 1)
    least = math.ceil(floor / step + 1e-9) * step
    more = f", or ask about {2 * found.clusters_needed:,} images" if found.clusters_needed else ""
    raise InputError(
        f"The margin is {name}, and {_clusters(half)} are left to confirm.",
        f"They cannot prove a loss below {least:.2g}, not even of a search that changes nothing.",
        f"Choose a margin of {least:.2g} or more{more}.",
    )


def _clusters(half: Half) -> str:
    """How many there are, and how large the largest is where that is what widens the limits."""
    largest = int(np.bincount(half.clusters).max())
    if largest <= _UNEQUAL * len(half.rows) / half.count:
        return f"{half.count:,} clusters of queries"
    return f"{half.count:,} clusters of queries (one of {largest:,} among {len(half.rows):,} queries)"
