"""Several clients at once: how many queries a second they get together, and how long each waits.

The clients are Python threads in a closed loop: each sends one query a call, and the next when the last came
back. FAISS lets go of the interpreter while it searches, so that clients compete for it only between two
searches, for some microseconds. That part is measured with the rest: a Python server pays it too.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int64

from imgbench import stopwatch
from imgbench.environment import Pools
from imgbench.loads.rounds import ROUNDS, SECONDS, in_rounds
from imgbench.timing import Clock, Latency, no_garbage_collection, read_back, summary

# The first calls find the caches full of another index, and OpenMP starts the threads of a client.
_SETTLE = 2

Call = Callable[[int], object]


@dataclass(frozen=True)
class Clients:
    """What so many clients got: queries a second in all, the latency of each call, threads of each client.

    `qps` is the median of the rounds, `low` the slowest and `high` the fastest. `efficiency` is `qps` over
    what as many times one client alone would be: 1 where clients do not hinder each other.
    """

    clients: int
    threads: tuple[int, ...]
    qps: float
    low: float
    high: float
    rounds: int
    latency: Latency
    efficiency: float

    def to_dict(self) -> dict[str, Any]:
        """An entry of `points[].concurrency` of results.json."""
        return {
            "clients": self.clients,
            "threads": list(self.threads),
            "throughput_qps": {"value": self.qps, "low": self.low, "high": self.high, "rounds": self.rounds},
            "latency_ms": self.latency.to_dict(),
            "efficiency": self.efficiency,
        }


def concurrency(
    calls: Mapping[str, Call],
    *,
    queries: int,
    clients: Sequence[int],
    threads: int = 1,
    seconds: float = SECONDS,
    seed: int = 0,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, list[Clients]]:
    """Each named call by 1 client and by each number of `clients`, each of which works on `threads` threads.

    A call gets the number of a query, from 0 to `queries` - 1, and has to be safe in several threads. Each
    setting takes about `seconds` in five rounds, or the time of three calls of each client where that is
    more. In a round all clients warm up, start together, and search until the time of the round is over:
    their queries per second are all calls over the time from the common start to the end of the last call.
    Garbage collection is off. An exception in a client ends all and is raised.

    >>> found = concurrency({"nothing": lambda query: None}, queries=9, clients=[2], seconds=0.01)
    >>> [(each.clients, each.threads) for each in found["nothing"]]
    [(1, (1,)), (2, (1, 1))]
    """
    settings = list(itertools.product(calls, sorted({1, *clients})))
    found: dict[tuple[str, int], list[_Round]] = {setting: [] for setting in settings}
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(queries) for _ in range(ROUNDS)]

    pools = Pools()

    def measure(setting: tuple[str, int], number: int, nanoseconds: float) -> None:
        name, count = setting
        one = _Round(count, threads, pools, nanoseconds, clock)
        one.run(calls[name], orders[number])
        stopwatch.faiss_took(one.milliseconds.sum() / 1e3 / count)  # clients search at the same time
        found[setting].append(one)

    # This hold is around those of the clients: BLAS has one number for all of them.
    with pools.hold(threads), no_garbage_collection():
        in_rounds(settings, measure, seconds=seconds, rng=rng, clock=clock)
    return {name: _of_point([found[setting] for setting in settings if setting[0] == name]) for name in calls}


def _of_point(settings: Sequence[Sequence[_Round]]) -> list[Clients]:
    """What the clients of one point got, from one client on."""
    alone = float(np.median([each.qps for each in settings[0]]))
    return [_of_setting(rounds, alone) for rounds in settings]


def _of_setting(rounds: Sequence[_Round], alone: float) -> Clients:
    rates = [each.qps for each in rounds]
    qps, clients = float(np.median(rates)), len(rounds[0].clients)
    threads = rounds[-1].threads
    milliseconds = np.concatenate([each.milliseconds for each in rounds])
    latency = summary(milliseconds, threads=functools.reduce(rounds[-1].read_back, threads))
    share = qps / (clients * alone)
    return Clients(clients, threads, qps, min(rates), max(rates), len(rounds), latency, share)


@dataclass(eq=False)
class _Client:
    """What one client measured: how long each call took, and when the last one ended, in nanoseconds."""

    spent: list[int] = field(default_factory=list[int])
    end: int = 0
    threads: int = 0


class _Round:
    """Some clients that work at once for a while."""

    def __init__(self, clients: int, threads: int, pools: Pools, nanoseconds: float, clock: Clock) -> None:
        self.clients = [_Client() for _ in range(clients)]
        self._threads, self._pools = threads, pools
        self._nanoseconds, self._clock = nanoseconds, clock
        self._together = threading.Barrier(clients, action=self._start)
        self._from = 0
        self._stopped = False

    def run(self, call: Call, order: Int64[np.ndarray, "query"]) -> None:
        """Let all clients work, each from another place of the order on; what ends one of them ends all."""
        firsts = [at * len(order) // len(self.clients) for at in range(len(self.clients))]
        orders = [np.roll(order, -first).tolist() for first in firsts]
        with ThreadPoolExecutor(len(self.clients)) as workers:
            try:
                working = [
                    workers.submit(self._work, client, call, queries)
                    for client, queries in zip(self.clients, orders, strict=True)
                ]
                for each in working:
                    each.result()
            except BaseException:  # of a client, or Ctrl-C
                self._stop()
                raise

    @property
    def threads(self) -> tuple[int, ...]:
        """The threads of each client, read back in it."""
        return tuple(client.threads for client in self.clients)

    @property
    def qps(self) -> float:
        """Queries per second of all clients together."""
        calls = sum(len(client.spent) for client in self.clients)
        return 1e9 * calls / max(max(client.end for client in self.clients) - self._from, 1)

    @property
    def milliseconds(self) -> np.ndarray:
        """The latencies of all calls."""
        return np.concatenate([client.spent for client in self.clients]) / 1e6

    def read_back(self, before: int, after: int) -> int:
        """Of two readings the one that is not what was asked."""
        return read_back(self._threads, before, after)

    def _work(self, client: _Client, call: Call, queries: list[int]) -> None:
        try:
            with self._pools.hold(self._threads) as before:
                turns = itertools.cycle(queries)
                for query in itertools.islice(turns, _SETTLE):
                    call(query)
                if self._all_ready():
                    self._search(client, call, turns)
                client.threads = self.read_back(before, self._pools.granted())
        except BaseException:
            self._stop()
            raise

    def _search(self, client: _Client, call: Call, queries: Iterable[int]) -> None:
        clock, until = self._clock, self._from + self._nanoseconds
        for query in queries:
            start = clock()
            call(query)
            client.end = clock()
            client.spent.append(client.end - start)
            if client.end >= until or self._stopped:
                return

    def _all_ready(self) -> bool:
        try:
            self._together.wait()
        except threading.BrokenBarrierError:  # somebody failed, and says so
            return False
        return True

    def _start(self) -> None:
        self._from = self._clock()

    def _stop(self) -> None:
        self._stopped = True
        self._together.abort()
