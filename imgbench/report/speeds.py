"""The tables of times: percentiles with their intervals, threads read back, clients at once, batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imgbench.report import readable
from imgbench.report.grid import Column, Grid
from imgbench.report.results import Results, points_of

_PERCENTILES = ("p50", "p95", "p99")


def grids(results: Results, encoder: str, whose: str) -> Iterator[Grid]:
    """The tables of one encoder's points; `whose` names it where there are several."""
    points = points_of(results, encoder)
    yield _speeds(points, whose)
    yield _clients(points, whose, results["environment"]["cores"])
    yield _batches(points, whose)


def more_than_cores(load: Results, cores: int) -> bool:
    """Whether the clients have more threads together than the machine has cores."""
    return sum(load["threads"]) > cores


def _speeds(points: Sequence[Results], whose: str) -> Grid:
    columns = (
        Column("index", number=False),
        *(Column(f"{name} ms, 95% interval") for name in _PERCENTILES),
        Column("timed calls"),
        Column("threads"),
        Column("queries per s", cost=True),
        Column("slowest to fastest", cost=True),
        Column("repeats", cost=True),
        Column("threads of a batch", cost=True),
        Column("train s", cost=True),
        Column("add s", cost=True),
    )
    rows = tuple((point["key"], *_latency(point["latency_ms"]), *_costs(point)) for point in points)
    return Grid(f"Times{whose}: one query a call, all queries in one batch, and building", columns, rows)


def _latency(latency: Results) -> tuple[str, ...]:
    return (*_percentiles(latency), f"{latency['queries']:,}", str(latency["threads"]))


def _costs(point: Results) -> tuple[str, ...]:
    batch = point["throughput_qps"]
    return (
        readable.short(batch["value"]),
        _range(batch),
        str(batch.get("repeats") or ""),
        str(batch["threads"]),
        readable.short(point.get("train_seconds")),
        readable.short(point.get("add_seconds")),
    )


def _percentiles(latency: Results) -> list[str]:
    intervals = latency.get("intervals") or {}
    return [
        f"{readable.short(latency[name], 4)}{_interval(intervals.get(name) or ())}" for name in _PERCENTILES
    ]


def _interval(ends: Sequence[float | None]) -> str:
    """The two ends; too few calls give no upper one."""
    if not ends:
        return ""
    low, high = (readable.short(end, 4) for end in ends)
    return f" [{low},{high}]" if ends[1] is not None else f" [{low},∞)"


def _range(rate: Results) -> str:
    low, high = rate.get("low"), rate.get("high")
    return "" if low is None or high is None else f"{readable.short(low)} to {readable.short(high)}"


def _clients(points: Sequence[Results], whose: str, cores: int) -> Grid:
    columns = (
        Column("index and clients", number=False),
        Column("threads of each"),
        Column("queries per s"),
        Column("slowest to fastest round"),
        Column("efficiency"),
        *(Column(f"{name} ms, 95% interval", cost=True) for name in _PERCENTILES),
        Column("timed calls", cost=True),
    )
    rows: list[tuple[str, ...]] = []
    beyond = False
    for point in points:
        for at, load in enumerate(point.get("concurrency") or ()):
            over = more_than_cores(load, cores)
            beyond = beyond or over
            who = readable.count(load["clients"], "client") + (" *" if over else "")
            rows.append((f"· {who}" if at else f"{point['key']}, {who}", *_load(load)))
    few = f" (*: more threads than the {readable.count(cores, 'core')})" if beyond else ""
    return Grid(f"Clients at once{whose}{few}", columns, tuple(rows))


def _load(load: Results) -> tuple[str, ...]:
    rate, latency = load["throughput_qps"], load["latency_ms"]
    threads = sorted(set(load["threads"]))
    return (
        " to ".join(str(count) for count in threads[:: max(len(threads) - 1, 1)]),
        readable.short(rate["value"]),
        _range(rate),
        readable.percent(load["efficiency"]),
        *_percentiles(latency),
        f"{latency['queries']:,}",
    )


def _batches(points: Sequence[Results], whose: str) -> Grid:
    timed = [(point["key"], {each["batch"]: each for each in point.get("batches") or ()}) for point in points]
    sizes = sorted({size for _, found in timed for size in found})
    threads = {each["threads"] for _, found in timed for each in found.values()}
    used = f" on {readable.count(max(threads), 'thread')}" if threads else ""
    columns = (Column("index", number=False), *(Column(f"batches of {size:,}") for size in sizes))
    rows = tuple((key, *(_batch(found.get(size)) for size in sizes)) for key, found in timed if found)
    return Grid(f"Queries per second by size of the batch{used}{whose}, and ms of a batch", columns, rows)


def _batch(found: Results | None) -> str:
    if found is None:
        return ""
    return f"{readable.short(found['value'])} ({readable.short(found['ms_per_batch'])} ms)"
