"""Loads are tested with clocks and barriers that we hold: no test depends on how fast this machine is."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import threading

import numpy as np
import pytest

from imgbench import Embeddings, InputError
from imgbench.environment import Pools
from imgbench.index import Index
from imgbench.loads import Batches, Loads, batches, concurrency
from imgbench.timing import Throughput

MILLISECOND = 1_000_000


class Clock:
    """A clock that every reading and every call move on, whichever thread they are in."""

    def __init__(self, step: int = 0) -> None:
        self._now, self._step, self._lock = 0, step, threading.Lock()

    def __call__(self) -> int:
        return self.spend(self._step)

    def spend(self, nanoseconds: int) -> int:
        with self._lock:
            self._now += nanoseconds
            return self._now


def loaded(call, clients, **options):
    settings = {"queries": 9, "clients": clients, "seconds": 0.05} | options
    return concurrency({"one": call}, **settings)["one"]


class TestClients:
    def test_all_clients_are_in_the_call_at_the_same_time(self):
        before, together, own = threading.active_count(), threading.Barrier(4), threading.local()

        def call(_):
            own.calls = getattr(own, "calls", 0) + 1
            # After two calls to warm up comes the first timed one. If the clients made them one after the
            # other, the barrier would break.
            if own.calls == 3 and threading.active_count() - before == 4:
                together.wait(timeout=60)

        found = loaded(call, [4])
        assert [each.clients for each in found] == [1, 4]
        assert not together.broken

    def test_one_client_of_two_milliseconds_a_call_gets_500_queries_a_second(self):
        clock = Clock()
        (found,) = loaded(lambda _: clock.spend(2 * MILLISECOND), [1], clock=clock, seconds=0.5)
        assert (found.qps, found.low, found.high, found.efficiency) == (500.0, 500.0, 500.0, 1.0)
        assert (found.latency.p50.value, found.latency.p99.value) == (2.0, 2.0)
        assert found.rounds == 5
        assert found.latency.queries == 5 * 50

    def test_clients_that_wait_for_one_another_get_no_more_than_one_alone(self):
        clock, one_at_a_time = Clock(), threading.Lock()

        def call(_):
            with one_at_a_time:
                clock.spend(MILLISECOND)

        alone, four = loaded(call, [4], clock=clock)
        assert (alone.qps, four.qps) == (1000.0, 1000.0)
        assert (alone.efficiency, four.efficiency) == (1.0, 0.25)

    def test_clients_that_do_not_hinder_each_other_have_an_efficiency_of_one(self):
        own = threading.local()  # each client has a clock of its own, as if there were a core for each

        def now():
            return getattr(own, "now", 0)

        def call(_):
            own.now = now() + MILLISECOND

        alone, four = loaded(call, [4], clock=now)
        assert four.qps == 4 * alone.qps
        assert (alone.efficiency, four.efficiency) == (1.0, 1.0)
        assert four.latency.p50.value == 1.0

    def test_every_query_is_answered_and_by_all_clients_from_different_places_on(self):
        seen, lock = [], threading.Lock()
        clock = Clock()

        def call(query):
            with lock:
                seen.append((threading.get_ident(), query))
            clock.spend(MILLISECOND)

        loaded(call, [3], clock=clock, queries=7)
        assert {query for _, query in seen} == set(range(7))
        assert len({name for name, _ in seen}) > 1

    def test_settings_of_all_points_are_interleaved_in_a_seeded_order(self):
        def order(seed):
            clock, log = Clock(), []

            def call(name):
                def run(_):
                    log.append((name, threading.active_count()))
                    clock.spend(10 * MILLISECOND)

                return run

            concurrency({name: call(name) for name in "abcd"}, queries=3, clients=[], seconds=0.2, seed=seed,
                        clock=clock)  # fmt: skip
            return [name for name, _ in itertools.groupby(name for name, _ in log)]

        assert order(0) == order(0)
        assert order(0) != order(1)
        rounds = order(0)
        assert len(rounds) > 3 * 4  # one after the other they would be four
        assert all(rounds.count(name) >= 3 for name in "abcd")

    def test_threads_are_set_and_read_back_inside_each_client(self):
        _ = np.ones((4, 4)) @ np.ones((4, 4))  # a BLAS pool is loaded
        pools, inside = Pools(), set()
        with pools.hold(3):
            found = loaded(lambda _: inside.add(pools.granted()), [2], threads=2)
            assert pools.granted() == 3  # and what was before is there again
        assert inside == {2}
        assert [each.threads for each in found] == [(2,), (2, 2)]
        assert found[1].latency.threads == 2

    def test_a_search_that_changes_its_threads_is_found_out(self):
        import threadpoolctl

        _ = np.ones((4, 4)) @ np.ones((4, 4))
        found = loaded(lambda _: threadpoolctl.threadpool_limits(limits=3), [1])
        assert found[0].threads == (3,)

    @pytest.mark.parametrize("calls_before", [0, 1, 2, 20])
    def test_an_exception_in_a_client_ends_all_and_is_raised(self, calls_before):
        made, clock = itertools.count(), Clock()

        def call(_):
            if next(made) >= calls_before + 10:
                raise ValueError("broken index")
            clock.spend(1000)

        before = threading.active_count()
        with pytest.raises(ValueError, match="broken index"):
            loaded(call, [8], clock=clock)
        assert threading.active_count() == before
        assert gc.isenabled()

    def test_control_c_ends_the_clients(self):
        asked = threading.Event()

        def call(_):
            if not asked.is_set():
                asked.set()
                os.kill(os.getpid(), signal.SIGINT)  # as a terminal does

        before = set(threading.enumerate())
        with pytest.raises(KeyboardInterrupt):
            loaded(call, [3], seconds=3600.0)
        # A client that is being started when the signal comes is not waited for, and ends all the same.
        for client in set(threading.enumerate()) - before:
            client.join(60)
            assert not client.is_alive()

    def test_garbage_collection_rests_and_returns(self):
        states = set()
        loaded(lambda _: states.add(gc.isenabled()), [2])
        assert states == {False}
        assert gc.isenabled()

    def test_a_slow_search_has_fewer_rounds_and_at_least_one_answer_of_each_client(self):
        clock = Clock()
        alone, three = loaded(lambda _: clock.spend(2000 * MILLISECOND), [3], clock=clock, seconds=0.5)
        assert (alone.rounds, alone.latency.queries) == (1, 1)
        assert three.rounds == 1
        assert three.latency.queries >= 3

    def test_what_results_json_holds(self):
        clock = Clock()
        (found,) = loaded(lambda _: clock.spend(MILLISECOND), [1], clock=clock)
        assert found.to_dict() == {
            "clients": 1,
            "threads": [1],
            "throughput_qps": {"value": 1000.0, "low": 1000.0, "high": 1000.0, "rounds": 5},
            "latency_ms": found.latency.to_dict(),
            "efficiency": 1.0,
        }

    @pytest.mark.parametrize("spec", ["Flat", "IVF8,Flat?nprobe=3", "HNSW16?efSearch=32", "IVF4,PQ4x4"])
    def test_many_clients_find_what_one_alone_finds(self, spec):
        rng = np.random.default_rng(0)
        images = Embeddings.normalised([f"i{row}" for row in range(1500)], rng.normal(size=(1500, 16)))
        queries = np.ascontiguousarray(images.vectors[:60], np.float32)
        index = Index.build(spec, images)
        (params,) = Index.check(spec, dim=16, images=1500).grid
        search = index.searcher(10, **params)
        alone = np.concatenate([search(queries[row : row + 1])[1] for row in range(60)])
        found, lock = [], threading.Lock()

        def call(query):
            rows = search(queries[query : query + 1])[1]
            with lock:
                found.append((query, rows))

        loaded(call, [6], queries=60, seconds=0.2)
        assert {query for query, _ in found} == set(range(60))
        assert all(np.array_equal(rows[0], alone[query]) for query, rows in found)


class TestBatches:
    def timed(self, clock, call, **options):
        given = {"queries": 10, "sizes": [1, 4, 10], "threads": 1, "seconds": 0.5, "clock": clock} | options
        return batches({"one": call}, **given)["one"]

    def test_rates_and_milliseconds_follow_the_cost_of_a_batch(self):
        clock = Clock()  # one millisecond a batch and one a query
        found = self.timed(clock, lambda _, count: clock.spend((1 + count) * MILLISECOND))
        assert [each.throughput.batch for each in found] == [1, 4, 10]
        assert [each.throughput.value for each in found] == pytest.approx([500.0, 800.0, 10_000 / 11])
        assert [each.ms_per_batch for each in found] == pytest.approx([2.0, 5.0, 11.0])
        assert [each.throughput.repeats for each in found] == [5, 5, 5]

    def test_batches_are_whole_and_answer_every_query_that_they_can(self):
        clock, seen = Clock(), {}

        def call(first, count):
            seen.setdefault(count, set()).update(range(first, first + count))
            clock.spend(MILLISECOND)

        self.timed(clock, call)
        assert seen == {1: set(range(10)), 4: set(range(8)), 10: set(range(10))}

    def test_the_median_round_counts_and_the_slowest_and_fastest_are_kept(self):
        # Each of the five rounds warms up with one batch, and its second is over after the next.
        clock, costs = Clock(), iter([0, 1250, 0, 1000, 0, 1600, 0, 1100, 0, 2000])

        def call(first, count):
            clock.spend(next(costs) * MILLISECOND)

        (found,) = self.timed(clock, call, sizes=[10], seconds=5.0)
        assert (found.throughput.low, found.throughput.value, found.throughput.high) == (5.0, 8.0, 10.0)
        assert found.throughput.repeats == 5
        assert next(costs, None) is None

    def test_a_batch_that_outlasts_its_time_is_searched_once(self):
        clock, made = Clock(), []

        def call(first, count):
            made.append(count)
            clock.spend(1000 * MILLISECOND)

        (found,) = self.timed(clock, call, sizes=[10])
        assert made == [10]
        assert (found.throughput.value, found.throughput.repeats) == (10.0, 1)

    def test_what_was_measured_already_is_not_measured_again(self):
        known = Throughput(123.0, 10, 2, 100.0, 130.0, 5)
        clock, made = Clock(), []

        def call(first, count):
            made.append(count)
            clock.spend(MILLISECOND)

        small, whole = self.timed(clock, call, sizes=[1, 10], whole={"one": known, "other": known})
        assert set(made) == {1}
        assert whole == Batches(known)
        assert small.throughput.batch == 1

    def test_threads_are_read_back(self):
        _ = np.ones((4, 4)) @ np.ones((4, 4))
        clock, pools, inside = Clock(), Pools(), set()

        def call(first, count):
            inside.add(pools.granted())
            clock.spend(MILLISECOND)

        found = self.timed(clock, call, threads=2)
        assert inside == {2} == {each.throughput.threads for each in found}

    def test_what_results_json_holds(self):
        assert Batches(Throughput(500.0, 10, 2, 400.0, 600.0, 5)).to_dict() == {
            "value": 500.0, "batch": 10, "threads": 2, "low": 400.0, "high": 600.0, "repeats": 5,
            "ms_per_batch": 20.0,
        }  # fmt: skip


class TestAsked:
    def test_nothing_is_asked_unless_told(self):
        assert not Loads()
        assert Loads(clients=[2])
        assert Loads(batches=["all"])

    def test_sizes_are_clipped_to_the_queries_and_said(self):
        asked = Loads(batches=[512, 1, "all", 1000])
        assert asked.sizes(300) == [1, 300]
        assert asked.sizes(2000) == [1, 512, 1000, 2000]
        assert asked.notes(2000) == []
        (said,) = asked.notes(300)
        assert said == (
            "Batches of 512 and 1,000 were asked for; "
            "there are 300 queries, which were searched in one batch instead."
        )

    @pytest.mark.parametrize(
        ("given", "came"),
        [
            ({"clients": [0]}, "clients has 0"),
            ({"clients": [-1]}, "clients has -1"),
            ({"clients": [1.5]}, "clients has 1.5"),
            ({"clients": [True]}, "clients has True"),
            ({"clients": ["all"]}, "clients has 'all'"),
            ({"clients": [257]}, "clients has 257"),
            ({"clients": 4}, "clients is 4"),
            ({"clients": "124"}, "clients is '124'"),
        ],
    )
    def test_wrong_clients(self, given, came):
        with pytest.raises(InputError) as error:
            Loads(**given)
        assert str(error.value) == (f"{came}. It takes whole numbers from 1 to 256. Pass clients=[1, 2, 4].")

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (
                {"batches": [0]},
                "batches has 0. It takes whole numbers of 1 or more or 'all'. Pass batches=[1, 32, 512].",
            ),
            (
                {"batches": ["a"]},
                "batches has 'a'. It takes whole numbers of 1 or more or 'all'. Pass batches=[1, 32, 512].",
            ),
            ({"batches": [8, 8]}, "batches has 8 twice. Each is measured once. Remove one of them."),
            (
                {"batches": ["all", "all"]},
                "batches has 'all' twice. Each is measured once. Remove one of them.",
            ),
            ({"clients": [2, 1, 2]}, "clients has 2 twice. Each is measured once. Remove one of them."),
            (
                {"client_threads": 0},
                "client_threads has 0. It takes whole numbers from 1 to 1,024. Pass client_threads=1.",
            ),
            (
                {"clients": [200], "client_threads": 8},
                "200 clients on 8 threads are 1,600. At most 1,024 are started. Ask for fewer of either.",
            ),
        ],
    )
    def test_wrong_loads(self, given, said):
        with pytest.raises(InputError) as error:
            Loads(**given)
        assert str(error.value) == said
