"""What a report says, apart from the form in which it is read: headline, tables, notes."""

from __future__ import annotations

from dataclasses import dataclass

from imgbench.report import headline, readable
from imgbench.report.grid import Column, Grid
from imgbench.report.results import Results, exact_of, measures, overlap, points_of, primary
from imgbench.timing import DRIFT_LIMIT

_PAIR = 2
_ENOUGH_CALLS = 1000
_LIBRARIES = ("imgbench", "faiss-gpu", "faiss-cpu", "torch", "numpy", "ir-measures")


@dataclass(frozen=True)
class Content:
    """Plain texts, not yet escaped for any form."""

    title: str
    headline: tuple[str, ...]
    grids: tuple[Grid, ...]
    notes: tuple[str, ...]


def content(results: Results) -> Content:
    """The whole report in words and cells."""
    several = len(results["encoders"]) > 1
    study = _study(results) if several else []
    points = [_points(results, encoder) for encoder in results["encoders"]]
    title = f"{results['corpus']['name']}: what approximate search costs"
    return Content(title, headline.sentences(results), tuple(study + points), _notes(results))


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


def _notes(results: Results) -> tuple[str, ...]:
    return (
        _corpus(results["corpus"]),
        *(results["corpus"].get("notices") or ()),
        _reading(results),
        *_timing(results),
        _machine(results["environment"]),
        _versions(results["environment"]),
    )


def _corpus(corpus: Results) -> str:
    queries = readable.count(corpus["queries"], "query", "queries")
    rule = f" {corpus['cluster_rule']}" if corpus.get("cluster_rule") else ""
    return (
        f"Corpus {corpus['name']}: {readable.count(corpus['images'], 'image')}, {queries}, of which "
        f"{corpus['judged_queries']:,} judged, in {readable.count(corpus['clusters'], 'cluster')}; "
        f"{readable.count(corpus['missing_images'], 'relevant image')} missing.{rule}"
    )


def _reading(results: Results) -> str:
    sure = readable.percent(results["confidence"])
    return (
        f"Δ: paired difference from exact search ({results['baseline']}), with a {sure} interval over query "
        "clusters that holds for all points together. R@k is recall against judgements, overlap@k is "
        "agreement with exact search."
    )


def _timing(results: Results) -> list[str]:
    points = results["points"]
    if not points:
        return []
    fewest = min(point["latency_ms"]["queries"] for point in points)
    one = readable.count(points[0]["latency_ms"]["threads"], "thread")
    batch = points[0]["throughput_qps"]
    told = (
        f"Latency: one query a call on {one}, at least {fewest:,} timed calls a point. Throughput: batches "
        f"of {batch['batch']:,} on {readable.count(batch['threads'], 'thread')}, {_repeats(points)}."
    )
    few = [f"Warning: {fewest:,} timed calls are too few for a good p99."] if fewest < _ENOUGH_CALLS else []
    return [told, *few, *_drifts(results)]


def _repeats(points: list[Results]) -> str:
    """How often the batches were repeated: slow ones are repeated less."""
    counts = [point["throughput_qps"].get("repeats") for point in points]
    known = sorted({count for count in counts if count})
    if not known:
        return "median"
    return f"median of {known[0]}" + (f" to {known[-1]}" if len(known) > 1 else "")


def _drifts(results: Results) -> list[str]:
    drifts: dict[str, float] = results.get("baseline_drift") or {}
    several = len(drifts) > 1
    return [_drift(share, f" of {name}" if several else "") for name, share in drifts.items()]


def _drift(share: float, whose: str) -> str:
    moved = (
        f"exact search{whose} was {abs(100 * share):.0f}% {'slower' if share > 0 else 'faster'} at the end"
    )
    if abs(share) > DRIFT_LIMIT:
        return f"Warning: {moved} than at the start: the machine changed, so compare the speeds with care."
    return f"Drift: {moved} than at the start."


def _machine(environment: Results) -> str:
    threads = ", ".join(f"{name} {count}" for name, count in environment["threads"].items())
    parts = [
        f"{environment['cpu']}, {readable.count(environment['cores'], 'core')}",
        f"GPU {environment['gpu']}" if environment.get("gpu") else "no GPU",
        f"threads: {threads}" if threads else "",
        f"seed {environment['seed']}" if environment.get("seed") is not None else "",
    ]
    return "Machine: " + "; ".join(part for part in parts if part) + "."


def _versions(environment: Results) -> str:
    packages = environment["packages"]
    named = [f"{name} {packages[name]}" for name in _LIBRARIES if name in packages]
    git = f"; git {environment['git'][:12]}" if environment.get("git") else ""
    return f"Versions: Python {environment['python']}, {', '.join(named)}{git}."
