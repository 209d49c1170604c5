"""Labels beside points, so that none covers another label or a point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

# Where a label may stand, best first: distances from the point in typographic points.
_DISTANCES = (9.0, 18.0, 30.0, 44.0, 60.0)
_SIDES = (
    ("left", 1, 1),
    ("right", -1, 1),
    ("left", 1, -1),
    ("right", -1, -1),
    ("left", 1, 0),
    ("right", -1, 0),
    ("center", 0, 1),
    ("center", 0, -1),
)
_AROUND = 6.0  # pixels that a marker needs for itself
_STEP = 4.0  # pixels between two boxes along a line


@dataclass(frozen=True)
class Spot:
    """A point of the plot: its place, the ends of its interval, its label and its looks."""

    x: float
    y: float
    low: float
    high: float
    label: str
    kind: str
    colour: str


def place(figure: Figure, axes: Axes, spots: list[Spot]) -> None:
    """Each label at the first free place around its point: free of markers, bars, lines and other labels."""
    figure.draw_without_rendering()  # the layout and all sizes are known only now
    taken = [box for spot in spots for box in (_marker(axes, spot), _bar(axes, spot))]
    taken += [box for line in axes.get_lines() for box in _line(line)]
    for spot in sorted(spots, key=lambda spot: (spot.x, spot.y)):
        taken.append(_place(axes, spot, taken))


def _place(axes: Axes, spot: Spot, taken: list[Bbox]) -> Bbox:
    """The box of the label, at the first place where it covers nothing or else where it covers least."""
    best, least, kept = (_SIDES[0], _DISTANCES[0]), math.inf, None
    for distance, side in product(_DISTANCES, _SIDES):
        text = _write(axes, spot, side, distance)
        box = text.get_window_extent()
        text.remove()
        covered = _covered(box, taken) + 10.0 * _outside(box, axes.bbox)
        if covered < least:
            best, least, kept = (side, distance), covered, box
        if covered == 0.0:
            break
    _write(axes, spot, *best, leader=best[1] > _DISTANCES[0])
    return kept or axes.bbox


def _write(
    axes: Axes, spot: Spot, side: tuple[str, float, float], distance: float, *, leader: bool = False
) -> Annotation:
    align, across, up = side
    thin = {
        "arrowstyle": "-",
        "color": spot.colour,
        "alpha": 0.5,
        "linewidth": 0.6,
        "shrinkA": 0,
        "shrinkB": 4,
    }
    return axes.annotate(
        spot.label,
        (spot.x, spot.y),
        xytext=(across * distance, up * distance),
        textcoords="offset points",
        ha=align,
        va="center",
        fontsize=8.5,
        color=spot.colour,
        parse_math=False,
        arrowprops=thin if leader else None,  # which point a label belongs to that found no room beside it
    )


def _marker(axes: Axes, spot: Spot) -> Bbox:
    from matplotlib.transforms import Bbox

    x, y = axes.transData.transform((spot.x, spot.y))
    return Bbox.from_extents(x - _AROUND, y - _AROUND, x + _AROUND, y + _AROUND)


def _bar(axes: Axes, spot: Spot) -> Bbox:
    from matplotlib.transforms import Bbox

    x, low = axes.transData.transform((spot.x, spot.low))
    _, high = axes.transData.transform((spot.x, spot.high))
    return Bbox.from_extents(x - 1.0, low, x + 1.0, high)


def _line(line: Line2D) -> list[Bbox]:
    """A drawn line as small boxes along it."""
    from matplotlib.transforms import Bbox

    corners = line.get_transform().transform(np.asarray(line.get_xydata(), np.float64))
    found: list[Bbox] = []
    for (x0, y0), (x1, y1) in pairwise(corners.tolist()):
        steps = max(int(max(abs(x1 - x0), abs(y1 - y0)) / _STEP), 1)
        for at in np.linspace(0.0, 1.0, steps + 1).tolist():
            x, y = x0 + at * (x1 - x0), y0 + at * (y1 - y0)
            found.append(Bbox.from_extents(x - _STEP / 2, y - 1.0, x + _STEP / 2, y + 1.0))
    return found


def _covered(box: Bbox, taken: list[Bbox]) -> float:
    """Pixels of the box that others have."""
    return sum(_shared(box, other) for other in taken)


def _shared(box: Bbox, other: Bbox) -> float:
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    return max(width, 0.0) * max(height, 0.0)


def _outside(box: Bbox, axes: Bbox) -> float:
    """Pixels of the box that lie outside the axes."""
    return box.width * box.height - _shared(box, axes)
