"""Which corpus sizes can be asked for: those that a corpus here can have, and how much larger ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np

from imgbench.errors import InputError
from imgbench.ranks import Ranks

FARTHEST = 64
"""How many times the pool a predicted corpus may have; predictions are checked up to 8 times."""

_POINTS, _START = 20, 100


def smallest(ranks: Ranks) -> int:
    """The size at which some query has no distractor left."""
    return int((ranks.images - ranks.distractors).max())


def spaced(ranks: Ranks) -> tuple[int, ...]:
    """Twenty sizes whose logarithms are evenly spaced, from 100 or the smallest to the whole corpus."""
    least, largest = max(smallest(ranks), 1), ranks.images
    start = max(least, _START) if largest > _START else least
    return tuple(int(size) for size in np.unique(np.geomspace(start, largest, _POINTS).round()))


def checked(ranks: Ranks, sizes: Sequence[int], *, predicted: bool) -> tuple[int, ...]:
    """The sizes in order, each once; `predicted`: larger ones than the corpus are possible.

    InputError for what is no whole number, and for sizes that no corpus can have.
    """
    wanted = sorted({_whole(size) for size in _listed(sizes, "Sizes", "sizes=[1000, 2000]")})
    if not wanted:
        raise InputError("No size came.", "A curve has some.", "Pass sizes=None for twenty of them.")
    least = smallest(ranks)
    if wanted[0] < least:
        raise InputError(
            f"A corpus of {wanted[0]} images was asked for.",
            f"The fixed images and a query's relevant ones are up to {least} already.",
            f"Pass sizes from {least} on.",
        )
    if wanted[-1] > ranks.images and not predicted:
        raise InputError(
            f"A corpus of {wanted[-1]} images was asked for.",
            f"There are {ranks.images}.",
            "Use curve.extrapolate(sizes=...) for larger ones.",
        )
    most = _most(ranks)
    if wanted[-1] > max(most, ranks.images):
        raise InputError(
            f"A corpus of {wanted[-1]} images was asked for.",
            f"Nothing is predicted beyond {FARTHEST} times the pool, here {most} images.",
            f"Pass sizes up to {most}.",
        )
    return tuple(wanted)


def larger(ranks: Ranks, factors: Sequence[float], sizes: Sequence[int] | None) -> tuple[int, ...]:
    """`sizes`, or those with `factors` times the pool, all above the whole corpus. InputError otherwise."""
    pool = int(ranks.pooled.sum())
    if sizes is None:
        times = [_factor(factor) for factor in _listed(factors, "Factors", "factors such as (2, 4, 8)")]
        sizes = [ranks.images + round((factor - 1) * pool) for factor in times]
    wanted = sorted({_whole(size) for size in _listed(sizes, "Sizes", "sizes=[1000, 2000]")})
    if not wanted or wanted[0] <= ranks.images:
        came = f"The sizes to extrapolate to are {wanted[:5]}."
        wanted_ = f"They are larger than the corpus, which has {ranks.images} images."
        raise InputError(came, wanted_, "Pass factors above 1, such as (2, 4, 8).")
    return checked(ranks, wanted, predicted=True)


def _most(ranks: Ranks) -> int:
    return ranks.images + (FARTHEST - 1) * int(ranks.pooled.sum())


def _listed(values: object, name: str, example: str) -> list[object]:
    if isinstance(values, Iterable) and not isinstance(values, str):
        return list(cast("Iterable[object]", values))
    raise InputError(f"{name} came as {values!r}.", "They are a list.", f"Pass {example}.")


def _whole(size: object) -> int:
    if isinstance(size, int | np.integer) and not isinstance(size, bool):
        return int(size)
    if isinstance(size, float | np.floating) and float(size).is_integer():
        return int(size)
    raise InputError(f"A size is {size!r}.", "It is a whole number of images.", "Pass sizes=[1000, 2000].")


def _factor(factor: object) -> float:
    known = not isinstance(factor, bool)
    if known and isinstance(factor, int | float | np.integer | np.floating) and abs(factor) <= FARTHEST:
        return float(factor)
    raise InputError(
        f"A factor is {factor!r}.",
        f"It says how many times the pool a corpus has, at most {FARTHEST}.",
        "Pass factors such as (2, 4, 8), or sizes= for numbers of images.",
    )
