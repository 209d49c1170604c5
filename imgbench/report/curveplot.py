"""The distractor curve as a picture: exact search in smaller and in larger corpora."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from imgbench.errors import InputError, unknown
from imgbench.report import canvas
from imgbench.report.plots import COLOURS, GREY, shortened
from imgbench.report.readable import percent
from imgbench.report.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curve(results: Results, measure: str | None = None) -> Figure:
    """A measure of exact search by corpus size, a line an encoder: dashed where it is extrapolated."""
    measure = canvas.measure_of(results, measure)
    curves: dict[str, Results] = results.get("distractor_curves") or {}
    if not curves:
        came = "No distractor curve was measured."
        raise InputError(came, "The plot shows corpus sizes.", "Run with curve=True or --curve.")
    known = next(iter(curves.values()))["quality"]
    if measure not in known:
        raise unknown("a measure of the distractor curve", measure, known)
    figure, (axes,) = canvas.figure(1, height=4.6)
    for (name, found), colour in zip(curves.items(), itertools.cycle(COLOURS)):
        _line(axes, name, found, measure, colour)
    _dress(axes, results, measure)
    return figure


def _line(axes: Axes, name: str, found: Results, measure: str, colour: str) -> None:
    sizes, quality = found["sizes"], found["quality"][measure]
    last = max(at for at, size in enumerate(sizes) if size <= found["images"])
    axes.fill_between(sizes, quality["low"], quality["high"], color=colour, alpha=0.15, linewidth=0)
    axes.plot(sizes[: last + 1], quality["mean"][: last + 1], color=colour, linewidth=2)
    axes.plot(sizes[last:], quality["mean"][last:], color=colour, linewidth=2, linestyle=(0, (3, 2)))
    axes.plot([sizes[last]], [quality["mean"][last]], marker="o", color=colour, markersize=7)
    axes.annotate(
        shortened(name), (sizes[last], quality["mean"][last]), xytext=(6, 6), textcoords="offset points",
        color=colour, fontsize=9, parse_math=False,
    )  # fmt: skip


def _dress(axes: Axes, results: Results, measure: str) -> None:
    canvas.logarithmic(axes, "x")
    axes.set_xlabel("images in the corpus (log scale); dashed: extrapolated")
    sure = percent(results["confidence"])
    axes.set_ylabel(f"expected {measure} of exact search, {sure} interval", parse_math=False)
    axes.set_title("the dot is the corpus as it is", loc="right", fontsize=9, color=GREY)
