"""What the pictures of a report share: empty axes, and whose figures are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgbench.errors import unknown
from imgbench.report.plots import GREY
from imgbench.report.results import Results, measures, primary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
