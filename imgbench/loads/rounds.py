"""Settings measured side by side in short rounds, each with its share of the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from imgbench.timing import Clock

SECONDS = 0.5
"""About so long a setting is measured, in all rounds together."""

ROUNDS = 5

Setting = TypeVar("Setting")


def in_rounds(
    settings: Sequence[Setting],
    measure: Callable[[Setting, int, float], object],
    *,
    seconds: float,
    rng: np.random.Generator,
    clock: Clock,
) -> None:
    """`measure(setting, number of the round, nanoseconds)` for every setting, in five rounds.

    The order is drawn anew each round. A setting that has used up its `seconds` in fewer rounds, what comes
    before its clock runs included, has no further one.

    >>> log = []
    >>> in_rounds(["a", "b"], lambda *told: log.append(told), seconds=1.0, rng=np.random.default_rng(0),
    ...           clock=lambda: 0)
    >>> len(log), sorted(log)[:2]
    (10, [('a', 0, 200000000.0), ('a', 1, 200000000.0)])
    """
    spent = [0] * len(settings)
    for number in range(ROUNDS):
        for at in rng.permutation(len(settings)).tolist():
            if spent[at] < 1e9 * seconds:
                start = clock()
                measure(settings[at], number, 1e9 * seconds / ROUNDS)
                spent[at] += clock() - start
