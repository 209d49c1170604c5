"""Operating points of one vector space: built, searched, and timed side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from imgbench import environment, stopwatch, timing
from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.index import Index, IndexSpec
from imgbench.index.kept import Shelf
from imgbench.index.spec import Number
from imgbench.progress import Say
from imgbench.run import Run

_DRIFT_CALLS = 50  # their median is steady to a few per cent; over 68,154 x 1024 a call takes 11 ms
_MOST_THREADS = 1024  # OpenMP ends the process where the system refuses it a thread


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How speeds are measured: single queries on one thread for latency, all queries at once for throughput.

    Every point makes `latency_calls` timed calls, however slow it is.
    A batch is repeated `throughput_repeats` times, or as often as fits into `throughput_seconds`, but once.
    The first is timed too: a median of three forgives a cold one, and the search for the run came before.
    `threads` (all cores, unless told) build the indexes and answer the batches.
    """

    latency_calls: int = timing.CALLS
    throughput_repeats: int = 3
    throughput_seconds: float = 2.0
    threads: int = field(default_factory=environment.cores)

    def __post_init__(self) -> None:
        for name in ("latency_calls", "throughput_repeats", "threads"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                came = f"{name} is {value!r}."
                raise InputError(came, "Timing needs at least 1.", "Leave it out for the default.")
        if self.threads > _MOST_THREADS:
            wanted = f"This process may use {environment.cores()} cores."
            raise InputError(f"threads is {self.threads}.", wanted, "Leave it out to use all of them.")


@dataclass(frozen=True)
class Point:
    """One operating point: an index, its search parameters, what it found and how fast.

    `again` holds what the further builds of the index found: other seeds, other orders of insertion. `cached`
    says that the index was read from the cache, so that its build times are those of an earlier run.
    """

    key: str
    params: dict[str, Number]
    index: Index
    run: Run
    distances: float | None
    latency: timing.Latency
    throughput: timing.Throughput
    again: tuple[Run, ...] = ()
    cached: bool = False


@dataclass(frozen=True)
class Points:
    """All points of one vector space, exact search first, by how much exact search slowed down meanwhile,
    and the threads that were read back around building.
    """

    points: tuple[Point, ...]
    drift: float
    build_threads: int


@dataclass(frozen=True)
class _Searched:
    key: str
    params: dict[str, Number]
    index: Index
    run: Run
    seconds: float
    distances: float | None
    cached: bool


def measure(
    specs: Sequence[IndexSpec],
    images: Embeddings,
    queries: Embeddings,
    *,
    k: int,
    seed: int = 0,
    builds: int = 1,
    protocol: Protocol,
    cache: str | Path | None = None,
    say: Say = lambda _: None,
    exact: Callable[[Run], object] = lambda _: None,
) -> Points:
    """Every operating point of `specs`, whose first is exact search, to depth `k`.

    An index is built once however many specifications name it, or read from the folder `cache`. All indexes
    stay in memory until the end, so that their latencies are timed interleaved. With `builds` above 1 every
    approximate index is built that often, from the seeds seed + 1, seed + 2, ... and images in another order
    each; only the first is timed. `say` hears what is being done, `exact` gets the run of exact search before
    any index is built.
    """
    rows = queries.float32()
    with environment.threads(protocol.threads) as build_threads:
        searched = _search_all(
            specs, Shelf(images, cache), queries, k=k, seed=seed, protocol=protocol, say=say, exact=exact
        )
    points, drift = _timed(searched, rows, k=k, seed=seed, protocol=protocol, say=say)
    del searched
    if builds > 1:
        with environment.threads(protocol.threads):
            seeds = range(seed + 1, seed + builds)
            again = _again(
                specs[1:], images, queries, k=k, seeds=seeds, protocol=protocol, cache=cache, say=say
            )
        points = tuple(replace(point, again=tuple(again.get(point.key, ()))) for point in points)
    return Points(points, drift, build_threads)


def _timed(
    searched: Sequence[_Searched],
    rows: Float32[np.ndarray, "query dim"],
    *,
    k: int,
    seed: int,
    protocol: Protocol,
    say: Say,
) -> tuple[tuple[Point, ...], float]:
    """The points with their speeds, and the drift of exact search from before the first to after the last."""
    calls = {point.key: _single(point, rows, k) for point in searched}
    baseline = calls[searched[0].key]
    with timing.no_garbage_collection():
        say("timing exact search, first time")
        first = _median_ms(baseline, len(rows), protocol, seed)
        say(f"latency of {len(searched)} points, interleaved")
        with stopwatch.stage("latency"):  # no rate: calls that are not timed stand among the others
            latencies = timing.latency(calls, queries=len(rows), calls_each=protocol.latency_calls, seed=seed)
        with stopwatch.stage("throughput", unit="queries") as stage:
            throughputs = _throughputs(searched, rows, k=k, seed=seed, protocol=protocol, say=say)
            stage.items += sum(each.repeats * each.batch for each in throughputs.values())
        say("timing exact search, last time")
        drift = timing.drift(first, _median_ms(baseline, len(rows), protocol, seed))
    return tuple(_point(each, latencies[each.key], throughputs[each.key]) for each in searched), drift


def _search_all(
    specs: Sequence[IndexSpec],
    shelf: Shelf,
    queries: Embeddings,
    *,
    k: int,
    seed: int,
    protocol: Protocol,
    say: Say,
    exact: Callable[[Run], object],
) -> list[_Searched]:
    built: dict[str, tuple[Index, bool]] = {}
    searched: list[_Searched] = []
    for spec in specs:
        if spec.name not in built:
            say(f"building {spec.name}")
            with stopwatch.stage(f"build {spec.name}", unit="images") as stage:
                built[spec.name] = _, cached = shelf.index(spec, seed=seed, threads=protocol.threads)
                stage.items += 0 if cached else len(shelf.images)
        for params in spec.grid:
            say(f"searching {spec.key(params)}")
            searched.append(_search(built[spec.name], spec.key(params), params, queries, k))
            if len(searched) == 1:
                exact(searched[0].run)
    return searched


def _again(
    specs: Sequence[IndexSpec],
    images: Embeddings,
    queries: Embeddings,
    *,
    k: int,
    seeds: range,
    protocol: Protocol,
    cache: str | Path | None,
    say: Say,
) -> dict[str, list[Run]]:
    """What further builds of the indexes find, by point; one index is in memory at a time."""
    grids: dict[str, list[tuple[str, dict[str, Number]]]] = {}
    for spec in specs:
        grids.setdefault(spec.name, []).extend((spec.key(params), params) for params in spec.grid)
    found: dict[str, list[Run]] = {}
    for number, seed in enumerate(seeds, start=2):
        # A graph depends on the order in which it grew, a k-means on its sample: both follow the seed.
        shelf = Shelf(images.select(np.random.default_rng(seed).permutation(len(images))), cache)
        for name, grid in grids.items():
            say(f"building {name}, build {number} of {len(seeds) + 1}")
            with stopwatch.stage(f"build {name}", unit="images") as stage:
                index, cached = shelf.index(IndexSpec.parse(name), seed=seed, threads=protocol.threads)
                stage.items += 0 if cached else len(images)
            for key, params in grid:
                with stopwatch.stage(f"search {key}", unit="queries") as stage:
                    found.setdefault(key, []).append(index.search(queries, k, **params))
                    stage.items += len(queries)
    return found


def _search(
    built: tuple[Index, bool], key: str, params: dict[str, Number], queries: Embeddings, k: int
) -> _Searched:
    index, cached = built
    with stopwatch.stage(f"search {key}", unit="queries") as stage:
        start = time.perf_counter()
        run = index.search(queries, k, **params)
        seconds = time.perf_counter() - start
        stage.items += len(queries)
    with stopwatch.stage("count distances"):
        distances = index.distance_computations(queries, k, **params)
    return _Searched(key, params, index, run, seconds, distances, cached)


def _single(point: _Searched, rows: Float32[np.ndarray, "query dim"], k: int) -> Callable[[int], object]:
    search = point.index.searcher(k, **point.params)
    return lambda query: search(rows[query : query + 1])


def _median_ms(call: Callable[[int], object], queries: int, protocol: Protocol, seed: int) -> float:
    calls = max(1, min(_DRIFT_CALLS, protocol.latency_calls))
    with stopwatch.stage("drift of exact search"):
        found = timing.latency(
            {"exact": call}, queries=queries, calls_each=calls, calls_at_least=calls, warmup=10, seed=seed
        )
    return found["exact"].p50.value


def _throughputs(
    searched: Sequence[_Searched],
    rows: Float32[np.ndarray, "query dim"],
    *,
    k: int,
    seed: int,
    protocol: Protocol,
    say: Say,
) -> dict[str, timing.Throughput]:
    found: dict[str, timing.Throughput] = {}
    for place in np.random.default_rng(seed).permutation(len(searched)).tolist():
        point = searched[place]
        say(f"throughput of {point.key}")
        search = point.index.searcher(k, **point.params)
        fitting = int(protocol.throughput_seconds / max(point.seconds, 1e-9))
        found[point.key] = timing.throughput(
            lambda search=search: search(rows),
            queries=len(rows),
            threads=protocol.threads,
            repeats=max(1, min(protocol.throughput_repeats, fitting)),
            warmup=False,
        )
    return found


def _point(point: _Searched, latency: timing.Latency, throughput: timing.Throughput) -> Point:
    return Point(
        point.key, point.params, point.index, point.run, point.distances, latency, throughput,
        cached=point.cached,
    )  # fmt: skip
