"""The tables behind the verdicts: parts of the queries, builds, steps, lost overlap; and those of times."""

from __future__ import annotations

from collections.abc import Iterator

from imgbench.report import readable, speeds
from imgbench.report.grid import Column, Grid
from imgbench.report.results import Results, overlap, points_of, primary


def grids(results: Results) -> tuple[Grid, ...]:
    """Every table of details that the results have figures for, for the first measure."""
    several = len(results["encoders"]) > 1
    found: list[Grid] = []
    for encoder in results["encoders"]:
        name = encoder["name"]
        whose = f" of {name}" if several else ""
        found += [*_strata(results, name, whose), *_builds(results, name, whose)]
        found += [*_funnels(results, name, whose), *_overlaps(results, name, whose)]
        found += [*_curve(results, name, whose), *speeds.grids(results, name, whose)]
    return tuple(grid for grid in found if grid.rows)


def _strata(results: Results, encoder: str, whose: str) -> Iterator[Grid]:
    measure = primary(results)
    found = [part for part in results.get("strata") or () if part["measure"] == measure]
    for strata in dict.fromkeys(part["strata"] for part in found):
        parts = [part for part in found if part["strata"] == strata]
        columns = [Column("index", number=False)]
        columns += [Column(f"{part['label']} ({part['clusters']:,} clusters)") for part in parts]
        cells = [{each["key"]: _cell(each) for each in part["points"] if each["encoder"] == encoder}
                 for part in parts]  # fmt: skip
        keys = [point["key"] for point in points_of(results, encoder) if point["delta"]]
        rows = tuple((key, *(part.get(key, "too few clusters") for part in cells)) for key in keys)
        yield Grid(f"Δ {measure} by {strata}{whose}", tuple(columns), rows)


def _builds(results: Results, encoder: str, whose: str) -> Iterator[Grid]:
    measure, sure = primary(results), readable.percent(results["confidence"])
    columns = (
        Column("index", number=False),
        Column(f"Δ {measure} of each build"),
        Column("spread of builds"),
        Column(f"{sure} interval, new queries"),
        Column(f"{sure} interval, new queries and a new build"),
        Column("verdict", number=False),
    )
    rows: list[tuple[str, ...]] = []
    for point in points_of(results, encoder):
        delta = point["delta"].get(measure, {})
        if built := delta.get("builds"):
            means = " ".join(readable.change(mean) for mean in built["means"])
            alone = readable.interval(built["queries"]["low"], built["queries"]["high"])
            both = readable.interval(delta["low"], delta["high"])
            rows.append((point["key"], means, readable.score(built["spread"]), alone, both, delta["verdict"]))
    yield Grid(f"Builds{whose}: what another training and order of insertion change", columns, tuple(rows))


def _funnels(results: Results, encoder: str, whose: str) -> Iterator[Grid]:
    measure, sure = primary(results), readable.percent(results["confidence"])
    columns = (
        Column("index", number=False),
        Column("step", number=False),
        Column(measure),
        Column("Δ from the step before"),
        Column(f"{sure} interval"),
        Column("verdict", number=False),
    )
    rows: list[tuple[str, ...]] = []
    for point in points_of(results, encoder):
        for at, step in enumerate((point.get("funnel") or {}).get("steps", ())):
            key = "" if at else point["key"]
            delta = step["delta"].get(measure)
            compared = ("", "", "") if delta is None else _compared(delta)
            rows.append((key, step["step"], readable.score(step["mean"][measure]), *compared))
    built = any(point.get("builds") for point in points_of(results, encoder))
    which = " (the first build; intervals cover new queries)" if built else ""
    yield Grid(f"Where the loss arises{whose}{which}", columns, tuple(rows))


def _overlaps(results: Results, encoder: str, whose: str) -> Iterator[Grid]:
    measure = primary(results)
    points = [point for point in points_of(results, encoder) if point.get("overlap_quality")]
    depth = overlap(points[0])[0] if points else 10
    columns = (
        Column("index", number=False),
        Column(f"overlap@{depth}"),
        Column(f"Δ {measure}"),
        Column("queries that lost images"),
        Column(f"of these unharmed in {measure}"),
        Column("correlation (Pearson)"),
        Column("correlation of ranks (Spearman)"),
    )
    rows: list[tuple[str, ...]] = []
    for point in points:
        found = point["overlap_quality"][measure]
        queries = sum(each["queries"] for each in found["bins"])
        lost = sum(each["queries"] for each in found["bins"] if each["lost"] > 0)
        rows.append(
            (
                point["key"],
                readable.score(overlap(point)[1], 3),
                readable.change(point["delta"][measure]["mean"]),
                readable.percent(lost / max(queries, 1)),
                "" if found["unharmed"] is None else readable.percent(found["unharmed"]),
                *("" if found[name] is None else f"{found[name]:.2f}" for name in ("pearson", "spearman")),
            )
        )
    yield Grid(f"Overlap against quality{whose}", columns, tuple(rows))


def _curve(results: Results, encoder: str, whose: str) -> Iterator[Grid]:
    """Exact search at a few corpus sizes; beyond the corpus extrapolated."""
    found = (results.get("distractor_curves") or {}).get(encoder)
    if found is None:
        return
    sure = readable.percent(results["confidence"])
    columns = [Column("images"), *(Column(f"{name}, {sure} interval") for name in found["quality"])]
    rows: list[tuple[str, ...]] = []
    own = found["sizes"].index(found["images"])
    chosen = sorted({*range(0, own, 4), *range(own, len(found["sizes"]))})
    for at in chosen:
        size = found["sizes"][at]
        beyond = _reach(found, size)
        cells = (
            f"{readable.score(each['mean'][at])} [{readable.score(each['low'][at])},"
            f"{readable.score(each['high'][at])}]"
            for each in found["quality"].values()
        )
        rows.append((f"{size:,}{beyond}", *cells))
    yield Grid(f"Exact search by corpus size{whose}", tuple(columns), tuple(rows))


def _reach(curve: Results, size: int) -> str:
    """What a size rests on, in words."""
    if size <= curve["images"]:
        return " (this corpus)" if size == curve["images"] else ""
    checked = (curve.get("extrapolation") or {}).get("checked_to", curve["images"])
    return " (extrapolated)" if size <= checked else " (extrapolated, not checked)"


def _cell(delta: Results) -> str:
    return " ".join(_compared(delta))


def _compared(delta: Results) -> tuple[str, str, str]:
    return (
        readable.change(delta["mean"]),
        readable.interval(delta["low"], delta["high"]),
        delta["verdict"],
    )
