"""The trade in one picture: quality with its interval against what a query costs.

Only matplotlib's objects are used, never pyplot: no window, no global state, safe in a server.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import warnings
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgbench.errors import InputError, unknown
from imgbench.report import labels
from imgbench.report.plain import shown
from imgbench.report.readable import percent, tick
from imgbench.report.results import Results, exact_of, measures, points_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with every common colour blindness: https://jfly.uni-koeln.de/color/
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = {
    "exact": "*",
    "IVF": "o",
    "HNSW": "s",
    "NSG": "P",
    "PQ": "^",
    "SQ": "v",
    "RaBitQ": "X",
    "other": "D",
}
GREY = "#777777"
_NAME_LENGTH = 44


@dataclass(frozen=True)
class Cost:
    """What stands on the horizontal axis, and whether more of it is better."""

    label: str
    value: Callable[[Results], float | None]
    more_is_better: bool = False


COSTS = {
    "qps": Cost("queries per second, one batch (log scale)", lambda p: p["throughput_qps"]["value"], True),
    "p50": Cost("median latency of one query, ms (log scale)", lambda p: p["latency_ms"]["p50"]),
    "p95": Cost("95th percentile of latency, ms (log scale)", lambda p: p["latency_ms"]["p95"]),
    "bytes": Cost("index bytes per image (log scale)", lambda p: p.get("bytes_per_image")),
    "distances": Cost(
        "distance computations per query (log scale)", lambda p: p.get("distance_computations_per_query")
    ),
}


def pareto(results: Results, measure: str = "nDCG@10", cost: str = "qps") -> Figure:
    """The measure of each point against its cost; the line joins the points that no other point beats."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if measure not in measures(results):
        raise unknown("a measure of this report", measure, measures(results))
    if cost not in COSTS:
        raise unknown("a cost", cost, COSTS)
    figure = Figure(figsize=(9.0, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = [encoder["name"] for encoder in results["encoders"]]
    colours = dict(zip(names, itertools.cycle(COLOURS), strict=False))
    drawn = [_encoder(axes, results, name, colours[name], (measure, cost)) for name in names]
    if not any(drawn):
        came = f"No point has a figure for the cost {cost!r}."
        raise InputError(came, "A plot needs at least one point.", f"Choose one of {', '.join(COSTS)}.")
    _dress(axes, results, measure, cost)
    _legend(figure, results, [spot for spots in drawn for spot in spots])
    with no_glyph_warnings():
        labels.place(figure, axes, [spot for spots in drawn for spot in spots])
    return figure


def svg(figure: Figure) -> str:
    """The picture as SVG; the same figure gives the same bytes."""
    import matplotlib as mpl

    text = io.StringIO()
    # 'none' keeps text as text: it can be searched, read aloud and needs no glyph outlines.
    plain: dict[Any, Any] = {"svg.hashsalt": "imgbench", "svg.fonttype": "none"}
    with mpl.rc_context(plain), no_glyph_warnings():
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", metadata=nothing, transparent=True)
    return text.getvalue()


def inline(text: str) -> str:
    """The SVG without its file head, to stand inside a page."""
    return re.sub(r"^.*?(?=<svg)", "", text, count=1, flags=re.DOTALL)


def family(key: str) -> str:
    """The index family of a point, which chooses its marker.

    >>> [family(key) for key in ("IVF256,PQ16?nprobe=4", "OPQ16,HNSW32", "gpu:Flat", "PCA64,SQ8", "LSH")]
    ['IVF', 'HNSW', 'exact', 'SQ', 'other']
    """
    factory = key.removeprefix("gpu:").partition("?")[0]
    if factory == "Flat":
        return "exact"
    found = re.search(r"IVF|IMI|HNSW|NSG|RaBitQ|SQ|(?<!O)PQ", factory)
    return {"IMI": "IVF"}.get(found[0], found[0]) if found else "other"


def front(spots: Iterable[labels.Spot], *, more_is_better: bool) -> list[labels.Spot]:
    """The points that no other point beats in both quality and cost, from cheap to dear."""
    ordered = sorted(spots, key=lambda spot: (-spot.x if more_is_better else spot.x, -spot.y))
    kept: list[labels.Spot] = []
    for spot in ordered:
        if not kept or spot.y > kept[-1].y:
            kept.append(spot)
    return kept


def _encoder(
    axes: Axes, results: Results, name: str, colour: str, what: tuple[str, str]
) -> list[labels.Spot]:
    """The points of one encoder, its front, and its exact search as a line across."""
    measure, cost = what
    spots = [_spot(results, point, measure, COSTS[cost], colour) for point in points_of(results, name)]
    known = [spot for spot in spots if spot is not None]
    exact = exact_of(results, name)
    if exact is not None:
        axes.axhline(
            exact["quality"][measure]["mean"], color=colour, linewidth=1, linestyle=(0, (4, 4)), alpha=0.6
        )
    best = front(known, more_is_better=COSTS[cost].more_is_better)
    axes.plot([s.x for s in best], [s.y for s in best], color=colour, linewidth=1.6, alpha=0.55, zorder=2)
    for spot in known:
        _draw(axes, spot)
    return known


def _spot(results: Results, point: Results, measure: str, cost: Cost, colour: str) -> labels.Spot | None:
    x = cost.value(point)
    if x is None or x <= 0:  # a logarithm has no place for it
        return None
    quality = point["quality"][measure]
    kind = "exact" if point["key"] == results["baseline"] else family(point["key"])
    ends = (min(quality["low"], quality["mean"]), max(quality["high"], quality["mean"]))
    return labels.Spot(float(x), float(quality["mean"]), *ends, label(point["key"]), kind, colour)


def _draw(axes: Axes, spot: labels.Spot) -> None:
    axes.errorbar(
        [spot.x],
        [spot.y],
        yerr=[[spot.y - spot.low], [spot.high - spot.y]],
        color=spot.colour,
        marker=MARKERS[spot.kind],
        markersize=13 if spot.kind == "exact" else 7,
        markeredgecolor="white",
        markeredgewidth=0.8,
        elinewidth=1,
        capsize=2.5,
        zorder=3,
    )


def _dress(axes: Axes, results: Results, measure: str, cost: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.margins(x=0.14, y=0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(COSTS[cost].label)
    axes.set_ylabel(f"{measure} with {percent(results['confidence'])} interval", parse_math=False)
    axes.grid(visible=True, which="major", color=GREY, alpha=0.2, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    better = "right" if COSTS[cost].more_is_better else "left"
    axes.set_title(f"better: up and to the {better}", loc="right", fontsize=9, color=GREY)


def _legend(figure: Figure, results: Results, spots: list[labels.Spot]) -> None:
    from matplotlib.lines import Line2D

    several = len(results["encoders"]) > 1
    names = [encoder["name"] for encoder in results["encoders"]] if several else []
    kinds = [kind for kind in MARKERS if any(spot.kind == kind for spot in spots)]
    handles: list[Any] = [
        Line2D([], [], color=COLOURS[at % len(COLOURS)], linewidth=3) for at in range(len(names))
    ]
    colour = GREY if several else COLOURS[0]
    handles += [
        Line2D([], [], color=colour, marker=MARKERS[kind], linestyle="", markersize=8) for kind in kinds
    ]
    handles.append(Line2D([], [], color=colour, linewidth=1.6, alpha=0.55))
    handles.append(Line2D([], [], color=colour, linewidth=1, linestyle=(0, (4, 4))))
    words = [*(shortened(name) for name in names), *(_kind(kind, results) for kind in kinds)]
    words += ["not beaten by another point", "quality of exact search"]
    columns = 3 if several else len(handles)
    legend = figure.legend(handles, [str(at) for at in range(len(handles))], loc="outside lower center",
                           ncols=columns, frameon=False, fontsize=9)  # fmt: skip
    # Names are set afterwards: matplotlib hides labels that begin with '_' and reads '$' as mathematics.
    for text, word in zip(legend.get_texts(), words, strict=True):
        text.set_parse_math(False)
        text.set_text(word)


def _kind(kind: str, results: Results) -> str:
    return f"{shown(results['baseline'])} (exact)" if kind == "exact" else kind


def label(key: str) -> str:
    """The parameters of a point; its factory string where it has none."""
    factory, _, parameters = key.partition("?")
    return shortened(parameters.replace("&", ", ") or factory)


def shortened(name: str) -> str:
    text = shown(name)
    return text if len(text) <= _NAME_LENGTH else text[: _NAME_LENGTH - 1] + "…"


@contextlib.contextmanager
def no_glyph_warnings() -> Generator[None]:
    """A name in a script that the font lacks is drawn as boxes in PNG; in SVG the reader's font has it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*[Gg]lyph.*", category=UserWarning)
        yield
