"""What a corpus can prove, said before the run and held against what `paired` proves then."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from imgbench.errors import InputError
from imgbench.significance import detectable, paired

World = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "calibration" / "worlds.py"))[
    "World"
]


@pytest.mark.parametrize(("clusters", "size", "points"), [(200, 1, 1), (1000, 5, 8), (60, 0, 3), (10, 3, 1)])
def test_the_floor_is_the_limit_of_a_search_that_changes_nothing(clusters, size, points) -> None:
    groups = World(clusters, size, 0.0, "whole").groups
    same = paired(np.zeros((points, len(groups))), groups, margin=0.005, confidence=0.9)
    plan = detectable(groups * 3 - 7, points=points, confidence=0.9)
    assert plan.floor == pytest.approx(-same[0].low, rel=0.01)
    assert (plan.clusters, plan.points, plan.confidence) == (clusters, points, 0.9)


@pytest.mark.parametrize(("clusters", "size", "points", "changed"), [(300, 5, 4, 0.05), (500, 1, 1, 0.2)])
def test_four_in_five_searches_without_loss_prove_the_typical_margin(clusters, size, points, changed) -> None:
    world, rng = World(clusters, size, 0.1, "ranks"), np.random.default_rng(1)
    plan = detectable(world.groups, points=points, changed=changed)
    reports = [
        paired(
            world.ladder(rng, np.full(points, changed), nested=False),
            world.groups, margin=plan.typical, seed=seed,
        )
        for seed in range(60)
    ]  # fmt: skip
    power = np.mean([[point.verdict == "holds" for point in report] for report in reports])
    # 60 reports, and 200 in the plan, have an error of 0.06; how large changes are is not the same either.
    assert power == pytest.approx(0.8, abs=0.14)


def test_more_of_each_is_worth_what_it_should_be() -> None:
    photos = np.arange(200)
    plain = detectable(photos)
    common, more = (detectable(np.arange(count), changed=0.3).typical for count in (300, 1200))
    assert more == pytest.approx(common / 2, rel=0.25)
    assert detectable(np.arange(800)).floor == pytest.approx(plain.floor / 4, rel=0.01)
    assert detectable(photos, points=8).floor == pytest.approx(
        plain.floor * np.log(320) / np.log(40), rel=0.02
    )
    assert detectable(photos, points=8).typical > plain.typical
    assert detectable(photos, changed=0.4).typical > 1.5 * plain.typical
    assert detectable(photos.repeat(5)).typical < plain.typical
    assert detectable(photos.repeat(5)).floor == plain.floor
    assert plain == detectable(photos)
    assert plain.least == min(plain.floor, plain.typical)


def test_a_plan_is_two_sentences() -> None:
    plan = detectable(np.arange(1000).repeat(5), points=8, changed=0.02, size=0.25)
    assert str(plan) == (
        "With 1,000 clusters of queries and 8 points a search that changes nothing proves that less than "
        f"0.0058 is lost, and no smaller margin. One that loses nothing but changes 2 % of the queries, by "
        f"about 0.25 each, proves a margin of {plan.typical:.2g} in four cases of five."
    )


@pytest.mark.parametrize(
    ("clusters", "options", "message"),
    [
        (9, {}, r"There are 9 clusters of queries\. An interval needs at least 10\. Ask more queries\."),
        (20, {"points": 0}, r"There are 0 points\. A plan needs at least 1\. Count what you compare\."),
        (20, {"changed": 0.0}, r"The share of changed queries is 0\.0\. It lies between 0 and 1\."),
        (20, {"size": 2.0}, r"The size of a change is 2\.0\. It lies between 0 and 1\."),
        (20, {"confidence": 95}, r"The confidence is 95\."),
    ],
)
def test_wrong_inputs_are_refused(clusters: int, options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        detectable(np.arange(clusters), **options)
