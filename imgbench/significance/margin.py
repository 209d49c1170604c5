"""The loss that would be acceptable: a number of units of the measure, or a share of exact search's score."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TypeAlias

from imgbench.errors import InputError

Given: TypeAlias = "float | str | Margin"

_MOST_PERCENT = 5
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


@dataclass(frozen=True)
class Margin:
    """A loss in units of the measure or, if `relative`, as a share of exact search's mean score.

    A relative margin follows the score that was measured, which has an error of its own. At up to 5 % that is
    far less than the limits of a difference (benchmarks/calibration); larger shares are refused.

    >>> Margin.parse("1%").absolute(0.63), Margin.parse(0.005).absolute(0.63)
    (0.0063, 0.005)
    """

    value: float
    relative: bool = False

    @classmethod
    def parse(cls, given: Given) -> Margin:
        """A margin from 0.005, "0.005", "1%" or a Margin. InputError for less than 0 and other texts."""
        if isinstance(given, Margin):
            return given
        text = str(given).strip()
        number, relative = text.removesuffix("%").rstrip(), text.endswith("%")
        value = float(number) if re.fullmatch(_NUMBER, number) and not isinstance(given, bool) else math.nan
        if not (math.isfinite(value) and value >= 0):
            came = f"The margin is {given!r}."
            raise InputError(came, "It is a loss of 0 or more.", 'Pass for example 0.005, or "1%" of exact.')
        if relative and value > _MOST_PERCENT:
            came = f"The margin is {text} of exact search."
            wanted = (
                "A relative margin is at most 5%: a larger one would move too much with the score's error."
            )
            raise InputError(came, wanted, "Pass it in units of the measure, such as 0.05.")
        return cls(value / 100 if relative else value, relative)

    def __str__(self) -> str:
        return f"{100 * self.value:g}%" if self.relative else f"{self.value:g}"

    def absolute(self, exact: float, measure: str = "the measure") -> float:
        """The margin in units of the measure. InputError where exact search itself scores no more than it."""
        bound = self.value * abs(exact) if self.relative else self.value
        if bound >= exact and bound > 0:
            raise InputError(
                f"The margin for {measure} is {self} and exact search scores {exact:.4g}.",
                "No search could lose more than that.",
                'Choose a smaller margin, such as "1%" of exact, or leave that measure out.',
            )
        return bound
