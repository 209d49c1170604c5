"""Where the time went: stages add up, what waits and what FAISS does is told apart, threads keep out."""

from __future__ import annotations

import threading
import time
from unittest import mock

import pytest

from imgbench import stopwatch


class Clock:
    """A clock that moves only when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock():
    ours = Clock()
    with mock.patch.object(time, "perf_counter", ours):
        yield ours


def rows(watch: stopwatch.Watch) -> dict[str, dict]:
    return {each["stage"]: each for each in watch.to_dict()["stages"]}


def test_stages_add_up_and_count_once(clock: Clock) -> None:
    with stopwatch.running() as watch:
        clock.pass_(1.0)
        with stopwatch.stage("search", unit="queries") as outer:
            clock.pass_(2.0)
            with stopwatch.stage("ties"):
                clock.pass_(4.0)
            outer.items += 7
    said = watch.to_dict()
    assert said["seconds"] == 7.0
    assert [(each["stage"], each["depth"], each["seconds"]) for each in said["stages"]] == [
        ("search", 0, 6.0), ("ties", 1, 4.0),
    ]  # fmt: skip
    assert (rows(watch)["search"]["items"], rows(watch)["search"]["unit"]) == (7, "queries")
    clock.pass_(8.0)
    assert watch.to_dict() == said  # the watch has stopped


def test_a_stage_that_is_entered_again_goes_on(clock: Clock) -> None:
    with stopwatch.running() as watch:
        for items in (3, 4):
            with stopwatch.stage("embed", unit="images") as found:
                clock.pass_(1.5)
                found.items += items
    assert [(each["seconds"], each["items"]) for each in watch.to_dict()["stages"]] == [(3.0, 7)]


def test_the_same_name_elsewhere_is_another_stage(clock: Clock) -> None:
    with stopwatch.running() as watch:
        for around in ("first", "second"):
            with stopwatch.stage(around), stopwatch.stage("search"):
                clock.pass_(1.0)
    found = [(each["stage"], each["depth"]) for each in watch.to_dict()["stages"]]
    assert found == [("first", 0), ("search", 1), ("second", 0), ("search", 1)]


def test_waiting_is_a_part_of_its_stage(clock: Clock) -> None:
    with stopwatch.running() as watch, stopwatch.stage("embed") as found:
        clock.pass_(3.0)
        with found.waiting():
            clock.pass_(1.0)
    assert (rows(watch)["embed"]["seconds"], rows(watch)["embed"]["waited"]) == (4.0, 1.0)


def test_faiss_is_counted_once_and_in_every_stage_around_it(clock: Clock) -> None:
    with stopwatch.running() as watch, stopwatch.stage("outer"):
        clock.pass_(1.0)
        with stopwatch.stage("inner"):
            with stopwatch.faiss():
                clock.pass_(2.0)
                with stopwatch.faiss():
                    clock.pass_(4.0)
            stopwatch.faiss_took(0.5)
    assert watch.to_dict()["faiss_seconds"] == 6.5
    assert [each["faiss_seconds"] for each in watch.to_dict()["stages"]] == [6.5, 6.5]


def test_what_a_clock_summed_counts_once_too(clock: Clock) -> None:
    with stopwatch.running() as watch, stopwatch.stage("search"):
        with stopwatch.faiss():
            clock.pass_(2.0)
            stopwatch.faiss_took(1.5)  # of these two seconds
        stopwatch.faiss_took(0.25)
    assert watch.to_dict()["faiss_seconds"] == 2.25


def test_what_fails_is_counted_and_leaves_the_watch_in_order(clock: Clock) -> None:
    def fail() -> None:
        clock.pass_(1.0)
        raise ValueError("no")

    with stopwatch.running() as watch:
        with pytest.raises(ValueError, match="no"), stopwatch.stage("broken"), stopwatch.faiss():
            fail()
        with stopwatch.stage("next"), stopwatch.faiss():
            clock.pass_(2.0)
    assert [(each["stage"], each["depth"], each["faiss_seconds"]) for each in watch.to_dict()["stages"]] == [
        ("broken", 0, 1.0), ("next", 0, 2.0),
    ]  # fmt: skip


def test_a_run_that_goes_on_can_be_read(clock: Clock) -> None:
    with stopwatch.running() as watch, stopwatch.stage("saving"):
        clock.pass_(2.0)
        assert watch.to_dict()["seconds"] == 2.0
        assert rows(watch)["saving"]["seconds"] == 2.0


def test_a_watch_within_a_watch_is_the_same(clock: Clock) -> None:
    with stopwatch.running() as outer, stopwatch.running() as inner, stopwatch.stage("embed"):
        clock.pass_(1.0)
    assert inner is outer
    assert rows(outer)["embed"]["seconds"] == 1.0


def test_other_threads_record_nothing() -> None:
    def work() -> None:
        with stopwatch.stage("elsewhere") as found, stopwatch.faiss():
            found.items += 1

    with stopwatch.running() as watch, stopwatch.stage("here"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert list(rows(watch)) == ["here"]
    assert watch.to_dict()["faiss_seconds"] == 0.0


def test_without_a_watch_nothing_is_kept(clock: Clock) -> None:
    with stopwatch.stage("embed", unit="images") as found, found.waiting(), stopwatch.faiss():
        found.items += 2
        stopwatch.faiss_took(1.0)
        clock.pass_(1.0)
    with stopwatch.running() as watch:
        pass
    assert watch.to_dict() == {"seconds": 0.0, "faiss_seconds": 0.0, "stages": []}
