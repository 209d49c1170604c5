"""A tuning in words: the answer first, then the finalists beside exact search."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from imgbench.report import readable
from imgbench.significance.rounding import outward

if TYPE_CHECKING:
    from imgbench.significance import Comparison
    from imgbench.tuning.result import Tuning

_LEAST = 0.0001  # of a difference, as in the table


def text(tuning: Tuning) -> str:
    """The headline, a table of exact search and the finalists, and what the search cost."""
    return "\n".join([headline(tuning), "", *_table(tuning), "", _effort(tuning), *tuning.notes])


def headline(tuning: Tuning) -> str:
    """The recommendation, or why there is none and what would decide."""
    found = tuning.comparison
    if found is None:
        return "No candidate costs less than exact search: stay with Flat."
    moves, margin = _moves(found.mean, tuning.measure), named(tuning.margin_asked, tuning.margin)
    proof = f"on {tuning.confirm_clusters:,} clusters of queries that did not choose it"
    if tuning.best:
        kept = f"proven to be {_within(found, tuning.margin)} and so within the margin of {margin}"
        more = "any loss is " * (found.mean >= 0 > found.low)
        return f"{tuning.best.key}: {_gain(tuning)}. It {moves}, {more}{kept}, {proof}."
    closest = tuning.finalists[0].key
    if found.verdict.value == "degrades":
        least = -outward(found.high, up=True)
        return (
            f"Stay with Flat: the closest candidate, {closest}, {moves}, proven to be more than {least:g} "
            f"and so beyond the margin of {margin}, {proof}."
        )
    nearly = (
        f"No recommendation: {closest} came closest. It {moves} {proof}, where a loss of up to "
        f"{-outward(found.low):g} cannot be ruled out, and the margin is {margin}."
    )
    if not found.clusters_needed:
        return f"{nearly} No number of clusters would decide it."
    return f"{nearly} About {found.clusters_needed:,} clusters to confirm on would decide it."


def named(asked: str, margin: float) -> str:
    """A margin as it was asked, and in units of the measure.

    >>> named("10%", 0.09413), named("0.005", 0.005)
    ('10% (0.0941)', '0.005')
    """
    return f"{asked} ({margin:.3g})" if asked.endswith("%") else asked


def _moves(mean: float, measure: str) -> str:
    """A mean difference as a loss or a gain.

    >>> _moves(-0.0384, "nDCG@10"), _moves(0.0, "nDCG@10"), _moves(3e-6, "AP@10")
    ('loses 0.038 nDCG@10', 'loses no nDCG@10', 'gains less than 0.0001 AP@10')
    """
    if abs(mean) < 1e-12:  # noqa: PLR2004  rounding, as in significance.limits
        return f"loses no {measure}"
    digits = max(1 - math.floor(math.log10(abs(mean))), 0)
    amount = f"{abs(mean):.{digits}f}" if abs(mean) >= _LEAST else f"less than {_LEAST:g}"
    return f"{'loses' if mean < 0 else 'gains'} {amount} {measure}"


def _within(found: Comparison, margin: float) -> str:
    """What the lower limit proves, in as many figures as keep it within the margin."""
    if found.low >= 0:
        return "no loss"
    limits = (-outward(found.low, figures=figures) for figures in range(2, 7))
    return f"less than {next((each for each in limits if each <= margin), margin):g}"


def _gain(tuning: Tuning) -> str:
    words = {"latency": "faster", "throughput": "as many queries a second", "bytes": "smaller"}
    gain = f"{readable.short(tuning.gain)} times {words.get(tuning.goal, 'fewer distance computations')}"
    costs = f"{readable.short(tuning.cost)} instead of {readable.short(tuning.exact_cost)}"
    return f"{gain} ({costs} {tuning.unit})"


def _table(tuning: Tuning) -> list[str]:
    rows = [("point", tuning.unit, f"difference in {tuning.measure}", "limits", "verdict")]
    rows.append(("Flat (exact)", readable.short(tuning.exact_cost), "", "", "reference"))
    for each in tuning.finalists:
        found = each.comparison
        limits, difference = readable.interval(found.low, found.high), readable.change(found.mean)
        chosen = " <- best" if tuning.best and tuning.best.key == each.key else ""
        rows.append((each.key, readable.short(each.cost), difference, limits, found.verdict.value + chosen))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _effort(tuning: Tuning) -> str:
    spent, raced = tuning.distances, sum(trial.queries > 0 for trial in tuning.trail)
    timed = tuning.goal in {"latency", "throughput"}
    full = f"{spent.share:.1%} of the distance computations of the full grid"
    if spent.uncounted:
        full += f", but for {readable.count(len(spent.uncounted), 'uncounted point')}"
    if not raced:
        words = "Timing, counting" if timed else "Counting"
        return f"No candidate was raced. {words} and exact search took {full}."
    parts = {
        "exact search": spent.exact,
        "the race": spent.race,
        "timing and counting" if timed else "counting": spent.cost,
        "the proof": spent.confirm,
    }
    shares = ", ".join(f"{name} {part / spent.full_grid:.1%}" for name, part in parts.items())
    return f"{raced} of {len(tuning.trail)} candidates were raced. All searches took {full}: {shares}."
