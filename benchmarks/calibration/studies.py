"""The studies: how often limits and verdicts are wrong in many worlds of one kind, a cell of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.stats import t as student
from worlds import Unseen, World

from imgbench.significance import builds
from imgbench.significance.limits import limits, resamples
from imgbench.significance.paired import Comparison, paired

CHUNK = 50  # worlds that share one set of resamples
CONFIDENCE = 0.95
BOUNDS = (-1.0, 1.0)
MANY = 20_000  # clusters: larger corpora are not simulated

Row = dict[str, Any]
Pair = tuple[np.ndarray, np.ndarray]


def ours(values: np.ndarray, groups: np.ndarray, seed: int, *, together: bool = False) -> Pair:
    """Lower and upper limit of each row, as `paired` finds them."""
    found = limits(values, groups, BOUNDS, confidence=CONFIDENCE, seed=seed, together=together)
    return found.low, found.high


def t_per_query(values: np.ndarray, groups: np.ndarray, seed: int) -> Pair:
    """What a t interval over queries says: the clusters forgotten."""
    del groups, seed
    mean, count = values.mean(axis=1), values.shape[1]
    half = student.ppf(1 - (1 - CONFIDENCE) / 2, count - 1) * values.std(axis=1, ddof=1) / np.sqrt(count)
    return mean - half, mean + half


def t_clusters(values: np.ndarray, groups: np.ndarray, seed: int) -> Pair:
    """The t interval with the error of a ratio over clusters."""
    del seed
    sums, sizes = _by_cluster(values, groups)
    mean, count = values.mean(axis=1), len(sizes)
    error = np.sqrt(count / (count - 1) * ((sums - mean[:, None] * sizes) ** 2).sum(axis=1)) / sizes.sum()
    half = student.ppf(1 - (1 - CONFIDENCE) / 2, count - 1) * error
    return mean - half, mean + half


def percentile(values: np.ndarray, groups: np.ndarray, seed: int) -> Pair:
    """The percentile interval of a bootstrap over clusters."""
    sums, sizes = _by_cluster(values, groups)
    columns = np.vstack([sums, sizes]).T
    drawn = np.concatenate([weights @ columns for weights in resamples(len(sizes), seed)])
    means = np.sort(drawn[:, :-1] / drawn[:, -1:], axis=0)
    rank = int(len(means) * (1 - CONFIDENCE) / 2)
    return means[rank - 1], means[-rank]


def _by_cluster(values: np.ndarray, groups: np.ndarray) -> Pair:
    return np.array([np.bincount(groups, weights=row) for row in values]), np.bincount(groups).astype(float)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, int], Pair]] = {
    "imgbench": ours,
    "t_per_query": t_per_query,
    "t_clusters": t_clusters,
    "percentile": percentile,
}


class Tally:
    """Counts of one method in one cell, as shares of the worlds."""

    def __init__(self, name: str) -> None:
        self.name, self.worlds = name, 0
        self.holds = self.degrades = self.covered = self.half = 0.0

    def add(self, low: np.ndarray, high: np.ndarray, truth: float | np.ndarray) -> None:
        """A world a row; several points of a world in columns: wrong if one of them is."""
        shape = (len(low), -1)
        above, below = (low > truth).reshape(shape), (high < truth).reshape(shape)
        self.holds += above.any(axis=1).sum()
        self.degrades += below.any(axis=1).sum()
        self.covered += (~(above | below)).all(axis=1).sum()
        self.half += ((high - low) / 2).reshape(shape).mean(axis=1).sum()
        self.worlds += len(low)

    def row(self) -> Row:
        """False holds, false degrades, coverage and mean half-width."""
        wrong = {"false_holds": self.holds, "false_degrades": self.degrades}
        counts = wrong | {"coverage": self.covered, "half_width": self.half}
        return {f"{self.name} {name}": count / self.worlds for name, count in counts.items()}


def chunks(worlds: int) -> Iterator[int]:
    for start in range(0, worlds, CHUNK):
        yield min(CHUNK, worlds - start)


def single(cell: Row, worlds: int, rng: np.random.Generator) -> Row:
    """One point; the margin is the true loss."""
    world = World(cell["clusters"], cell["size"], cell["icc"], cell["shape"])
    tallies, groups = {name: Tally(name) for name in METHODS}, world.groups
    for count in chunks(worlds):
        values, seed = world.draw(rng, count, cell["share"]), int(rng.integers(2**32))
        for name, method in METHODS.items():
            tallies[name].add(*method(values, groups, seed), world.mean(cell["share"]))
    return {"true_mean": world.mean(cell["share"])} | merged(tallies)


def unseen(cell: Row, worlds: int, rng: np.random.Generator) -> Row:
    """Whole clusters lost among small changes; the margin is the true loss."""
    world = Unseen(cell["clusters"], cell["layout"], cell["lost"], cell["noise"])
    tallies, groups = {name: Tally(name) for name in METHODS}, world.groups
    for count in chunks(worlds):
        values, seed = world.draw(rng, count), int(rng.integers(2**32))
        for name, method in METHODS.items():
            tallies[name].add(*method(values, groups, seed), world.mean)
    return {"true_mean": world.mean} | merged(tallies)


def merged(tallies: dict[str, Tally]) -> Row:
    return {name: value for tally in tallies.values() for name, value in tally.row().items()}


def family(cell: Row, worlds: int, rng: np.random.Generator) -> Row:
    """Many points, each with its margin at its true loss: does any of them go wrong?"""
    world = World(cell["clusters"], cell["size"], cell["icc"], cell["shape"])
    tallies, groups = {name: Tally(name) for name in ("imgbench", "t_clusters")}, world.groups
    shares = np.geomspace(cell["share"], cell["share"] / 100, cell["points"])
    truth = np.array([world.mean(share) for share in shares])
    for _ in range(worlds):
        values = world.ladder(rng, shares, nested=cell["nested"])
        low, high = ours(values, groups, int(rng.integers(2**32)), together=True)
        tallies["imgbench"].add(low[None], high[None], truth)
        low, high = t_clusters(values, groups, 0)
        tallies["t_clusters"].add(low[None], high[None], truth)
    return merged(tallies)


def new_build(cell: Row, worlds: int, rng: np.random.Generator) -> Row:
    """Several builds; the limits are to cover the true loss of one that is not among them.

    Builds differ in the share of queries that change.
    """
    world, n = World(cell["clusters"], cell["size"], cell["icc"], cell["shape"]), cell["builds"]
    groups, mean = world.groups, world.mean(cell["share"])
    error = world.draw(rng, 200, cell["share"]).mean(axis=1).std()
    tallies = {name: Tally(name) for name in ("imgbench", "queries_only")}
    for count in chunks(worlds):
        factor = np.maximum(1 + cell["build_sd"] * error / abs(mean) * rng.standard_normal((count, n + 1)), 0)
        values = world.builds(rng, cell["share"] * factor[:, :n])
        seed, mean_values = int(rng.integers(2**32)), values.mean(axis=1)
        found = limits(mean_values, groups, BOUNDS, confidence=CONFIDENCE, seed=seed, together=False)
        wide = builds.widened(found, builds.spread(values), n, BOUNDS, confidence=CONFIDENCE, together=False)
        tallies["imgbench"].add(*wide, mean * factor[:, n])
        tallies["queries_only"].add(found.low, found.high, mean * factor[:, n])
    return {"true_mean": mean} | merged(tallies)


def relative(cell: Row, worlds: int, rng: np.random.Generator) -> Row:
    """The margin is 1 % of the exact score of the same queries; so is the true loss, of the true score."""
    shape = cell["clusters"], cell["size"], cell["icc"]
    lost, exact = World(*shape, "skewed"), World(*shape, "found")
    share, groups, wrong = 0.01 / 0.25, lost.groups, dict.fromkeys(METHODS, 0.0)
    for count in chunks(worlds):
        scores, seed = exact.draw(rng, count, 0.6), int(rng.integers(2**32))
        values, margin = lost.draw(rng, count, share) * scores, 0.01 * scores.mean(axis=1)
        for name, method in METHODS.items():
            wrong[name] += (method(values, groups, seed)[0] > -margin).sum()
    found = {f"{name} false_holds": count / worlds for name, count in wrong.items()}
    return {"share": share, "true_mean": -0.01 * exact.mean(0.6)} | found


def power(cell: Row, worlds: int, rng: np.random.Generator) -> Row:
    """No loss at all: how often is it proven smaller than the margin, at a point and at all at once?"""
    world = World(cell["clusters"], cell["size"], cell["icc"], cell["shape"])
    shares, groups = np.full(cell["points"], cell["share"]), world.groups
    tally, held, every = Tally("imgbench"), 0.0, 0
    for _ in range(worlds):
        values = world.ladder(rng, shares, nested=False)
        low, high = ours(values, groups, int(rng.integers(2**32)), together=True)
        tally.add(low[None], high[None], 0.0)
        held, every = held + (low > -cell["margin"]).mean(), every + (low > -cell["margin"]).all()
    found = tally.row() | {"holds": held / worlds, "all_hold": every / worlds}
    return found if cell["shape"] in ("ranks", "flips") else found | {"true_mean": world.mean(cell["share"])}


def unchanged(cell: Row, worlds: int, rng: np.random.Generator) -> Row:
    """Nothing changed: what the limits say then, no chance in it."""
    del worlds, rng
    groups = World(cell["clusters"], 1, 0.0, "whole").groups
    low, high = ours(np.zeros((cell["points"], len(groups))), groups, 0, together=True)
    return {"imgbench half_width": (high - low).mean() / 2}


def needed(cell: Row, worlds: int, rng: np.random.Generator) -> Row:
    """As many clusters as `clusters_needed` says: how often do they decide what was inconclusive?"""
    shape, open_, counts, decided = (cell["size"], cell["icc"], cell["shape"]), 0, [], 0

    def compared(clusters: int) -> Comparison:
        world = World(clusters, *shape)
        values, seed = world.draw(rng, 1, cell["share"]), int(rng.integers(2**32))
        return paired(values, world.groups, margin=cell["margin"], confidence=CONFIDENCE, seed=seed)[0]

    for _ in range(worlds):
        first = compared(cell["clusters"])
        open_ += first.verdict == "inconclusive"
        if first.clusters_needed is not None and first.clusters_needed < MANY:
            counts.append(first.clusters_needed)
            decided += compared(first.clusters_needed).verdict != "inconclusive"
    return {
        "true_mean": World(1, *shape).mean(cell["share"]),
        "inconclusive": open_ / worlds,
        "median_needed": float(np.median(counts)),
        "then_decided": decided / len(counts),
    }


STUDIES = {
    "single": single,
    "two scales": single,
    "unseen": unseen,
    "family": family,
    "builds": new_build,
    "relative": relative,
    "unchanged": unchanged,
    "needed": needed,
    "power": power,
}
