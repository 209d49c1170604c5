"""Batches of several sizes: what a query costs when it comes with others."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from imgbench import stopwatch
from imgbench.environment import Pools
from imgbench.loads.rounds import ROUNDS, SECONDS, in_rounds
from imgbench.timing import Clock, Throughput, no_garbage_collection, read_back

Call = Callable[[int, int], object]


@dataclass(frozen=True)
class Batches:
    """Queries per second in batches of one size, and what a batch takes."""

    throughput: Throughput

    @property
    def ms_per_batch(self) -> float:
        """Milliseconds of one batch, at the median of the repeats."""
        return 1000.0 * self.throughput.batch / self.throughput.value

    def to_dict(self) -> dict[str, float | int]:
        """An entry of `points[].batches` of results.json."""
        return self.throughput.to_dict() | {"ms_per_batch": self.ms_per_batch}


def batches(
    calls: Mapping[str, Call],
    *,
    queries: int,
    sizes: Sequence[int],
    threads: int,
    whole: Mapping[str, Throughput] | None = None,
    seconds: float = SECONDS,
    seed: int = 0,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, list[Batches]]:
    """Each named call with each size of batches, on `threads` threads: the median of up to five rounds.

    A call gets the number of the first query of a batch and the number of queries in it. Each setting takes
    about `seconds`, or the time of one batch where that is more. A round begins with an untimed batch, unless
    that outlasts the time of its setting: then it is the only one and counts. `whole` has the throughputs of
    all queries in one batch where they were measured already. Garbage collection is off.

    >>> search = {"nothing": lambda first, count: None}
    >>> found = batches(search, queries=9, sizes=[1, 9], threads=1, seconds=0.01)
    >>> [each.throughput.batch for each in found["nothing"]]
    [1, 9]
    """
    known = {(name, each.batch): each for name, each in (whole or {}).items() if each.batch in sizes}
    settings = [each for each in itertools.product(calls, sizes) if each not in known]
    rates: dict[tuple[str, int], list[float]] = {setting: [] for setting in settings}
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(queries) for _ in range(ROUNDS)]

    def measure(setting: tuple[str, int], number: int, nanoseconds: float) -> None:
        name, size = setting
        order = orders[number]
        firsts = size * order[order < queries // size]  # whole batches, for every point in the same order
        timed = functools.partial(_timed, calls[name], size, clock)
        rates[setting].append(_rate(timed, size, firsts, budget=(nanoseconds, 1e9 * seconds)))

    pools = Pools()
    with pools.hold(threads) as before, no_garbage_collection():
        in_rounds(settings, measure, seconds=seconds, rng=rng, clock=clock)
        after = pools.granted()
    used = read_back(threads, before, after)
    for name, size in settings:
        each = rates[name, size]
        known[name, size] = Throughput(float(np.median(each)), size, used, min(each), max(each), len(each))
    return {name: [Batches(known[name, size]) for size in sizes] for name in calls}


def _rate(
    timed: Callable[[int], int],
    size: int,
    firsts: Int64[np.ndarray, "batch"],
    *,
    budget: tuple[float, float],
) -> float:
    """Queries per second of batches in turn; `budget` has the nanoseconds of the round and of the setting."""
    warm = timed(int(firsts[0]))
    if warm >= budget[1]:
        return 1e9 * size / warm
    spent, made = 0, 0
    for first in itertools.cycle(firsts.tolist()):
        spent += timed(first)
        made += size
        if spent >= budget[0]:
            break
    return 1e9 * made / max(spent, 1)


def _timed(call: Call, size: int, clock: Clock, first: int) -> int:
    start = clock()
    call(first, size)
    spent = clock() - start
    stopwatch.faiss_took(spent / 1e9)
    return spent
