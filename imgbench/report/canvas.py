"""What the pictures of a report share: empty axes, and whose figures are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgbench.errors import unknown
from imgbench.report.plots import GREY, shortened
from imgbench.report.readable import tick
from imgbench.report.results import Results, measures, primary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


def figure(columns: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """An empty figure with axes side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(9.0, height), layout="constrained")
    FigureCanvasAgg(made)
    found = [made.add_subplot(1, columns, place + 1) for place in range(columns)]
    for axes in found:
        axes.grid(visible=True, color=GREY, alpha=0.2, linewidth=0.7)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return made, found


def logarithmic(axes: Axes, which: str) -> None:
    """The axis 'x' or 'y' of positive quantities: a logarithm, with ticks at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_minor_formatter(NullFormatter())


def legend(figure: Figure, colours: dict[str, str]) -> None:
    """The colours of names below the axes; names are text, whatever signs they hold."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, marker="o", linestyle="") for colour in colours.values()]
    made = figure.legend(handles, ["x"] * len(handles), loc="outside lower center", ncols=3, frameon=False,
                         fontsize=9)  # fmt: skip
    for text, name in zip(made.get_texts(), colours, strict=True):
        text.set_parse_math(False)
        text.set_text(shortened(name))


def measure_of(results: Results, measure: str | None) -> str:
    """The measure to draw: the first, unless told otherwise; InputError for one that the report lacks."""
    if measure is not None and measure not in measures(results):
        raise unknown("a measure of this report", measure, measures(results))
    return measure or primary(results)


def encoder_of(results: Results, encoder: str | None) -> str:
    """The encoder to draw: the first, unless told otherwise; InputError for one that the report lacks."""
    names = [each["name"] for each in results["encoders"]]
    if encoder is not None and encoder not in names:
        raise unknown("an encoder of this report", encoder, names)
    return encoder or names[0]
