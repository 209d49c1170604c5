from __future__ import annotations

import json

import numpy as np
import pytest

from imgbench import Run
from imgbench.overlaps import against_quality, lost_each


def test_losses_that_go_together_correlate() -> None:
    rng = np.random.default_rng(0)
    lost = rng.integers(0, 11, 2000) / 10
    found = against_quality(lost, -0.5 * lost)
    assert (found.pearson, found.spearman) == (pytest.approx(1), pytest.approx(1))
    assert found.unharmed == 0
    assert [each.lost for each in found.bins] == pytest.approx(np.arange(11) / 10)
    assert [each.mean for each in found.bins] == pytest.approx(-0.05 * np.arange(11))
    assert sum(each.queries for each in found.bins) == 2000


def test_losses_that_have_nothing_to_do_with_each_other() -> None:
    rng = np.random.default_rng(0)
    found = against_quality(rng.integers(0, 11, 5000) / 10, -rng.random(5000))
    assert abs(found.pearson) < 0.05
    assert abs(found.spearman) < 0.05
    assert all(each.mean == pytest.approx(-0.5, abs=0.1) for each in found.bins)


def test_overlap_that_costs_nothing() -> None:
    found = against_quality(np.array([0.0, 0.3, 0.5, 0.1]), np.array([0.0, 0.0, 0.1, -0.2]))
    assert found.unharmed == pytest.approx(2 / 3)  # a query that gained was not harmed
    same = against_quality(np.zeros(20), np.zeros(20))
    assert (same.pearson, same.spearman, same.unharmed) == (None, None, None)
    assert [(each.lost, each.queries) for each in same.bins] == [(0, 20)]
    assert json.loads(json.dumps(same.to_dict()))["bins"][0]["mean"] == 0


def test_what_each_query_lost() -> None:
    images = ["a", "b", "c", "d"]
    exact = Run.from_search(["q1", "q2"], images, [[4, 3], [4, 3]], [[0, 1], [2, 3]])
    near = Run.from_search(["q2", "q1"], images, [[4, 3], [4, 3]], [[2, 0], [0, 1]])
    assert lost_each(near, exact, 2, ("q1", "q2", "unanswered")).tolist() == [0, 0.5, 0]
