"""Does a difference hold? Intervals over query clusters, simultaneous over points, and verdicts."""

from __future__ import annotations

from imgbench.significance.limits import Method
from imgbench.significance.margin import Margin
from imgbench.significance.paired import LEAST_CLUSTERS, Comparison, Interval, Verdict, mean_interval, paired
from imgbench.significance.planning import Detectable, detectable

__all__ = [
    "LEAST_CLUSTERS",
    "Comparison",
    "Detectable",
    "Interval",
    "Margin",
    "Method",
    "Verdict",
    "detectable",
    "mean_interval",
    "paired",
]
