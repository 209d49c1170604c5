"""Larger corpora: predictions against what is there."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from imgbench.distractors import Curve, curve_of, distractor_curve, tail
from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.ranks import Ranks, relevant_ranks

MEASURES = ["nDCG@10", "Success@1", "RR", "AP"]


@cache
def gallery() -> tuple[Embeddings, Embeddings, dict[str, dict[str, int]]]:
    """8,000 clustered images, of which the first 300 are asked for by three queries each."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, 16))
    rows = centres[rng.integers(60, size=8000)] + 0.9 * rng.standard_normal((8000, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    asked = np.repeat(rows[:300], 3, axis=0) + rng.uniform(0.05, 0.35, (900, 1)) * rng.standard_normal(
        (900, 16)
    )
    images = Embeddings([f"i{row}" for row in range(8000)], rows)
    queries = Embeddings.normalised([f"q{row}" for row in range(900)], asked)
    return images, queries, {f"q{row}": {f"i{row // 3}": 1} for row in range(900)}


@cache
def part(images: int) -> Ranks:
    """The ranks among the first images; those that are asked for are in every corpus."""
    every, queries, judged = gallery()
    return relevant_ranks(every.select(range(images)), queries, judged, pool=np.arange(images) >= 300)


@cache
def quarter() -> Curve:
    return curve_of(part(2225), MEASURES).extrapolate((2, 4, 8))


def test_larger_corpora_are_predicted():
    true = curve_of(part(8000), MEASURES).mean[:, -1]
    found = quarter()
    at = found.sizes.index(8000)
    assert (found.mean[:, -4] - true > 0.05).all()  # the smaller corpus is easier
    assert np.abs(found.mean[:, at] - true).max() < 0.02
    assert (found.low[:, at] < true).all()
    assert (found.high[:, at] > true).all()


def test_the_default_model_is_less_wrong_than_the_plain_share():
    error = quarter().error
    plain = quarter().extrapolate((4,), model="rate").error
    assert error.factors == plain.factors == (2, 4, 8)
    assert (error.typical[:3] < plain.typical[:3] / 2).all()
    assert (plain.bias[:3] > 0.01).all()  # it never expects a first image to be overtaken


def test_limits_are_as_much_wider_as_predictions_are_wrong():
    found = quarter()
    wrong = replace(found.error, typical=found.error.typical + 0.1)
    narrow, wide = found.at(8000, "RR"), replace(found, error=wrong).at(8000, "RR")
    assert wide.mean == narrow.mean
    # 2.776, the quantile with 4 degrees of freedom, times 0.1 and the error.
    by_clusters = curve_of(part(8000), "RR").at(8000, "RR")
    half = by_clusters.mean - by_clusters.low
    at = float(wrong.at(np.array([4.0]))[2, 0])
    assert wide.mean - wide.low == pytest.approx(np.hypot(half, 2.776 * at), rel=0.02)
    inside = found.at(1000, "RR"), replace(found, error=wrong).at(1000, "RR")
    assert inside[0] == inside[1]


def test_errors_between_and_beyond_the_factors():
    error = replace(quarter().error, typical=np.array([[0.01, 0.02, 0.06]]))
    found = error.at(np.array([1.0, 2.0, 2**1.5, 8.0, 64.0]))
    np.testing.assert_allclose(found, [[0, 0.01, 0.015, 0.06, 0.12]])


def test_points_of_the_curve_are_what_at_gives():
    curve = quarter()
    for s in (0, 7, len(curve.sizes) - 2):
        found = curve.at(curve.sizes[s], "RR")
        m = curve.measures.index("RR")
        assert (found.mean, found.low, found.high) == (curve.mean[m, s], curve.low[m, s], curve.high[m, s])
    assert curve.farthest == 2225 + 7 * 1925
    assert (np.diff(curve.mean) < 0).all()
    assert curve.smallest == 300


def test_a_curve_as_plain_values_and_as_a_frame():
    curve = quarter()
    found = json.loads(json.dumps(curve.to_dict()))
    assert found["sizes"] == list(curve.sizes)
    assert found["quality"]["RR"]["high"] == curve.high[2].tolist()
    assert found["extrapolation"]["checked_to"] == curve.farthest
    assert found["extrapolation"]["error"]["AP"]["typical"] == curve.error.typical[3].tolist()
    assert curve_of(part(2225), "RR").to_dict()["extrapolation"] is None
    frame = curve.extrapolate((4, 16)).frame()
    assert frame.columns.tolist() == ["measure", "images", "mean", "low", "high", "extrapolated", "checked"]
    last = frame[frame.measure == "AP"].tail(3)
    assert last.extrapolated.tolist() == [False, True, True]
    assert last.checked.tolist() == [True, True, False]


def test_the_front_door_takes_vectors_and_clusters():
    images, queries, judged = gallery()
    some = images.select(range(500))
    mine = {query: str(row // 6) for row, query in enumerate(queries.ids)}
    found = distractor_curve(some, queries, judged, measures="RR", sizes=[100, 500], clusters=mine)
    assert found.sizes == (100, 500)
    assert found.clusters.max() == 149
    usual = distractor_curve(some, queries, judged, measures="RR")
    assert usual.clusters.max() == 299
    assert usual.sizes[0] == 100
    assert len(usual.sizes) == 20
    assert usual.mean[0, -1] == found.mean[0, -1]
    assert usual.pool_size == 500
    same = distractor_curve(some, queries, judged, measures="RR", clusters=usual.clusters)
    np.testing.assert_array_equal(same.low, usual.low)


def test_whole_numbers_of_any_type_are_sizes():
    curve = curve_of(part(2225), "RR", np.array([400.0, 500.0]))
    assert curve.sizes == (400, 500)
    found = curve.extrapolate(np.array([64], dtype=np.int32))
    assert found.sizes[-1] == 2225 + 63 * 1925
    assert found.at(found.sizes[-1], "RR").mean == found.mean[0, -1]
    assert not found.frame().checked.iloc[-1]


# The models


def test_a_thinned_corpus_is_the_corpus_without_those_images():
    images, queries, judged = gallery()
    some = images.select(range(700))
    ranks = relevant_ranks(some, queries, judged, pool=np.arange(700) >= 300, depth=400)
    found = tail.thinned(ranks, 3, np.random.default_rng(5))
    drawn = np.random.default_rng(5).choice(np.arange(300, 700), 133, replace=False)
    kept = np.sort(np.concatenate([np.arange(300), drawn]))
    real = relevant_ranks(some.select(kept), queries, judged, pool=kept >= 300)
    np.testing.assert_array_equal(found.above, real.above_pool)
    np.testing.assert_array_equal(found.drawn, real.distractors)
    np.testing.assert_allclose(found.top[:, :133], real.top_scores, atol=1e-6)


def test_what_is_below_the_list_is_thinned_by_chance():
    images, queries, judged = gallery()
    ranks = relevant_ranks(images, queries, judged, pool=np.arange(8000) >= 300, depth=16)
    found = tail.thinned(ranks, 2, np.random.default_rng(0))
    deep = ranks.above_pool > 200
    assert deep.sum() > 40
    assert (found.above[deep] / ranks.above_pool[deep]).mean() == pytest.approx(0.5, abs=0.03)
    assert (found.above <= ranks.above_pool).all()


@pytest.mark.parametrize(("draw", "shape"), [("exponential", 0.0), ("triangular", -0.5), ("pareto", 0.25)])
def test_the_tail_s_shape_is_found(draw, shape):
    rng = np.random.default_rng(0)
    u = rng.random((2000, 2000))
    sample = {"exponential": -np.log(u), "triangular": 1 - np.sqrt(u), "pareto": u**-0.25}[draw]
    top = -np.sort(-sample, axis=1)[:, :100].astype(np.float32)
    assert tail._pareto(top)[2] == pytest.approx(shape, abs=0.08)


def test_counts_find_the_rates_behind_them():
    rng = np.random.default_rng(0)
    rate = np.where(np.arange(20_000) % 4 == 0, 0.2, 9.0)
    count = rng.poisson(rate)
    found = tail.chances(
        tail.Seen(
            np.arange(20_000),
            np.zeros(20_000, np.float32),
            count,
            np.full(20_000, 1000),
            np.zeros((20_000, 1)),
        ),
        "counts",
    )
    mean = np.bincount(found.pair, found.weight * found.chance) * 1000
    np.testing.assert_allclose(np.bincount(found.pair, found.weight), 1)
    assert mean[count == 0].mean() == pytest.approx(0.2, abs=0.1)
    assert mean[count == 9].mean() == pytest.approx(9.0, abs=0.5)


@pytest.mark.parametrize("model", tail.MODELS)
def test_every_model_gives_probabilities_that_sum_to_one(model):
    ranks = part(2225)
    found = tail.chances(tail.seen(ranks), model)
    np.testing.assert_allclose(np.bincount(found.pair, found.weight, minlength=len(ranks)), 1)
    assert (found.chance >= 0).all()
    assert (found.chance <= 1).all()


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda curve: curve.extrapolate((1, 0.5)), "The sizes to extrapolate to are [1263, 2225]. They are"),
        (lambda curve: curve.extrapolate(sizes=[2000]), "The sizes to extrapolate to are [2000]."),
        (lambda curve: curve.extrapolate(model="tial"), "'tial' is not a model of larger corpora."),
        (lambda curve: curve.extrapolate(draws=0), "draws is 0. An error is measured on some sub-corpora."),
        (lambda curve: curve.at(100, "RR"), "A corpus of 100 images was asked for."),
        (lambda curve: curve.at(5000, "P@1"), "'P@1' is not a measure of this curve."),
        (lambda curve: curve_of(curve.ranks, "RR").at(5000, "RR"), "A corpus of 5000 images was asked for."),
        (
            lambda curve: curve_of(curve.ranks, clusters=np.zeros(3)),
            "3 clusters came for 900 judged queries.",
        ),
        (
            lambda curve: curve_of(part(390), "RR").extrapolate(),
            "The pool has 90 distractors for some query. To check an extrapolation it needs 100, 50 in each",
        ),
        (
            lambda curve: curve.extrapolate([600]),
            "A factor is 600. It says how many times the pool a corpus has, at most 64. Pass factors such",
        ),
        (lambda curve: curve.extrapolate((2, 10**9)), "A factor is 1000000000. It says how many times"),
        (lambda curve: curve.extrapolate((2, float("nan"))), "A factor is nan. It says how many times"),
        (lambda curve: curve.extrapolate(["a"]), "A factor is 'a'. It says how many times"),
        (lambda curve: curve.extrapolate([True]), "A factor is True. It says how many times"),
        (lambda curve: curve.extrapolate("x"), "Factors came as 'x'. They are a list. Pass factors such as"),
        (lambda curve: curve.extrapolate(4), "Factors came as 4. They are a list. Pass factors such as"),
        (
            lambda curve: curve.extrapolate(sizes=[10**9]),
            "A corpus of 1000000000 images was asked for. Nothing is predicted beyond 64 times the pool,",
        ),
        (lambda curve: curve.at(10**9, "RR"), "A corpus of 1000000000 images was asked for. Nothing is"),
        (lambda curve: curve.extrapolate(sizes=["a"]), "A size is 'a'. It is a whole number of images."),
        (lambda curve: curve_of(curve.ranks, sizes=["a"]), "A size is 'a'. It is a whole number of images."),
        (lambda curve: curve_of(curve.ranks, sizes=[400.5]), "A size is 400.5. It is a whole number of"),
        (lambda curve: curve_of(curve.ranks, sizes=[float("inf")]), "A size is inf. It is a whole number of"),
        (lambda curve: curve_of(curve.ranks, sizes=500), "Sizes came as 500. They are a list. Pass sizes="),
    ],
)
def test_bad_input_is_three_sentences(call, message):
    with pytest.raises(InputError) as error:
        call(quarter())
    assert str(error.value).startswith(message)
    assert str(error.value).count(". ") >= 2
