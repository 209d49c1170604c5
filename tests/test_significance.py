from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from imgbench.errors import InputError
from imgbench.significance import mean_interval, paired
from imgbench.significance.gaffke import upper_limit


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

    deltas = np.clip(np.random.default_rng(0).normal(0, 0.4, (5, 900)), -1, 1)
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


def test_a_point_with_few_changes_does_not_widen_the_others() -> None:
    rng = np.random.default_rng(0)
    common = np.where(rng.random((1, 1000)) < 0.3, -0.1, 0.0)
    rare = np.where(rng.random((7, 1000)) < 0.012, -1.0, 0.0)
    alone = paired(common, np.arange(1000), margin=0.01)[0]
    among = paired(np.vstack([common, rare]), np.arange(1000), margin=0.01)[0]
    assert (
        1.1 < (among.high - among.low) / (alone.high - alone.low) < 1.8
    )  # Bonferroni of 8 normal points: 1.4


def test_margins_of_their_own() -> None:
    deltas = np.tile(np.random.default_rng(0).normal(-0.006, 0.05, 4000), (3, 1))
    found = paired(deltas, np.arange(4000), margin=np.array([0.001, 0.0065, 0.02]))
    assert [point.verdict for point in found] == ["degrades", "inconclusive", "holds"]
    assert [point.margin for point in found] == [0.001, 0.0065, 0.02]
    assert len({point.low for point in found}) == 1


def test_the_method_is_named() -> None:
    deltas = np.zeros((3, 1000))
    deltas[1, :12] = -0.5
    deltas[2, :300] = -0.5
    found = paired(deltas, np.arange(1000), margin=0.005)
    assert [point.method for point in found] == ["Gaffke", "bootstrap-t and Gaffke", "bootstrap-t"]
    assert [point.changed for point in found] == [0, 12, 300]


def test_limits_never_leave_what_is_possible() -> None:
    deltas = np.zeros((4, 12))
    deltas[0, 0], deltas[1, :3], deltas[2, :11] = -1.0, (-1.0, 1.0, -1.0), -1.0
    for point in paired(deltas, np.arange(12), margin=0.005):
        assert -1.0 <= point.low < point.mean <= point.high <= 1.0
    assert mean_interval(np.array([[-1.0, 1.0] * 50]), np.arange(100), bounds=(-1, 1))[0].low > -0.5


def test_a_few_changes_keep_room_for_what_was_not_seen() -> None:
    """300 queries, all changes small: a whole loss in 1 % of the queries would easily have stayed unseen."""
    small = np.where(np.arange(300) % 10 == 0, 0.01, 0.0) * np.where(np.arange(300) % 20 == 0, 1, -1)
    found = paired(small[None], np.arange(300), margin=0.01)[0]
    assert found.method == "bootstrap-t"
    assert found.low == pytest.approx(-(1 - 0.025 ** (1 / 300)), rel=0.01)


@pytest.mark.parametrize("spread", [0.0, 0.004])
def test_builds_widen_the_limits_by_a_new_ones_loss(spread: float) -> None:
    rng = np.random.default_rng(0)
    each = rng.normal(0, 0.05, 2000)
    deltas = np.stack([each - 0.001 + shift for shift in spread * np.array([-1.0, 0.0, 1.0])])[None]
    found = paired(deltas, np.arange(2000), margin=0.05)[0]
    assert (found.builds, found.changed) == (3, 2000)
    assert found.build_spread == pytest.approx(spread, abs=1e-12)
    one = paired(deltas[:, 1], np.arange(2000), margin=0.05)[0]
    assert found.queries.low == pytest.approx(one.low, abs=1e-9)
    of_builds = 4.3027 * spread * np.sqrt(4 / 3)  # Student's quantile with two degrees of freedom
    assert found.mean - found.low == pytest.approx(np.hypot(one.mean - one.low, of_builds), rel=1e-4)


def test_more_queries_do_not_make_builds_alike() -> None:
    each = np.random.default_rng(0).normal(0, 0.02, 1000)
    deltas = np.stack([each + shift for shift in (-0.01, 0.0, 0.01)])[None]
    found = paired(deltas, np.arange(1000), margin=0.005)[0]
    assert (found.verdict, found.clusters_needed) == ("inconclusive", None)
    assert "More queries would not decide it: it is the margin itself, or builds differ too much." in str(
        found
    )


def test_a_comparison_is_a_sentence() -> None:
    deltas = np.zeros((1, 2000))
    assert str(paired(deltas, np.arange(2000), margin=0.005)[0]) == (
        "No query changed: both searches got the same scores. From 2,000 clusters of queries that proves "
        "a loss below 0.0019: holds against a margin of 0.005."
    )
    assert str(paired(deltas, np.arange(2000) // 10, margin=0.005)[0]).endswith(
        "inconclusive against a margin of 0.005. About 738 clusters of queries would decide it."
    )
    deltas[0, :2] = -1
    assert str(paired(deltas, np.arange(2000), margin=0.05)[0]) == (
        "holds: -0.001, between -0.0037 and +0.0012, against a margin of 0.05; 2 queries changed."
    )
    assert str(paired(deltas / 2 - 0.5, np.arange(2000), margin=0.1, confidence=0.99)[0]).startswith(
        "degrades: -0.5, between -0.5"
    )
    found = paired(deltas, np.arange(2000) // 2, margin=0.1, confidence=0.9)[0]
    assert (found.clusters, found.confidence) == (1000, 0.9)


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
        (np.zeros((2, 50)), np.arange(50), {"margin": np.ones(3)}, r"3 margins came for 2 points\."),
        (
            np.zeros((2, 50)),
            np.arange(50),
            {"margin": np.array([0.1, -0.1])},
            r"The margin is -0\.1\. It is a loss of 0 or more\.",
        ),
    ],
)
def test_wrong_inputs_are_refused(deltas, clusters, options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        paired(deltas, clusters, **options)


def test_high_confidence_is_delivered() -> None:
    """Among 2,000 resamples none is as rare as that: more are drawn, and the last quantile is stretched."""
    deltas = np.clip(np.random.default_rng(0).normal(0, 0.3, (1, 2000)), -1, 1)
    error = deltas.std() / np.sqrt(2000)
    for confidence, normal in ((0.95, 1.96), (0.999, 3.29), (0.9999, 3.89), (0.999_999, 4.89)):
        found = paired(deltas, np.arange(2000), margin=0.1, confidence=confidence)[0]
        assert (found.mean - found.low) / error == pytest.approx(normal, rel=0.08)
