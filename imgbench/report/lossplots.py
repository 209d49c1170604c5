"""Pictures of a loss: where it arises on the way to a point, and what lost overlap has to do with it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from imgbench.errors import InputError, unknown
from imgbench.report import canvas, labels
from imgbench.report.plots import COLOURS, GREY, MARKERS, family, label, no_glyph_warnings, shortened
from imgbench.report.readable import change, percent
from imgbench.report.results import Results, margin_of, overlap, points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DOWN, _UP, _LEVEL = "#D55E00", "#009E73", "#777777"


def overlap_quality(results: Results, measure: str | None = None, encoder: str | None = None) -> Figure:
    """Lost overlap against lost quality: on the left query by query, on the right point by point."""
    measure, encoder = canvas.measure_of(results, measure), canvas.encoder_of(results, encoder)
    points = [point for point in points_of(results, encoder) if point.get("overlap_quality")]
    if not points:
        came = "No point was compared with exact search."
        raise InputError(came, "The plot shows approximate points.", "Add an index such as HNSW32.")
    figure, (left, right) = canvas.figure(2, height=4.6)
    colours = dict(zip(dict.fromkeys(point["index"] for point in points), itertools.cycle(COLOURS)))
    depth = overlap(points[0])[0]
    for point in points:
        _queries(left, point["overlap_quality"][measure]["bins"], colours[point["index"]])
    spots = [_spot(point, measure, colours[point["index"]]) for point in points]
    for spot in spots:
        _draw(right, spot)
    for axes in (left, right):
        axes.axhline(0, color=GREY, linewidth=1, linestyle=(0, (4, 4)))
        axes.set_xlabel(f"share of the exact top {depth} that was lost")
    if bound := margin_of(results, points[0], measure):
        right.axhline(-bound, color=_DOWN, linewidth=1, alpha=0.7)
        right.annotate("margin", (1.0, -bound), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                       fontsize=8, color=_DOWN)  # fmt: skip
    left.set_ylabel(f"mean change of {measure}", parse_math=False)
    left.set_title(
        f"{_whose(results, encoder)}queries; the area is their number",
        fontsize=9,
        color=GREY,
        parse_math=False,
    )
    right.set_ylabel(f"Δ {measure}, {percent(results['confidence'])} interval", parse_math=False)
    right.set_title("points", fontsize=9, color=GREY)
    canvas.legend(figure, colours)
    with no_glyph_warnings():
        labels.place(figure, right, spots)
    return figure


def funnel(
    results: Results, key: str | None = None, measure: str | None = None, encoder: str | None = None
) -> Figure:
    """Where a point loses what it loses: each step's change, with its interval, from the step before.

    The point is the one that loses most, unless `key` names another.
    """
    measure, encoder = canvas.measure_of(results, measure), canvas.encoder_of(results, encoder)
    points: dict[str, Results] = {
        point["key"]: point for point in points_of(results, encoder) if point.get("funnel")
    }
    if not points:
        came = "No funnel was measured."
        raise InputError(came, "The plot shows the steps of a point.", "Run with funnel=True or --funnel.")
    chosen = key or min(points, key=lambda name: points[name]["delta"][measure]["mean"])
    if chosen not in points:
        raise unknown("a point with a funnel", chosen, points)
    steps = points[chosen]["funnel"]["steps"]
    figure, (axes,) = canvas.figure(1, height=1.4 + 0.55 * len(steps))
    _waterfall(axes, steps, measure)
    axes.set_xlabel(f"{measure}, with the {percent(results['confidence'])} interval of each change",
                    parse_math=False)  # fmt: skip
    axes.set_title(
        f"{_whose(results, encoder)}{shortened(chosen)}", loc="left", fontsize=10, parse_math=False
    )
    return figure


def _whose(results: Results, encoder: str) -> str:
    """The encoder's name where there are several."""
    return f"{shortened(encoder)}, " if len(results["encoders"]) > 1 else ""


def _waterfall(axes: Axes, steps: list[Results], measure: str) -> None:
    """Bars from the score of the step before to the step's own."""
    level = steps[0]["mean"][measure]
    for row, step in enumerate(steps):
        mean, delta = step["mean"][measure], step["delta"].get(measure)
        if delta is None:
            axes.plot([mean], [row], marker="D", color=_LEVEL, markersize=8)
            told = f"{mean:.4f}"
        else:
            colour = _LEVEL if delta["low"] <= 0 <= delta["high"] else _DOWN if delta["mean"] < 0 else _UP
            axes.barh(row, delta["mean"], left=level, height=0.5, color=colour, alpha=0.8)
            ends = [[delta["mean"] - delta["low"]], [delta["high"] - delta["mean"]]]
            axes.errorbar([mean], [row], xerr=ends, color="#333333", capsize=3, linewidth=1)
            axes.plot([level, level], [row - 1, row], color=GREY, linewidth=0.8)
            told = f"{change(delta['mean'])} {delta['verdict']}"
        axes.annotate(told, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        level = mean
    axes.set_yticks(range(len(steps)), [shortened(step["step"]) for step in steps], parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.08)


def _queries(axes: Axes, bins: list[Results], colour: str) -> None:
    total = sum(each["queries"] for each in bins)
    sizes = [12 + 900 * each["queries"] / total for each in bins]
    axes.scatter([each["lost"] for each in bins], [each["mean"] for each in bins], s=sizes, color=colour,
                 alpha=0.45, linewidths=0.8, edgecolors="white")  # fmt: skip


def _spot(point: Results, measure: str, colour: str) -> labels.Spot:
    delta, kind = point["delta"][measure], family(point["key"])
    ends = min(delta["low"], delta["mean"]), max(delta["high"], delta["mean"])
    return labels.Spot(1 - overlap(point)[1], delta["mean"], *ends, label(point["key"]), kind, colour)


def _draw(axes: Axes, spot: labels.Spot) -> None:
    ends = [[spot.y - spot.low], [spot.high - spot.y]]
    axes.errorbar([spot.x], [spot.y], yerr=ends, color=spot.colour, marker=MARKERS[spot.kind], markersize=7,
                  markeredgecolor="white", elinewidth=1, capsize=2.5)  # fmt: skip
