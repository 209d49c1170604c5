from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import beta

from imgbench.errors import InputError
from imgbench.significance import mean_interval, paired
from imgbench.significance.gaffke import upper_limit
from imgbench.significance.limits import limits

WORLDS = 300
TOLERATED = 0.05 + 3 * np.sqrt(0.05 * 0.95 / WORLDS)  # Monte-Carlo error of three standard deviations


def losses(clusters: int, size: int, share: float, together: float, kind: str) -> tuple[np.ndarray, float]:
    """(world, query) differences with a known mean loss: rare, skewed, partly whole clusters at once."""
    rng = np.random.default_rng(1)
    copied = rng.random((WORLDS, clusters, size)) < together

    def shared(draw) -> np.ndarray:
        return np.where(copied, draw((WORLDS, clusters, 1)), draw((WORLDS, clusters, size)))

    changed = shared(lambda shape: rng.random(shape) < share)
    loss = shared(lambda shape: np.ones(shape) if kind == "whole" else rng.beta(0.5, 1.5, shape))
    mean = 1.0 if kind == "whole" else 0.25
    return -(changed * loss).reshape(WORLDS, clusters * size), share * mean


@pytest.mark.parametrize(
    ("clusters", "size", "share", "together", "kind"),
    [
        (300, 5, 0.001, 0.8, "whole"),
        (300, 5, 0.01, 0.8, "skewed"),
        (300, 5, 0.05, 0.8, "whole"),
        (300, 1, 0.2, 0.0, "skewed"),
        (200, 10, 0.2, 0.8, "skewed"),
    ],
)
def test_false_holds_and_coverage_with_the_loss_at_the_margin(clusters, size, share, together, kind) -> None:
    deltas, margin = losses(clusters, size, share, together, kind)
    groups = np.arange(clusters * size) // size
    # Each row is a world of its own: `together` off, as if each had been given alone.
    found = limits(deltas, groups, (-1.0, 1.0), confidence=0.95, seed=0, together=False)
    mean, low, high = found.mean, found.low, found.high
    assert abs(mean.mean() + margin) < 4 * mean.std() / np.sqrt(WORLDS)
    false_holds, false_degrades = (low > -margin).mean(), (high < -margin).mean()
    assert false_holds <= TOLERATED / 2 + 0.01
    assert false_holds + false_degrades <= TOLERATED


def test_the_per_query_t_interval_fails_the_same_test() -> None:
    for world in ((300, 5, 0.01, 0.8, "skewed"), (300, 5, 0.05, 0.8, "whole")):
        deltas, margin = losses(*world)
        error = deltas.std(axis=1, ddof=1) / np.sqrt(deltas.shape[1])
        assert (deltas.mean(axis=1) - 1.96 * error > -margin).mean() > TOLERATED


def test_bounds_hold_for_all_points_at_once() -> None:
    deltas, margin = losses(300, 1, 0.2, 0.0, "whole")
    families = deltas[:200].reshape(20, 10, 300)  # 20 reports of 10 independent points
    missed = 0
    for family in families:
        found = paired(family, np.arange(300), margin=margin)
        missed += any(not point.low <= -margin <= point.high for point in found)
    assert missed <= 4  # 1 is expected; separate intervals miss in 1 - 0.95^10 = 40 % of the reports, 8


@pytest.mark.parametrize("changed", [0, 1, 5, 20])
@pytest.mark.parametrize("alpha", [0.025, 0.0005])
def test_few_whole_changes_get_the_exact_binomial_bound(changed: int, alpha: float) -> None:
    values = np.zeros(1000)
    values[:changed] = 1
    assert upper_limit(values, 1.0, alpha) == pytest.approx(
        beta.ppf(1 - alpha, changed + 1, 1000 - changed), rel=0.005
    )


def test_a_run_against_itself_is_bounded_by_the_number_of_clusters() -> None:
    same = paired(np.zeros((1, 5000)), np.arange(5000) // 5, margin=0.005)[0]
    assert (same.mean, same.changed, same.verdict) == (0, 0, "holds")
    assert same.low == pytest.approx(-(1 - 0.025 ** (1 / 1000)), rel=0.005)
    assert same.high == -same.low
    small = paired(np.zeros((1, 100)), np.arange(100), margin=0.005)[0]
    assert small.verdict == "inconclusive"
    assert small.clusters_needed == pytest.approx(np.log(0.025) / np.log(1 - 0.005), rel=0.01)  # 736
    for count, verdict in ((720, "inconclusive"), (750, "holds")):
        assert paired(np.zeros((1, count)), np.arange(count), margin=0.005)[0].verdict == verdict


def test_verdicts_of_plain_losses() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, (1, 4000))
    assert paired(noise - noise.mean() - 0.001, np.arange(4000), margin=0.005)[0].verdict == "holds"
    assert paired(noise - noise.mean() - 0.009, np.arange(4000), margin=0.005)[0].verdict == "degrades"
    near = paired(noise - noise.mean() - 0.006, np.arange(4000), margin=0.005)[0]
    assert near.verdict == "inconclusive"
    assert near.clusters_needed == pytest.approx(4000 * (1.96 * 0.05 / np.sqrt(4000) / 0.001) ** 2, rel=0.15)


def test_common_differences_get_about_the_clustered_t_interval() -> None:
    rng = np.random.default_rng(0)
    deltas = (rng.normal(0, 0.1, (1, 500, 1)) + rng.normal(0, 0.02, (1, 500, 5))).reshape(1, -1)
    found = paired(deltas, np.arange(2500) // 5, margin=0.1)[0]
    error = deltas.reshape(500, 5).mean(axis=1).std(ddof=1) / np.sqrt(500)
    assert found.mean - found.low == pytest.approx(1.965 * error, rel=0.1)
    naive = 1.96 * deltas.std() / np.sqrt(2500)
    assert found.high - found.mean > 1.8 * naive  # what forgetting the clusters would claim


def test_unequal_clusters_weigh_by_their_queries() -> None:
    groups = np.repeat(np.arange(60), np.arange(60) % 5 + 1)
    deltas = np.random.default_rng(0).normal(0, 0.1, (1, len(groups)))
    found = paired(deltas, groups[::1], margin=0.1)[0]
    assert found.mean == pytest.approx(deltas.mean())
    shuffled = np.random.default_rng(1).permutation(len(groups))
    again = paired(deltas[:, shuffled], groups[shuffled] * 7 - 3, margin=0.1)[0]
    assert again.low == pytest.approx(found.low, abs=1e-9)
    assert np.isclose(
        paired(np.zeros((1, len(groups))), groups, margin=0.1)[0].low, -0.0596 * 5 / 3, rtol=0.05
    )


def test_same_seed_same_limits_whatever_the_threads() -> None:
    from imgbench.environment import threads

    deltas = np.random.default_rng(0).normal(0, 0.1, (5, 900))
    with threads(1):
        one = paired(deltas, np.arange(900) // 3, margin=0.005)
    with threads(2):
        two = paired(deltas, np.arange(900) // 3, margin=0.005)
    assert one == two
    assert one != paired(deltas, np.arange(900) // 3, margin=0.005, seed=1)


def test_intervals_of_means() -> None:
    scores = np.random.default_rng(0).random((2, 1000))
    for interval, row in zip(mean_interval(scores, np.arange(1000)), scores, strict=True):
        assert interval.mean == row.mean()
        assert interval.high - interval.low == pytest.approx(2 * 1.96 * row.std() / np.sqrt(1000), rel=0.1)
    perfect = mean_interval(np.ones((1, 100)), np.arange(100))[0]
    assert (perfect.mean, perfect.high) == (1, 1)
    assert perfect.low == pytest.approx(0.025 ** (1 / 100), rel=0.005)
    alone = mean_interval(np.full((1, 3), 0.5), np.zeros(3, dtype=int))[0]
    assert alone.low < 0.05
    assert alone.high > 0.95
    assert mean_interval(np.zeros((0, 5)), np.arange(5)) == []


def test_a_large_report_is_judged_within_a_second() -> None:
    deltas = np.where(np.random.default_rng(0).random((40, 10_725)) < 0.1, -0.05, 0)
    started = time.perf_counter()
    paired(deltas, np.arange(10_725) // 5, margin=0.005)
    assert time.perf_counter() - started < 2  # 0.2 s alone on the machine


@pytest.mark.parametrize(
    ("deltas", "clusters", "options", "message"),
    [
        (
            np.zeros((1, 50)),
            np.arange(50),
            {"margin": -0.1},
            r"The margin is -0\.1\. It is a loss of 0 or more\.",
        ),
        (np.zeros((1, 50)), np.arange(50), {"margin": np.nan}, r"The margin is nan\."),
        (np.full((1, 50), np.nan), np.arange(50), {"margin": 0.1}, r"Some values are not finite\."),
        (
            np.zeros((1, 50)),
            np.arange(49),
            {"margin": 0.1},
            r"shape \(1, 50\) came with clusters of shape \(49,\)",
        ),
        (np.zeros(50), np.arange(50), {"margin": 0.1}, r"They are \(points, queries\) and \(queries,\)\."),
        (
            np.zeros((1, 50)),
            np.arange(50) % 9,
            {"margin": 0.1},
            r"There are 9 clusters of queries\. .* at least 10\.",
        ),
        (np.zeros((1, 0)), np.arange(0), {"margin": 0.1}, r"There are no queries\."),
        (np.zeros((1, 50)), np.arange(50), {"margin": 0.1, "confidence": 95}, r"The confidence is 95\."),
    ],
)
def test_wrong_inputs_are_refused(deltas, clusters, options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        paired(deltas, clusters, **options)
