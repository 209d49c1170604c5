"""Intervals of the paired differences of a large report, beside a bootstrap of each point by scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from pytest_benchmark.fixture import BenchmarkFixture
from speed_inputs import CAPTIONS, PHOTOS, Sides, timed

from imgbench.significance import mean_interval, paired

POINTS, RESAMPLES = 40, 2000  # imgbench resamples as often
QUERIES = PHOTOS * CAPTIONS
SIDES = ["imgbench", "scipy.stats.bootstrap a point"]


def scipy_bootstrap(deltas: np.ndarray, clusters: np.ndarray) -> list[tuple[float, float, float]]:
    """Mean and percentile interval of each point, resampling clusters by scipy."""
    sizes, found = np.bincount(clusters).astype(float), []
    for row in deltas:
        sums = np.bincount(clusters, weights=row)
        drawn = scipy.stats.bootstrap(
            (sums, sizes),
            lambda s, n, axis=-1: s.sum(axis=axis) / n.sum(axis=axis),
            paired=True, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0),
            batch=100,
        )  # fmt: skip
        found.append((float(sums.sum() / sizes.sum()), *drawn.confidence_interval))
    return found


def differences(clusters: np.ndarray) -> Sides:
    """nDCG-like changes of 40 points: in some of the photos, all captions of one alike."""
    rng = np.random.default_rng(0)
    hit = rng.random((POINTS, PHOTOS)) < np.linspace(0.1, 0.4, POINTS)[:, None]
    deltas = -(hit.repeat(CAPTIONS, axis=1) * rng.random((POINTS, QUERIES)) * 0.3)
    # One point at a time, where simultaneous limits are plain ones, both must say the same.
    for mine, (mean, low, high) in zip(
        mean_interval(deltas[:2], clusters, bounds=(-1.0, 1.0)),
        scipy_bootstrap(deltas[:2], clusters),
        strict=True,
    ):
        assert mine.mean == pytest.approx(mean, abs=1e-12)
        assert (mine.low, mine.high) == pytest.approx((low, high), abs=0.1 * (high - low))
    return {
        SIDES[0]: lambda: paired(deltas, clusters, margin=0.005),
        SIDES[1]: lambda: scipy_bootstrap(deltas, clusters),
    }


@pytest.fixture(scope="module")
def by_photo() -> Sides:
    return differences(np.arange(PHOTOS).repeat(CAPTIONS))


@pytest.fixture(scope="module")
def by_query() -> Sides:
    return differences(np.arange(QUERIES))


@pytest.mark.benchmark(group="intervals of 40 paired differences, 10,725 queries in 2,145 clusters")
@pytest.mark.parametrize("side", SIDES)
def test_differences(side: str, by_photo: Sides, benchmark: BenchmarkFixture) -> None:
    timed(benchmark, by_photo[side])


@pytest.mark.benchmark(group="intervals of 40 paired differences, 10,725 queries of their own")
@pytest.mark.parametrize("side", SIDES)
def test_differences_without_clusters(side: str, by_query: Sides, benchmark: BenchmarkFixture) -> None:
    timed(benchmark, by_query[side])
