"""What a report says, apart from the form in which it is read: headline, tables, notes."""

from __future__ import annotations

from dataclasses import dataclass

from imgbench.report import details, headline, notes, readable
from imgbench.report.grid import Column, Grid
from imgbench.report.results import Results, exact_of, measures, overlap, points_of, primary

_PAIR = 2


@dataclass(frozen=True)
class Content:
    """Plain texts, not yet escaped for any form. `details` are the tables behind the verdicts."""

    title: str
    headline: tuple[str, ...]
    grids: tuple[Grid, ...]
    notes: tuple[str, ...]
    details: tuple[Grid, ...] = ()


def content(results: Results) -> Content:
    """The whole report in words and cells."""
    several = len(results["encoders"]) > 1
    study = _study(results) if several else []
    points = [_points(results, encoder) for encoder in results["encoders"]]
    title = f"{results['corpus']['name']}: what approximate search costs"
    return Content(
        title,
        headline.sentences(results),
        tuple(study + points),
        notes.sentences(results),
        details.grids(results),
    )


def _points(results: Results, encoder: Results) -> Grid:
    """One row an index point: quality, difference from exact search, speed, size."""
    points = points_of(results, encoder["name"])
    exact = frozenset(at for at, point in enumerate(points) if point["key"] == results["baseline"])
    rows = tuple(_cells(results, point) for point in points)
    return Grid(_encoder(encoder), _columns(results), rows, strong=exact)


def _columns(results: Results) -> tuple[Column, ...]:
    measure, sure = primary(results), readable.percent(results["confidence"])
    depths = {overlap(point)[0] for point in results["points"]}
    k = max(depths, default=10)
    return (
        Column("index", number=False),
        *(Column(name, name.replace("@", "\n@")) for name in measures(results)),
        Column(f"Δ {measure}", "Δ " + measure.replace("@", "\n@")),
        Column(f"{sure} interval", f"{sure}\ninterval"),
        Column("verdict", number=False),
        Column(f"overlap@{k}", f"over\n@{k}"),
        Column("p50 ms", "p50\nms", cost=True),
        Column("p95 ms", "p95\nms", cost=True),
        Column("queries per s", "qps", cost=True),
        Column("build s", "build\ns", cost=True),
        Column("bytes per image", "B/\nimage", cost=True),
        Column("distances per query", "dist\n/qry", cost=True),
    )


def _cells(results: Results, point: Results) -> tuple[str, ...]:
    first = primary(results)
    quality = (
        readable.score(found["mean"], 4 if name == first else 3) for name, found in point["quality"].items()
    )
    build = (point.get("train_seconds"), point.get("add_seconds"))
    latency = point["latency_ms"]
    costs = (
        latency["p50"],
        latency["p95"],
        point["throughput_qps"]["value"],
        None if build == (None, None) else sum(each or 0.0 for each in build),
        point.get("bytes_per_image"),
        point.get("distance_computations_per_query"),
    )
    overlapping = readable.score(overlap(point)[1], 3)
    return (point["key"], *quality, *_compared(results, point), overlapping, *map(readable.short, costs))


def _compared(results: Results, point: Results) -> tuple[str, str, str]:
    delta = point["delta"].get(primary(results))
    if delta is None:
        return "", "", "exact" if point["key"] == results["baseline"] else "not compared"
    return (
        readable.change(delta["mean"]),
        readable.interval(delta["low"], delta["high"]),
        delta["verdict"],
    )


def _study(results: Results) -> list[Grid]:
    """The study's own form: measures as rows, encoders as columns, by exact search."""
    names = [encoder["name"] for encoder in results["encoders"]]
    exact = {name: exact_of(results, name) for name in names}
    pair = results["encoder_differences"] if len(names) == _PAIR else []
    differing = {found["measure"]: found for found in pair}
    sure = readable.percent(results["confidence"])
    title = "Exact search, encoders side by side"
    columns = [Column("measure", number=False), *(Column(name) for name in names)]
    if pair:
        columns += [Column("difference (first - second)", "first -\nsecond"), Column(f"{sure} interval")]
    rows = [
        (measure, *(_exact_score(exact[name], measure) for name in names), *_difference(differing, measure))
        for measure in measures(results)
    ]
    grid = Grid(title, tuple(columns), tuple(row[: len(columns)] for row in rows))
    return (
        [grid] if len(names) == _PAIR or not results["encoder_differences"] else [grid, _pairs(results, sure)]
    )


def _pairs(results: Results, sure: str) -> Grid:
    columns = (
        Column("first", number=False),
        Column("second", number=False),
        Column("measure", number=False),
        Column("first - second"),
        Column(f"{sure} interval"),
    )
    rows = tuple(
        (found["a"], found["b"], found["measure"], *_difference({found["measure"]: found}, found["measure"]))
        for found in results["encoder_differences"]
    )
    return Grid("Paired differences between encoders", columns, rows)


def _difference(differing: dict[str, Results], measure: str) -> tuple[str, str]:
    found = differing.get(measure)
    if found is None:
        return "", ""
    return readable.change(found["mean"]), readable.interval(found["low"], found["high"])


def _exact_score(point: Results | None, measure: str) -> str:
    return "" if point is None else readable.score(point["quality"][measure]["mean"])


def _encoder(encoder: Results) -> str:
    rate = encoder.get("images_per_second")
    facts = [f"{encoder['dim']} dimensions"]
    facts += [encoder["precision"]] if encoder.get("precision") else []
    facts += [f"{readable.short(rate)} images/s"] if rate else []
    return f"{encoder['name']} ({', '.join(facts)})"
