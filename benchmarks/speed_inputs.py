"""How every benchmark is timed, and a made search at the size of a vehicle study: 68,154 images, 2,145 photos
with five captions each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeAlias

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from imgbench import environment

Sides: TypeAlias = dict[str, Callable[[], object]]
"""What is compared: imgbench, and what a user would otherwise run."""

IMAGES, PHOTOS, CAPTIONS, DEPTH = 68_154, 2_145, 5, 100
SECONDS, FEWEST, MOST = 0.5, 3, 30

long = pytest.mark.skipif("IMGBENCH_LONG" not in os.environ, reason="takes long: set IMGBENCH_LONG=1")
"""Marks a benchmark of more than about ten seconds: performance.py runs it, `nox -s bench` does not."""


def timed(
    benchmark: BenchmarkFixture,
    call: Callable[[], object],
    *,
    items: int | None = None,
    unit: str = "",
    threads: int | None = None,
    wanted: float | None = None,
) -> None:
    """Times a call after one that does not count: as often as fits into half a second, 3 to 30 times;
    twice if it takes longer than a second.

    Every pool is held at `threads`, if given. The rest is for the table: `items` of `unit` ("images") done in
    one call make a rate; beside an alternative, how many times as fast imgbench is `wanted` to be.
    """
    said = {"items": items, "unit": unit, "threads": threads, "wanted": wanted}
    benchmark.extra_info.update({name: value for name, value in said.items() if value})
    rounds = 1
    with environment.threads(threads) if threads else nullcontext():
        if not benchmark.disabled:
            start = time.perf_counter()
            call()
            seconds = time.perf_counter() - start
            rounds = 2 if seconds > 1 else int(np.clip(SECONDS / seconds, FEWEST, MOST))
        benchmark.pedantic(call, rounds=rounds)


def query_names() -> list[str]:
    return [
        f"photo_{photo:05d}_caption_{number:02d}" for photo in range(PHOTOS) for number in range(CAPTIONS)
    ]


def image_names() -> list[str]:
    return [f"flickr/{image:06d}.jpg" for image in range(IMAGES)]


def search_result() -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows: 100 hits of each query in no order; six in ten queries find their photo (row 0 to
    2,144) among the first 20.
    """
    rng = np.random.default_rng(0)
    queries, others = PHOTOS * CAPTIONS, IMAGES - PHOTOS
    # Steps of at least 1 whose sum is less than a round never meet a row twice.
    rows = rng.integers(1, others // DEPTH, (queries, DEPTH)).cumsum(axis=1) % others + PHOTOS
    scores = rng.random((queries, DEPTH), dtype=np.float32)
    hits = np.flatnonzero(rng.random(queries) < 0.6)
    rows[hits, 0], scores[hits, 0] = hits // CAPTIONS, 1 - 0.2 * rng.random(len(hits))
    order = rng.permuted(np.tile(np.arange(DEPTH), (queries, 1)), axis=1)
    # Three decimals: a few ties in every ranking.
    return np.take_along_axis(scores, order, 1).round(3), np.take_along_axis(rows, order, 1)
