"""Corpora so easy or so hard that a model of larger ones has next to nothing to learn from."""

from __future__ import annotations

import numpy as np
import pytest

from imgbench.distractors import Curve, distractor_curve, tail
from imgbench.embeddings import Embeddings


def easy(noise: float, queries: int) -> Curve:
    """The curve of 1,000 random images, some of which are asked for by themselves with noise."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1000, 32))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    asked = rows[:queries] + noise * rng.standard_normal((queries, 32))
    return distractor_curve(
        Embeddings([f"i{row}" for row in range(1000)], rows),
        Embeddings.normalised([f"q{row}" for row in range(queries)], asked),
        {f"q{row}": {f"i{row}": 1} for row in range(queries)},
        measures=["Success@1", "nDCG@10"],
    )


def seen(above: np.ndarray) -> tail.Seen:
    pairs = len(above)
    scores, top = np.zeros(pairs, np.float32), np.zeros((pairs, 1), np.float32)
    return tail.Seen(np.arange(pairs), scores, above, np.full(pairs, 1000), top)


@pytest.mark.parametrize(
    ("noise", "queries", "first", "most"),
    [(0.02, 300, 300, 0), (0.15, 300, 299, 1), (0.2, 60, 50, 5), (0.2, 300, 264, 9)],
)
@pytest.mark.parametrize("model", ["mixed", "counts"])
def test_easy_corpora_are_extrapolated(noise, queries, first, most, model):
    curve = easy(noise, queries)
    assert ((curve.ranks.above_pool == 0).sum(), curve.ranks.above_pool.max()) == (first, most)
    found = curve.extrapolate(model=model)
    assert found.error.factors == (2, 4, 8)
    for values in (found.mean, found.low, found.high, found.error.typical, found.error.bias):
        assert np.isfinite(values).all()
    assert (np.diff(found.mean) <= 1e-12).all()
    assert (found.low <= found.mean).all()
    assert (found.mean <= found.high + 1e-12).all()
    # Eight times as many images overtake a few of those that are first, and never most of them.
    assert first / queries / 2 < found.mean[0, -1] <= first / queries


def test_where_nothing_is_ever_above_counts_expect_nothing():
    found = tail.chances(seen(np.zeros(300, dtype=np.int64)), "counts")
    np.testing.assert_allclose(np.bincount(found.pair, found.weight), 1)
    # Less than one image in all 300 corpora of 1,000.
    assert 300 * 1000 * np.bincount(found.pair, found.weight * found.chance).max() < 1


def test_where_everything_is_far_down_counts_are_shares():
    above = np.arange(300, 600)
    found = tail.chances(seen(above), "counts")
    assert found.pair.tolist() == list(range(300))
    np.testing.assert_array_equal(found.chance, above / 1000)
    np.testing.assert_array_equal(found.weight, 1)


def test_a_count_that_no_rate_explains_keeps_its_share(monkeypatch):
    mixture = tail._mixture

    def emptied(totals):
        table = mixture(totals)
        table[3] = 0.0
        return table

    monkeypatch.setattr(tail, "_mixture", emptied)
    above = np.repeat([0, 3, 9], 100)
    found = tail.chances(seen(above), "counts")
    np.testing.assert_allclose(np.bincount(found.pair, found.weight, minlength=300), 1)
    assert found.chance[np.isin(found.pair, np.flatnonzero(above == 3))].tolist() == [0.003] * 100


@pytest.mark.parametrize("rare", [5, 30, 64])
def test_one_hard_query_among_easy_ones_is_not_forgotten(rare):
    above = np.array([0] * 999 + [rare])
    found = tail.chances(seen(above), "counts")
    expected = 1000 * np.bincount(found.pair, found.weight * found.chance)
    assert expected[-1] == pytest.approx(rare, rel=0.1)
    # All 999 that have none above together are expected to have two or three.
    assert 0 <= expected[:-1].sum() < 3
