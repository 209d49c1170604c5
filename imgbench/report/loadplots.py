"""Pictures of loads: clients at once, and sizes of batches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgbench.errors import InputError
from imgbench.report import canvas, labels
from imgbench.report.plots import COLOURS, GREY, label, no_glyph_warnings, shortened
from imgbench.report.readable import count
from imgbench.report.results import Results, points_of
from imgbench.report.speeds import more_than_cores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INSIDE = 12  # points: a marker that holds the number of clients


def concurrency(results: Results, encoder: str | None = None) -> Figure:
    """Queries per second of all clients against the 95th percentile of their latency, a line a point."""
    encoder = canvas.encoder_of(results, encoder)
    found = [point for point in points_of(results, encoder) if point.get("concurrency")]
    points = [point for point in found if all(min(_spot(load)) > 0 for load in point["concurrency"])]
    if not points:
        came = "No clients at once were timed."
        raise InputError(
            came, "The plot shows points under load.", "Run with clients=(1, 2, 4) or --clients."
        )
    figure, (axes,) = canvas.figure(1, height=5.4)
    colours, cores = _colours(points), results["environment"]["cores"]
    for point in points:
        _clients(axes, point["concurrency"], colours[point["index"]], cores)
    for which in ("x", "y"):
        canvas.logarithmic(axes, which)
    axes.set_xlabel("95th percentile of latency, ms (log scale)")
    axes.set_ylabel("queries per second of all clients (log scale)")
    hollow = f"hollow: more threads than the {count(cores, 'core')}"
    _title(axes, results, encoder, f"number: clients; {hollow}; better: up and to the left")
    _name(figure, axes, [(point, *_spot(point["concurrency"][-1])) for point in points])
    return figure


def batches(results: Results, encoder: str | None = None) -> Figure:
    """Queries per second against the size of the batch, a line a point; bars: slowest and fastest round."""
    encoder = canvas.encoder_of(results, encoder)
    found = [point for point in points_of(results, encoder) if point.get("batches")]
    points = [
        point for point in found if all(min(each["batch"], each["value"]) > 0 for each in point["batches"])
    ]
    if not points:
        came = "No sizes of batches were timed."
        raise InputError(came, "The plot shows sizes.", "Run with batches=(1, 32, 512) or --batches.")
    figure, (axes,) = canvas.figure(1, height=5.0)
    colours = _colours(points)
    for point in points:
        _batches(axes, point["batches"], colours[point["index"]])
    canvas.logarithmic(axes, "y")
    axes.set_xscale("log")
    sizes = sorted({each["batch"] for point in points for each in point["batches"]})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("queries in a batch (log scale)")
    axes.set_ylabel("queries per second (log scale)")
    threads = max(each["threads"] for point in points for each in point["batches"])
    _title(axes, results, encoder, f"on {count(threads, 'thread')}; bars: slowest and fastest round")
    _name(figure, axes, [
        (point, point["batches"][-1]["batch"], point["batches"][-1]["value"]) for point in points
    ])  # fmt: skip
    return figure


def _spot(load: Results) -> tuple[float, float]:
    """Where a load stands: ms, and queries per second."""
    return load["latency_ms"]["p95"], load["throughput_qps"]["value"]


def _colours(points: Sequence[Results]) -> dict[str, str]:
    return dict(zip(dict.fromkeys(point["index"] for point in points), itertools.cycle(COLOURS)))


def _clients(axes: Axes, loads: Sequence[Results], colour: str, cores: int) -> None:
    x, y = zip(*map(_spot, loads), strict=True)
    axes.plot(x, y, color=colour, linewidth=1.5, alpha=0.6, zorder=2)
    for load, across, up in zip(loads, x, y, strict=True):
        hollow = more_than_cores(load, cores)
        axes.plot([across], [up], marker="o", color=colour, markersize=_INSIDE, zorder=3,
                  markerfacecolor="white" if hollow else colour)  # fmt: skip
        axes.annotate(f"{load['clients']}", (across, up), ha="center", va="center", fontsize=7, zorder=4,
                      color=colour if hollow else "white")  # fmt: skip


def _batches(axes: Axes, sizes: Sequence[Results], colour: str) -> None:
    x, y = [each["batch"] for each in sizes], [each["value"] for each in sizes]
    low = [each["value"] - min(each.get("low") or each["value"], each["value"]) for each in sizes]
    high = [max(each.get("high") or 0.0, each["value"]) - each["value"] for each in sizes]
    axes.errorbar(x, y, yerr=[low, high], color=colour, marker="o", markersize=6, markeredgecolor="white",
                  linewidth=1.5, elinewidth=1, capsize=2.5)  # fmt: skip


def _title(axes: Axes, results: Results, encoder: str, told: str) -> None:
    whose = f"{shortened(encoder)}; " if len(results["encoders"]) > 1 else ""
    axes.set_title(f"{whose}{told}", loc="right", fontsize=9, color=GREY, parse_math=False)


def _name(figure: Figure, axes: Axes, ends: Sequence[tuple[Results, float, float]]) -> None:
    """The parameters of each point beside the end of its line, and the colours of the indexes below."""
    colours = _colours([point for point, _, _ in ends])
    axes.margins(x=0.14, y=0.1)
    canvas.legend(figure, colours)
    spots = [
        labels.Spot(x, y, y, y, label(point["key"]), "", colours[point["index"]]) for point, x, y in ends
    ]
    with no_glyph_warnings():
        labels.place(figure, axes, spots)
