"""A tuning in words: the answer first, then the finalists beside exact search."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgbench.tuning.result import Tuning


def text(tuning: Tuning) -> str:
    """The headline, a table of exact search and the finalists, and what the search cost."""
    return "\n".join([headline(tuning), "", *_table(tuning), "", _effort(tuning), *tuning.notes])


def headline(tuning: Tuning) -> str:
    """One sentence with the recommendation, or why there is none and what would decide."""
    found, limit = tuning.comparison, f"{tuning.margin:.4g} {tuning.measure}"
    if tuning.best and found:
        return (
            f"{tuning.best.key}: {_gain(tuning)}, and it loses less than {limit} "
            f"({found.mean:+.4f}, proven above {found.low:+.4f} on {tuning.confirm_clusters:,} clusters of "
            "queries that did not choose it)."
        )
    if found is None:
        return "No candidate costs less than exact search: stay with Flat."
    closest = tuning.finalists[0].key
    if found.verdict.value == "degrades":
        return (
            f"Stay with Flat: the closest candidate, {closest}, loses more than {limit} ({found.mean:+.4f})."
        )
    nearly = f"No recommendation: {closest} came closest ({found.mean:+.4f}, lower limit {found.low:+.4f})"
    if not found.clusters_needed:
        return f"{nearly}, and no number of clusters would prove a loss below {limit}."
    return f"{nearly}. About {found.clusters_needed:,} clusters to confirm on would decide about {limit}."


def _gain(tuning: Tuning) -> str:
    words = {"latency": "faster", "throughput": "as many queries a second", "bytes": "smaller"}
    return f"{tuning.gain:.3g} times {words.get(tuning.goal, 'fewer distance computations')}"


def _table(tuning: Tuning) -> list[str]:
    rows = [("point", tuning.unit, "difference", "limits", "verdict")]
    rows.append(("Flat (exact)", f"{tuning.exact_cost:,.4g}", "", "", "reference"))
    for each in tuning.finalists:
        found = each.comparison
        limits = f"{found.low:+.4f} to {found.high:+.4f}"
        chosen = " <- best" if tuning.best and tuning.best.key == each.key else ""
        rows.append(
            (each.key, f"{each.cost:,.4g}", f"{found.mean:+.4f}", limits, found.verdict.value + chosen)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _effort(tuning: Tuning) -> str:
    looked = sum(trial.queries > 0 for trial in tuning.trail)
    counted = f", but for {len(tuning.distances.uncounted)} uncounted points" * bool(
        tuning.distances.uncounted
    )
    return (
        f"{looked} of {len(tuning.trail)} candidates were searched, with {tuning.distances.share:.1%} of the "
        f"distance computations of the full grid{counted}."
    )
