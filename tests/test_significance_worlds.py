"""How often limits and verdicts are wrong, in simulated worlds: benchmarks/calibration, but smaller."""

from __future__ import annotations

import csv
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imgbench.significance import builds, paired
from imgbench.significance.limits import limits

CALIBRATION = Path(__file__).parent.parent / "benchmarks" / "calibration"
MADE = runpy.run_path(str(CALIBRATION / "worlds.py"))
World, Unseen = MADE["World"], MADE["Unseen"]
WORLDS = 300


def tolerated(rate: float, worlds: int = WORLDS, errors: float = 3) -> float:
    """A rate with its Monte-Carlo error; seeds are fixed, so a test passes always or never."""
    return rate + errors * np.sqrt(rate * (1 - rate) / worlds)


def drawn(world, share: float, worlds: int = WORLDS) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits, a row a world, as if each had been given alone."""
    found = limits(
        world.draw(np.random.default_rng(1), worlds, share), world.groups, (-1.0, 1.0),
        confidence=0.95, seed=0, together=False,
    )  # fmt: skip
    return found.low, found.high


@pytest.mark.parametrize("shape", ["whole", "skewed", "mixed", "two scales"])
@pytest.mark.parametrize(("size", "icc"), [(1, 0.0), (5, 0.3), (0, 0.6)])
def test_worlds_are_what_they_say(shape, size, icc) -> None:
    world = World(200, size, icc, shape)
    values = world.draw(np.random.default_rng(0), 200, 0.1)
    means = values.mean(axis=1)
    assert abs(means.mean() - world.mean(0.1)) < 4 * means.std() / np.sqrt(200)
    assert (values != 0).mean() == pytest.approx(0.1, rel=0.1)
    if size == 5:
        pairs = values.reshape(-1, 5)
        assert np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1] == pytest.approx(icc, abs=0.05)


def test_a_ladder_shares_its_changes() -> None:
    shares = np.array([0.2, 0.05, 0.01])
    ladder = World(3000, 5, 0.3, "skewed").ladder(np.random.default_rng(0), shares, nested=True)
    assert (ladder[0][ladder[1] != 0] == ladder[1][ladder[1] != 0]).all()
    assert (ladder != 0).mean(axis=1) == pytest.approx(shares, rel=0.2)


@pytest.mark.parametrize(
    ("clusters", "size", "icc", "share", "shape"),
    [
        (300, 5, 0.6, 0.001, "whole"),
        (300, 5, 0.6, 0.01, "skewed"),
        (300, 5, 0.6, 0.05, "mixed"),
        (300, 0, 0.3, 0.05, "whole"),
        (300, 1, 0.0, 0.05, "mixed"),
        (300, 1, 0.0, 0.2, "skewed"),
        (200, 10, 0.6, 0.2, "skewed"),
        (300, 1, 0.0, 0.1, "two scales"),
        (300, 1, 0.0, 0.02, "two scales"),
    ],
)
def test_false_verdicts_and_coverage_with_the_loss_at_the_margin(clusters, size, icc, share, shape) -> None:
    world = World(clusters, size, icc, shape)
    low, high = drawn(world, share)
    false_holds, false_degrades = (low > world.mean(share)).mean(), (high < world.mean(share)).mean()
    assert false_holds <= tolerated(0.025)
    assert false_holds + false_degrades <= tolerated(0.05)


@pytest.mark.parametrize(("share", "shape"), [(0.01, "skewed"), (0.05, "whole"), (0.05, "mixed")])
def test_the_per_query_t_interval_fails_the_same_test(share: float, shape: str) -> None:
    world = World(300, 5, 0.6, shape)
    deltas = world.draw(np.random.default_rng(1), WORLDS, share)
    error = deltas.std(axis=1, ddof=1) / np.sqrt(deltas.shape[1])
    assert (deltas.mean(axis=1) - 1.96 * error > world.mean(share)).mean() > tolerated(0.05)


@pytest.mark.parametrize(("shape", "nested"), [("whole", True), ("mixed", False)])
def test_bounds_hold_for_all_points_at_once(shape: str, nested: bool) -> None:
    rng, world, shares = np.random.default_rng(2), World(200, 5, 0.3, shape), np.geomspace(0.2, 0.002, 8)
    missed = 0
    for _ in range(40):
        found = paired(world.ladder(rng, shares, nested=nested), world.groups, margin=0.0)
        truth = [world.mean(share) for share in shares]
        missed += any(not point.low <= mean <= point.high for point, mean in zip(found, truth, strict=True))
    assert missed / 40 <= tolerated(0.05, 40, errors=2)


@pytest.mark.parametrize(("count", "ratio"), [(3, 0.0), (3, 2.0), (10, 2.0)])
def test_a_new_build_is_covered(count: int, ratio: float) -> None:
    """`ratio`: how much builds differ, in units of the queries' error; without it their limits miss."""
    rng, world, share = np.random.default_rng(3), World(400, 5, 0.3, "whole"), 0.1
    error = world.draw(rng, 100, share).mean(axis=1).std() / abs(world.mean(share))
    shares = share * np.maximum(1 + ratio * error * rng.standard_normal((200, count + 1)), 0)
    values = world.builds(rng, shares[:, :count])
    found = limits(values.mean(axis=1), world.groups, (-1.0, 1.0), confidence=0.95, seed=0, together=False)
    low, high = builds.widened(
        found, builds.spread(values), count, (-1.0, 1.0), confidence=0.95, together=False
    )
    truth = np.array([world.mean(share) for share in shares[:, count]])
    assert ((low > truth) | (truth > high)).mean() <= tolerated(0.05, 200)
    if ratio:
        assert ((found.low > truth) | (truth > found.high)).mean() > 0.2


def test_a_search_without_loss_is_proven_so() -> None:
    rng, world = np.random.default_rng(4), World(1000, 5, 0.1, "ranks")
    single = drawn(world, 0.02, 100)[0]
    assert (single > -0.005).mean() >= 0.9
    of_eight = [
        point.verdict == "holds"
        for _ in range(10)
        for point in paired(world.ladder(rng, np.full(8, 0.02), nested=False), world.groups, margin=0.01)
    ]
    assert np.mean(of_eight) >= 0.85


@pytest.mark.parametrize("layout", ["equal", "unequal", "some large", "one giant"])
def test_small_changes_say_nothing_of_whole_clusters_that_were_not_seen(layout: str) -> None:
    """A cluster in so many loses all while others change a little: the trap for limits from what was seen."""
    world = Unseen(300, layout, lost=0.004, noise=0.02)
    values = world.draw(np.random.default_rng(6), 200)
    found = limits(values, world.groups, (-1.0, 1.0), confidence=0.95, seed=0, together=False)
    assert (found.low > world.mean).mean() <= tolerated(0.025, 200)


def test_a_search_that_changed_something_is_not_proven_better_than_one_that_did_not() -> None:
    groups = np.arange(200).repeat(10)
    deltas = np.zeros((2, 2000))
    deltas[0, ::100] = 0.02 * (-1.0) ** np.arange(20)
    changed, same = paired(deltas, groups, margin=0.005)
    assert changed.low == pytest.approx(same.low, rel=0.01)
    assert changed.verdict == same.verdict == "inconclusive"


def test_as_many_clusters_as_needed_decide_more_often_than_not() -> None:
    rng, world = np.random.default_rng(5), World(100, 5, 0.1, "skewed")
    decided = []
    for _ in range(20):
        first = paired(world.draw(rng, 1, 0.05), world.groups, margin=0.02)[0]
        if first.verdict == "inconclusive":
            more = World(first.clusters_needed, 5, 0.1, "skewed")
            decided.append(paired(more.draw(rng, 1, 0.05), more.groups, margin=0.02)[0].verdict)
    assert len(decided) >= 10
    assert np.mean([verdict != "inconclusive" for verdict in decided]) >= 0.5


@pytest.fixture(scope="module")
def table() -> list[dict[str, str]]:
    """The table of the large run."""
    with (CALIBRATION / "table.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_no_cell_of_the_large_run_is_wrong_too_often(table) -> None:
    judged = [row for row in table if row["imgbench coverage"]]
    assert len(judged) > 500
    for row in judged:
        most = tolerated(0.05, int(row["worlds"]), errors=2)
        assert float(row["imgbench false_holds"]) <= most, row
        assert float(row["imgbench coverage"]) >= 1 - most - 1e-9, row
    assert all(
        float(row["imgbench false_holds"]) <= tolerated(0.05, int(row["worlds"]), errors=2)
        for row in table
        if row["study"] == "relative"
    )
    failing = [float(row["t_per_query false_holds"]) > 0.1 for row in table if row["study"] == "single"]
    assert np.mean(failing) > 0.3


def test_the_large_run_had_the_power_it_should(table) -> None:
    power = [row for row in table if row["study"] == "power" and row["shape"] == "ranks"]
    rates = {(float(row["icc"]), int(row["points"])): float(row["holds"]) for row in power}
    assert min(rates[0.0, 1], rates[0.0, 8], rates[0.1, 1], rates[0.1, 8]) >= 0.9


def test_the_script_writes_the_table_that_is_shipped(table, tmp_path) -> None:
    script = [sys.executable, str(CALIBRATION / "calibrate.py"), "--quick", "--only", "unchanged"]
    done = subprocess.run([*script, "--out", str(tmp_path)], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("unchanged: 21 cells")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        again = list(csv.DictReader(file))
    shipped = [row for row in table if row["study"] == "unchanged"]
    for mine, theirs in zip(again, shipped, strict=True):
        for name in ("clusters", "points", "imgbench half_width"):
            assert float(mine[name]) == pytest.approx(float(theirs[name]), rel=0.001)
