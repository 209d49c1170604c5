"""How every benchmark is timed, and a made search at the size of a vehicle study: 68,154 images, 2,145 photos
with five captions each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

Sides: TypeAlias = dict[str, Callable[[], object]]
"""What is compared: imgbench, and what a user would otherwise run."""

IMAGES, PHOTOS, CAPTIONS, DEPTH = 68_154, 2_145, 5, 100
SECONDS, FEWEST, MOST = 0.5, 3, 30


def timed(benchmark: BenchmarkFixture, call: Callable[[], object]) -> None:
    """Times a call after one that does not count: as often as fits into half a second, 3 to 30 times;
    twice if it takes longer than a second.
    """
    rounds = 1
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
