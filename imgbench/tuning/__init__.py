"""The cheapest operating point that holds, found on one half of the queries and confirmed on the other."""

from __future__ import annotations

from imgbench.tuning.goals import GOALS
from imgbench.tuning.result import Best, Distances, Finalist, Trial, Tuning
from imgbench.tuning.tuner import tune

__all__ = ["GOALS", "Best", "Distances", "Finalist", "Trial", "Tuning", "tune"]
