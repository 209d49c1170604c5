"""The race and its forecast, on made differences whose truth is known: no index, no search."""

from __future__ import annotations

import numpy as np
import pytest

from imgbench import significance
from imgbench.significance import Verdict
from imgbench.tuning.chance import Changes, Forecast
from imgbench.tuning.race import SAFE, Race

CLUSTERS, SIZE, MARGIN = 300, 2, 0.02
GROUPS = np.repeat(np.arange(CLUSTERS), SIZE)
FLOOR = -significance.paired(np.zeros((1, CLUSTERS)), np.arange(CLUSTERS), margin=0.0)[0].low
FORECAST = Forecast(MARGIN, CLUSTERS, FLOOR)


def losses(rng, mean, share=0.02):
    """Differences of every query: a share of the clusters changes, and loses enough for that mean."""
    share = max(share, 2 * mean)
    changed = rng.random(CLUSTERS) < share
    return np.repeat(-rng.uniform(0, 2 * mean / share, CLUSTERS) * changed, SIZE)


class Fake:
    """A function that looks at planted differences and notes how far."""

    def __init__(self, planted):
        self.planted, self.seen = planted, {}

    def __call__(self, point, clusters):
        self.seen[point] = max(self.seen.get(point, 0), clusters)
        part = slice(0, clusters * SIZE)
        return self.planted[point][part], GROUPS[part]


def raced(planted, ladders, **options):
    fake = Fake(planted)
    race = Race(ladders, fake, FORECAST, CLUSTERS, **options)
    race.run()
    return race, fake


def world(seed, means, share=0.02):
    rng = np.random.default_rng(seed)
    return [losses(rng, mean, share) for mean in means]


def test_the_answer_that_was_planted_is_found_and_dear_points_are_left_alone():
    # Two ladders, interleaved in cost: 0 2 4 6 8 and 1 3 5 7 9. The first rung that holds is 4.
    planted = world(1, [0.2, 0.3, 0.05, 0.1, 0.0005, 0.03, 0.0, 0.0, 0.0, 0.0])
    race, fake = raced(planted, [(0, 2, 4, 6, 8), (1, 3, 5, 7, 9)])
    assert race.finalists() == [6, 4]
    assert {0, 1, 2, 3}.issubset(race.lost)
    assert fake.seen[4] > 64
    assert all(fake.seen.get(point, 0) <= 64 for point in (7, 8, 9))


def test_a_rung_that_is_lost_takes_the_cheaper_ones_of_its_ladder_along():
    race, fake = raced(world(2, [0.3, 0.25, 0.2, 0.2, 0.0, 0.0, 0.0]), [tuple(range(7))])
    assert race.lost[0] == race.lost[1] == race.lost[2] == 3
    assert not {0, 1, 2}.intersection(fake.seen)


def test_searches_are_few():
    planted = world(3, [0.1 / 2**point for point in range(8)] * 6)
    ladders = [tuple(range(start, 48, 6)) for start in range(6)]
    order = [planted[point // 6] for point in range(48)]
    _, fake = raced(order, ladders)
    costs = {point: 2 ** (point // 6) for point in range(48)}
    assert sum(costs[point] * seen for point, seen in fake.seen.items()) < sum(costs.values()) * CLUSTERS / 5


def test_nothing_likely_names_the_one_that_comes_closest():
    race, _ = raced(world(4, [0.2, 0.1, 0.05]), [(0, 1, 2)])
    assert race.finalists() == [2]


def test_no_change_in_few_clusters_settles_nothing():
    race, fake = raced(world(5, [0.0]), [(0,)])
    assert fake.seen[0] > 64
    assert FORECAST.outlook(np.zeros(128), GROUPS[:128], 0.25).chance < SAFE
    assert race.finalists() == [0]


def test_the_next_rung_is_the_insurance():
    race, _ = raced(world(6, [0.2, 0.0, 0.0, 0.0]), [(0, 1, 2, 3)])
    assert race.finalists() == [2, 1]


def test_chances_are_about_right():
    # Points whose loss lies anywhere up to a fifth above the margin, over two fresh halves each.
    told, held = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        mean = rng.uniform(0.002, 0.024)
        first, second = losses(rng, mean), losses(rng, mean)
        told.append(FORECAST.outlook(first, GROUPS, 0.25).chance)
        found = significance.paired(second[None], GROUPS, margin=MARGIN)[0]
        held.append(found.verdict is Verdict.HOLDS)
    told, held = np.array(told), np.array(held)
    assert held[told > 0.9].mean() > 0.8
    assert held[told < 0.1].mean() < 0.2
    assert abs(told.mean() - held.mean()) < 0.1


def test_a_large_half_proves_more_than_its_first_clusters_show():
    # Of 5,000 clusters, 2,000 are looked at: all unchanged, they are as likely to hold as any point can be.
    floor = -significance.paired(np.zeros((1, 5000)), np.arange(5000), margin=0.0)[0].low
    seen = Forecast(0.001, 5000, floor).outlook(np.zeros(2000), np.arange(2000), 0.25)
    assert floor < 0.001
    assert seen.share == 1.0


def test_a_larger_cluster_in_the_other_half_counts():
    wide = Forecast(MARGIN, CLUSTERS, 0.9 * MARGIN).outlook(np.zeros(len(GROUPS)), GROUPS, 0.25)
    assert wide.chance < FORECAST.outlook(np.zeros(len(GROUPS)), GROUPS, 0.25).chance - 0.1
    assert wide.share == 1.0


def test_what_is_unseen_loses_a_quarter_at_least():
    changes = Changes()
    assert changes.typical == 0.25
    changes.note(0, np.array([0.0, 0.0, -0.02, 0.0]), np.array([0, 0, 1, 1]))
    assert changes.typical == 0.25
    changes.note(0, np.array([0.0, 0.0, -1.0, -0.5]), np.array([0, 0, 1, 1]))
    assert changes.typical == 0.75


@pytest.mark.parametrize("share", [0.04, 0.1])
def test_false_recommendations_are_rare(share, monkeypatch):
    """Every point of this world loses exactly the margin: whatever is recommended is wrong.

    A forecast that hopes for limits without width picks the luckiest points: that must not matter.
    """
    monkeypatch.setattr(Forecast, "_half", lambda *_: 0.0)
    worlds, wrong, tempting = 200, 0, 0
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        scale = MARGIN / share

        def half(rng=rng, scale=scale):
            changed = rng.random((6, CLUSTERS)) < share
            lost = rng.choice([0.5, 1.5], (6, CLUSTERS)) * scale * changed
            return [np.repeat(-row, SIZE) for row in np.minimum(lost, 1.0)]

        seen, fresh = half(), half()
        race, _ = raced(seen, [(0, 2, 4), (1, 3, 5)])
        wrong += recommended(race.finalists(), fresh) is not None
        tempting += any(holds(seen[point]) for point in race.finalists())
    assert wrong / worlds <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / worlds)
    assert tempting > 2 * wrong  # the same queries may not choose and prove


def recommended(finalists, planted):
    """The last of the finalists that held, before one that did not."""
    best = None
    for point in finalists:
        if not holds(planted[point]):
            break
        best = point
    return best


def holds(deltas):
    """At confidence 0.9, whose one-sided error is 5 %."""
    found = significance.paired(deltas[None], GROUPS, margin=MARGIN, confidence=0.9)[0]
    return found.verdict is Verdict.HOLDS
