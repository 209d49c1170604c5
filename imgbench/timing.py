"""Latency and throughput of any callables, timed so that a slow minute of the machine hits all of them alike.

It knows nothing of search: a call gets the number of a query and does its work on the CPU or waits for the
GPU itself before it returns (FAISS does: results come back in main memory).

Reading the clock costs 0.06 us a call, and cutting one query out of an array 0.14 us (AMD EPYC): 2 % of the
shortest searches, of 8 us. They are not subtracted.
"""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from imgbench import stopwatch
from imgbench.environment import Pools
from imgbench.errors import InputError

DRIFT_LIMIT = 0.10
"""A baseline that moved by more than this share between start and end makes the speeds hard to compare."""

CALLS = 1000
"""Timed calls a point: below about 370, the 95 % interval of p99 has no upper end at all."""

# After a change of point the first calls find the caches full of another index. With 20 timed calls a block
# they would be 5 % of all, and p95 and p99 would measure the interleaving. So each block starts untimed.
_BLOCK = 20
_SETTLE = 2

Clock = Callable[[], int]


@dataclass(frozen=True)
class Percentile:
    """A percentile in milliseconds with its interval; `high` is infinite where too few calls were timed."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> list[float | None]:
        """[low, high] in milliseconds as JSON can hold it: null for a bound that the data do not give."""
        return [self.low, self.high if math.isfinite(self.high) else None]


@dataclass(frozen=True)
class Latency:
    """One query a call: percentiles in milliseconds over `queries` timed calls on `threads` threads."""

    p50: Percentile
    p95: Percentile
    p99: Percentile
    queries: int
    threads: int

    def to_dict(self) -> dict[str, object]:
        """`latency_ms` of results.json, plus `intervals`: percentile -> [low, high] in milliseconds."""
        named = {"p50": self.p50, "p95": self.p95, "p99": self.p99}
        return {
            **{name: percentile.value for name, percentile in named.items()},
            "queries": self.queries,
            "threads": self.threads,
            "intervals": {name: percentile.interval for name, percentile in named.items()},
        }


@dataclass(frozen=True)
class Throughput:
    """Queries per second of one batch: the median of `repeats`, the slowest (`low`) and the fastest."""

    value: float
    batch: int
    threads: int
    low: float
    high: float
    repeats: int

    def to_dict(self) -> dict[str, float | int]:
        """`throughput_qps` of results.json, plus the repeats, the slowest (`low`) and the fastest one."""
        return {
            "value": self.value,
            "batch": self.batch,
            "threads": self.threads,
            "low": self.low,
            "high": self.high,
            "repeats": self.repeats,
        }


def latency(
    calls: Mapping[str, Callable[[int], object]],
    *,
    queries: int,
    calls_each: int = CALLS,
    calls_at_least: int = CALLS,
    seconds_at_most: float | None = None,
    warmup: int = 50,
    threads: int = 1,
    seed: int = 0,
    clock: Clock = time.perf_counter_ns,
    progress: bool = False,
) -> dict[str, Latency]:
    """The latency of each named call, in milliseconds, in the order of `calls`.

    Every point answers the same queries in the same seeded order. Blocks of 20 calls of the points are
    interleaved, their order drawn anew each round; two untimed calls open each block. Garbage collection is
    off while the clock runs. `seconds_at_most` of timed work a point ends its turn early, but never below
    `calls_at_least` timed calls (or `calls_each`, if smaller); the result says how many there were.

    >>> found = latency({"nothing": lambda query: None}, queries=5, calls_each=40)
    >>> found["nothing"].queries, found["nothing"].threads
    (40, 1)
    """
    for name, count in {
        "queries": queries,
        "calls_each": calls_each,
        "calls_at_least": calls_at_least,
    }.items():
        _positive(name, count)
    turns = _Turns(min(calls_at_least, calls_each), calls_each, seconds_at_most, seed, queries)
    pools = Pools()
    with (
        pools.hold(threads) as before,
        no_garbage_collection(),
        _bar(progress, len(calls), calls_each) as tick,
    ):
        for call in calls.values():
            _warm(call, turns.queries(warmup))
        spent = _interleaved(calls, turns, clock, tick)
        after = pools.granted()
    used = read_back(threads, before, after)
    return {name: summary(np.asarray(spent[name], np.int64) / 1e6, threads=used) for name in calls}


def summary(
    milliseconds: Float64[np.ndarray, "call"], *, threads: int = 1, confidence: float = 0.95
) -> Latency:
    """The percentiles of timed calls in milliseconds: numpy's linear rule, with order-statistic intervals.

    >>> summary(np.arange(1.0, 1002.0)).p95
    Percentile(value=951.0, low=937.0, high=965.0)
    """
    ordered = np.sort(milliseconds)
    p50, p95, p99 = (_percentile(ordered, share, confidence) for share in (0.50, 0.95, 0.99))
    return Latency(p50, p95, p99, queries=len(ordered), threads=threads)


def throughput(
    call: Callable[[], object],
    *,
    queries: int,
    threads: int,
    repeats: int = 5,
    warmup: bool = True,
    clock: Clock = time.perf_counter_ns,
) -> Throughput:
    """Queries per second of `call`, which answers all `queries` in one batch: the median of the repeats.

    One untimed call comes first, unless the caller made it (`warmup=False`). `low` and `high` are the slowest
    and the fastest repeat.

    >>> throughput(lambda: sum(range(1000)), queries=10, threads=1, repeats=3).batch
    10
    """
    _positive("queries", queries)
    _positive("repeats", repeats)
    pools = Pools()
    with pools.hold(threads) as before, no_garbage_collection():
        if warmup:
            with stopwatch.faiss():
                call()
        spent = [_timed(call, clock) for _ in range(repeats)]
        after = pools.granted()
    stopwatch.faiss_took(sum(spent) / 1e9)
    seconds = np.maximum(np.asarray(spent, np.float64), 1.0) / 1e9  # a clock may stand still: at least 1 ns
    rates = queries / seconds
    middle = float(queries / np.median(seconds))
    used = read_back(threads, before, after)
    return Throughput(middle, queries, used, float(rates.min()), float(rates.max()), repeats)


def drift(first: float, last: float) -> float:
    """How much slower the same work was at the end than at the start, as a share: 0.1 is 10 % slower.

    >>> round(drift(2.0, 2.3), 6)
    0.15
    """
    if not (first > 0 and last > 0):
        raise InputError(
            f"Times of {first} and {last}.", "Drift compares two positive times.", "Time both runs."
        )
    return last / first - 1.0


def read_back(asked: int, before: int, after: int) -> int:
    """The threads that a timed region ran on, read on both sides of it: a reading that is not what was asked
    counts more than one that is.

    >>> read_back(2, 2, 2), read_back(2, 2, 1), read_back(2, 1, 2)
    (2, 1, 1)
    """
    return before if before != asked else after


@contextlib.contextmanager
def no_garbage_collection() -> Generator[None]:
    """Garbage is collected now, and not again before the end; where that is so already, nothing happens."""
    was_on = gc.isenabled()
    if was_on:
        gc.collect()  # 0.3 s with torch loaded (measured)
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Turns:
    """Which query comes next, and who still has calls to make."""

    def __init__(self, fewest: int, most: int, seconds: float | None, seed: int, queries: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.fewest, self.most = fewest, most
        self.nanoseconds = math.inf if seconds is None else seconds * 1e9
        self.count = queries
        # One order for all points: each answers the same queries, so that their percentiles compare.
        rounds = -(-most // queries)
        self.order = np.concatenate([self.rng.permutation(queries) for _ in range(rounds)])[:most]

    def queries(self, count: int) -> Int64[np.ndarray, "call"]:
        """Queries for calls that are not timed."""
        return self.rng.integers(self.count, size=count)

    def left(self, spent: Sequence[int]) -> int:
        """Timed calls that a point may still make."""
        goal = self.most if sum(spent) < self.nanoseconds else self.fewest
        return max(0, goal - len(spent))


def _interleaved(
    calls: Mapping[str, Callable[[int], object]], turns: _Turns, clock: Clock, tick: Callable[[int], object]
) -> dict[str, list[int]]:
    spent: dict[str, list[int]] = {name: [] for name in calls}
    waiting = list(calls)
    while waiting:
        for at in turns.rng.permutation(len(waiting)):
            name = waiting[at]
            tick(_block(calls[name], spent[name], turns, clock))
        waiting = [name for name in waiting if turns.left(spent[name])]
    stopwatch.faiss_took(sum(map(sum, spent.values())) / 1e9)
    return spent


def _block(call: Callable[[int], object], spent: list[int], turns: _Turns, clock: Clock) -> int:
    _warm(call, turns.queries(_SETTLE))
    done = len(spent)
    for query in turns.order[done : done + min(_BLOCK, turns.left(spent))].tolist():
        start = clock()
        call(query)
        spent.append(clock() - start)
    return len(spent) - done


def _warm(call: Callable[[int], object], queries: Int64[np.ndarray, "call"]) -> None:
    with stopwatch.faiss():
        for query in queries.tolist():
            call(query)


def _timed(call: Callable[[], object], clock: Clock) -> int:
    start = clock()
    call()
    return clock() - start


def _percentile(ordered: Float64[np.ndarray, "call"], share: float, confidence: float) -> Percentile:
    # Distribution-free interval of a quantile from two order statistics: the number of calls below it is
    # binomial(n, share). Conover, Practical Nonparametric Statistics, 3rd ed. (1999), section 3.2; Hahn and
    # Meeker, Statistical Intervals (1991), section 5.2. Where the upper rank is n + 1 there is no bound.
    from scipy.special import bdtr

    n, tail = len(ordered), (1.0 - confidence) / 2.0
    below = bdtr(np.arange(n + 1), n, share)
    lower, upper = (int(np.searchsorted(below, level)) for level in (tail, 1.0 - tail))
    upper += 1
    value = float(np.percentile(ordered, 100.0 * share))
    low = float(ordered[lower - 1]) if lower >= 1 else 0.0
    high = float(ordered[upper - 1]) if upper <= n else math.inf
    return Percentile(value, min(low, value), max(high, value))


@contextlib.contextmanager
def _bar(wanted: bool, points: int, calls_each: int) -> Generator[Callable[[int], object]]:  # noqa: FBT001
    if not wanted:
        yield lambda _: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=points * calls_each, desc="latency", unit="call", leave=False) as bar:
        yield bar.update


def _positive(name: str, count: int) -> None:
    if count < 1:
        raise InputError(f"{name} is {count}.", "Timing needs at least 1.", f"Pass {name}=1 or more.")
