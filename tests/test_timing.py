"""Timing is tested with a clock that we hold: no test depends on how fast this machine is."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest

from imgbench import timing
from imgbench.errors import InputError


class Clock:
    """A clock that moves only when a call moves it."""

    def __init__(self) -> None:
        self.now = 0
        self.log: list[tuple[str, int]] = []

    def __call__(self) -> int:
        return self.now

    def call(self, name: str, nanoseconds):
        def run(query: int) -> None:
            self.log.append((name, query))
            self.now += nanoseconds(query) if callable(nanoseconds) else nanoseconds

        return run


def timed(clock: Clock, calls, **options):
    settings = {"queries": 7, "calls_each": 100, "calls_at_least": 100, "warmup": 0, "clock": clock} | options
    return timing.latency(calls, **settings)


def test_a_call_of_two_milliseconds_takes_two_milliseconds():
    clock = Clock()
    found = timed(clock, {"slow": clock.call("slow", 2_000_000), "fast": clock.call("fast", 500_000)})
    assert list(found) == ["slow", "fast"]
    assert (found["slow"].p50.value, found["slow"].p99.value) == (2.0, 2.0)
    assert (found["fast"].p50.low, found["fast"].p50.value, found["fast"].p50.high) == (0.5, 0.5, 0.5)
    assert found["fast"].queries == 100
    assert found["fast"].threads == 1


def test_points_are_interleaved_in_small_blocks_so_that_drift_hits_all_alike():
    clock = Clock()
    tick = {"n": 0}

    def drifting(_):
        tick["n"] += 1
        return 1000 * tick["n"]  # each call of anyone is slower than the call before

    calls = {name: clock.call(name, drifting) for name in ("a", "b", "c")}
    found = timed(clock, calls, calls_each=1000)
    medians = [found[name].p50.value for name in calls]
    assert max(medians) / min(medians) < 1.05
    # Timed one after the other, the last would have shown five times the median of the first.
    switches = sum(before[0] != after[0] for before, after in zip(clock.log, clock.log[1:], strict=False))
    assert switches > 90


def test_the_order_of_the_points_is_drawn_anew_each_round_and_seeded():
    def order(seed: int) -> list[str]:
        clock = Clock()
        timed(clock, {name: clock.call(name, 1) for name in "abcd"}, seed=seed)
        return [name for name, _ in clock.log]

    assert order(0) == order(0)
    assert order(0) != order(1)
    firsts = {order(0)[start * 88 : (start + 1) * 88][0] for start in range(5)}
    assert len(firsts) > 1


def test_every_point_answers_the_same_queries_and_covers_them_all():
    clock = Clock()
    seen: dict[str, list[int]] = {"a": [], "b": []}
    timed(clock, {name: (lambda query, name=name: seen[name].append(query)) for name in seen}, queries=50)
    timed_calls = {
        name: [query for at, query in enumerate(queries) if at % 22 >= 2] for name, queries in seen.items()
    }
    assert timed_calls["a"] == timed_calls["b"]
    assert sorted(timed_calls["a"][:50]) == list(range(50))
    assert len(timed_calls["a"]) == 100


def test_warm_up_and_the_first_calls_of_a_block_are_not_timed():
    clock = Clock()
    count = {"n": 0}

    def cold_then_warm(_):
        count["n"] += 1
        return 1_000_000_000 if count["n"] <= 30 + 2 else 1_000_000

    found = timed(clock, {"a": clock.call("a", cold_then_warm)}, warmup=30)
    assert found["a"].p99.value == 1.0
    assert len(clock.log) == 30 + 100 + 5 * 2


@pytest.mark.parametrize(("at_least", "counted"), [(1, 20), (35, 35), (100, 100), (5000, 100)])
def test_a_time_budget_ends_a_slow_point_but_never_below_the_minimum(at_least, counted):
    clock = Clock()
    calls = {"slow": clock.call("slow", 1_000_000_000), "fast": clock.call("fast", 1000)}
    found = timed(clock, calls, seconds_at_most=5.0, calls_at_least=at_least)
    assert found["slow"].queries == counted
    assert found["fast"].queries == 100


def test_garbage_collection_rests_while_the_clock_runs_and_returns():
    states = []
    timing.latency({"a": lambda _: states.append(gc.isenabled())}, queries=3, calls_each=5)
    assert set(states) == {False}
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        timing.latency({"a": lambda _: 1 / 0}, queries=3)
    assert gc.isenabled()


def test_threads_are_held_and_read_back():
    from threadpoolctl import threadpool_info

    np.ones((4, 4)) @ np.ones((4, 4))  # numpy's BLAS pool is loaded
    counts = []
    found = timing.latency(
        {"a": lambda _: counts.append(max(p["num_threads"] for p in threadpool_info()))},
        queries=3,
        calls_each=2,
    )
    assert set(counts) == {1} == {found["a"].threads}


def test_a_search_that_changes_its_threads_is_found_out():
    from threadpoolctl import threadpool_limits

    np.ones((4, 4)) @ np.ones((4, 4))
    found = timing.latency({"a": lambda _: threadpool_limits(limits=3)}, queries=3, calls_each=2)
    assert found["a"].threads == 3
    assert timing.throughput(lambda: threadpool_limits(limits=3), queries=3, threads=1).threads == 3
    assert timing.throughput(lambda: None, queries=3, threads=2).threads == 2


@pytest.mark.parametrize("n", [100, 1000, 1313])
def test_percentiles_are_numpys(n):
    sample = np.random.default_rng(n).gamma(2.0, size=n)
    found = timing.summary(sample)
    assert [found.p50.value, found.p95.value, found.p99.value] == np.percentile(sample, [50, 95, 99]).tolist()
    assert found.p95.low <= found.p95.value <= found.p95.high


def test_the_ranks_of_the_interval_are_those_of_the_tables():
    # n = 1000, p = 0.5: the textbook normal approximation gives ranks 500 +- 1.96 sqrt(250) = 469 and 531.
    found = timing.summary(np.arange(1.0, 1001.0))
    assert (found.p50.low, found.p50.high) == (469.0, 532.0)


def test_too_few_calls_give_no_upper_bound_instead_of_a_wrong_one():
    assert math.isinf(timing.summary(np.arange(300.0)).p99.high)
    assert math.isfinite(timing.summary(np.arange(400.0)).p99.high)
    assert timing.summary(np.arange(300.0)).to_dict()["intervals"]["p99"][1] is None
    assert timing.summary(np.array([3.0])).p50 == timing.Percentile(3.0, 0.0, math.inf)


@pytest.mark.parametrize(("share", "name"), [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")])
def test_intervals_cover_the_true_percentile(share, name):
    rng = np.random.default_rng(5)
    truth = -math.log(1.0 - share)  # quantile of the exponential distribution
    found = [getattr(timing.summary(rng.exponential(size=500)), name) for _ in range(1000)]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert covered >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 1000)
    assert covered <= 0.995  # and it is not wide for nothing


def test_throughput_is_the_median_of_the_repeats_never_the_best():
    clock = Clock()
    durations = iter([9_000_000_000, 1_000_000_000, 4_000_000_000, 2_000_000_000])  # the first warms up

    def batch():
        clock.now += next(durations)

    found = timing.throughput(batch, queries=8, threads=1, repeats=3, clock=clock)
    assert (found.low, found.value, found.high) == (2.0, 4.0, 8.0)
    assert found.to_dict() == {
        "value": 4.0, "batch": 8, "threads": 1, "low": 2.0, "high": 8.0, "repeats": 3,
    }  # fmt: skip


@pytest.mark.parametrize(("warmup", "calls"), [(True, 4), (False, 3)])
def test_throughput_warms_up_once_unless_the_caller_did(warmup, calls):
    made = []
    timing.throughput(lambda: made.append(1), queries=8, threads=1, repeats=3, warmup=warmup)
    assert len(made) == calls


def test_throughput_survives_a_clock_that_stands_still():
    assert math.isfinite(timing.throughput(lambda: None, queries=8, threads=1, clock=lambda: 0).value)


def test_drift_is_the_share_by_which_the_end_was_slower():
    assert timing.drift(2.0, 2.0) == 0.0
    assert timing.drift(2.0, 3.0) == 0.5
    assert timing.drift(2.0, 1.0) == -0.5
    with pytest.raises(InputError, match=r"Times of 0.0 and 1.0\. Drift compares two positive times\."):
        timing.drift(0.0, 1.0)


def test_the_dictionary_has_the_keys_of_results_json():
    found = timing.summary(np.arange(1.0, 1001.0), threads=1).to_dict()
    assert list(found) == ["p50", "p95", "p99", "queries", "threads", "intervals"]
    assert found["intervals"]["p50"] == [469.0, 532.0]


def test_bad_counts_are_refused():
    with pytest.raises(
        InputError, match=r"^queries is 0\. Timing needs at least 1\. Pass queries=1 or more\.$"
    ):
        timing.latency({}, queries=0)
    with pytest.raises(InputError, match=r"^repeats is 0\."):
        timing.throughput(lambda: None, queries=1, threads=1, repeats=0)


def test_progress_goes_to_standard_error(capsys):
    timing.latency({"a": lambda _: None}, queries=3, calls_each=5, progress=True)
    out, err = capsys.readouterr()
    assert not out
    assert "latency" in err
