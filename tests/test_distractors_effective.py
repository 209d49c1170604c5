"""Effective sizes: how many random images are as hard."""

from __future__ import annotations

import numpy as np
import pytest
from test_distractors_larger import MEASURES, gallery, part, quarter

from imgbench.distractors import Reach, curve_of, effective_size
from imgbench.errors import InputError
from imgbench.ranks import relevant_ranks


def test_a_corpus_is_as_hard_as_itself():
    curve = quarter()
    for size in (900, 2225, 6000):
        found = effective_size(curve, curve.scores([size])[2, 0], "RR")
        assert found.size == pytest.approx(size, rel=0.01)
        assert found.reach is (Reach.EXTRAPOLATED if size > 2225 else Reach.MEASURED)
        assert found.low <= found.size <= found.high
        assert found.distractors == found.size - 300
    exact = effective_size(curve, curve.scores([900])[2, 0], "RR")
    assert exact.high - exact.low < 30  # the same queries: nothing varies but the interpolation


def test_harder_random_images_count_for_more():
    """The pool's images that are near the queries, against all of them."""
    images, queries, judged = gallery()
    near = (queries.vectors @ images.vectors[300:2225].T).max(axis=0)
    hard = [*range(300), *(300 + np.argsort(-near)[:400])]
    ranks = relevant_ranks(images.select(hard), queries, judged)
    found = effective_size(quarter(), ranks, "nDCG@10")
    assert 1.2 * 700 < found.low < found.size < found.high
    assert str(found).startswith(f"nDCG@10 {found.score:.3f}: as hard as {found.size:,} images (")
    by_name = dict(zip(ranks.qrels.query_ids, curve_of(ranks, "nDCG@10").scores([700])[0, 0], strict=True))
    assert effective_size(quarter(), by_name) == found


def test_beyond_what_was_checked_there_is_no_number():
    curve = quarter()
    found = effective_size(curve, np.zeros(900), "RR")
    assert (found.size, found.high, found.low, found.distractors) == (None, None, curve.farthest, None)
    assert found.reach is Reach.BEYOND
    assert str(found) == "RR 0.000: harder than 15,700 images (beyond what was checked)"
    short = effective_size(curve_of(part(2225), MEASURES), np.zeros(900), "RR")
    assert short.low == 2225


def test_easier_than_the_whole_curve_there_is_no_number():
    curve = quarter()
    found = effective_size(curve, np.ones(900), "RR")
    assert (found.size, found.distractors, found.low, found.high) == (None, None, 0, 300)
    assert found.reach is Reach.EASIER
    assert str(found) == "RR 1.000: easier than 300 images (above the whole curve)"
    # As easy as the smallest corpus is as hard as it, whatever rounding did.
    same = effective_size(curve, curve.scores([300])[2, 0] + 1e-12, "RR")
    assert (same.size, same.low, same.high, same.reach) == (300, 300, 300, Reach.MEASURED)


def test_limits_on_both_sides_of_the_smallest_corpus():
    curve = quarter()
    top = curve.scores([300])[2, 0]
    for share, reach in ((0.9, Reach.EASIER), (0.85, Reach.MEASURED)):
        # Harder for every third image's queries, easier for the others.
        score = np.where(curve.clusters % 3 == 0, top * share, np.minimum(top + 0.2, 1))
        found = effective_size(curve, score, "RR")
        assert found.reach is reach
        assert found.low == 0
        assert found.high > 300
    assert str(found) == f"RR 0.828: as hard as {found.size} images (up to {found.high}; measured)"


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda curve: effective_size(curve, np.zeros(900), confidence=95), "The confidence is 95. It lies"),
        (lambda curve: effective_size(curve, np.zeros(3)), "Scores of shape (3,) came for 900 queries."),
        (
            lambda curve: effective_size(curve, {"q0": 1.0}),
            "Scores of 1 queries came for a curve of 900, not",
        ),
        (lambda curve: effective_size(curve, np.zeros(900), "P@1"), "'P@1' is not a measure of this curve."),
        (
            lambda curve: effective_size(curve, np.full(900, 1.7), "RR"),
            "The scores are 1.7 to 1.7. RR lies between 0 and 1. Pass each query's score, not a sum or",
        ),
        (
            lambda curve: effective_size(curve, np.full(900, -0.1)),
            "The scores are -0.1 to -0.1. nDCG@10 lies",
        ),
        (lambda curve: effective_size(curve, ["a"] * 900), "Scores came as list, not all of them numbers."),
    ],
)
def test_bad_input_is_three_sentences(call, message):
    with pytest.raises(InputError) as error:
        call(quarter())
    assert str(error.value).startswith(message)
    assert str(error.value).count(". ") >= 2
