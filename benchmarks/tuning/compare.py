"""`imgbench.tune` against the full grid, on three corpora: the same choice, and for how many searches.

    python benchmarks/tuning/compare.py --seeds 20 --out benchmarks/tuning

The full grid searches every point with all queries and takes the cheapest whose simultaneous verdict holds.
Tuning is run with several seeds (its split, and with it everything that follows), for the two goals that no
clock decides. Indexes are built once and shared by all runs: how they are built is the same for both.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from searches import WORLDS, World

from imgbench import environment, significance
from imgbench.grids import default_grid
from imgbench.index import Index, IndexSpec
from imgbench.points import Protocol
from imgbench.significance import Comparison, Verdict
from imgbench.significance.margin import Margin
from imgbench.tuning import Tuning
from imgbench.tuning.candidates import ladders, parse
from imgbench.tuning.halves import split
from imgbench.tuning.provable import provable
from imgbench.tuning.trail import result
from imgbench.tuning.work import Task, Work

K = 10
GOALS = ("distances", "bytes")


@dataclass(frozen=True)
class Grid:
    """Every point searched with all queries: scores, costs, verdicts."""

    world: World
    specs: tuple[IndexSpec, ...]
    indexes: dict[str, Index]
    scores: dict[str, np.ndarray]
    distances: dict[str, float]
    bytes: dict[str, float]
    verdicts: dict[str, Verdict]

    @classmethod
    def search(cls, world: World) -> Grid:
        """What `imgbench run` would do."""
        specs = parse(default_grid(len(world.images), world.images.dim))
        indexes, scores, distances, sizes = {}, {}, {}, {}
        for spec in (IndexSpec.parse("Flat"), *specs):
            if spec.name not in indexes:
                indexes[spec.name] = Index.build(spec, world.images)
            index = indexes[spec.name]
            for params in spec.grid:
                key = spec.key(params)
                scores[key] = world.judge.matrix(index.search(world.queries, K, **params))[0]
                distances[key] = index.distance_computations(world.queries, K, **params)
                sizes[key] = float(index.bytes)
        keys = [key for key in scores if key != "Flat"]
        deltas = np.array([scores[key] - scores["Flat"] for key in keys])
        found = significance.paired(deltas, world.judge.clusters, margin=world.margin)
        verdicts = {key: each.verdict for key, each in zip(keys, found, strict=True)}
        return cls(world, specs, indexes, scores, distances, sizes, verdicts)

    @property
    def computations(self) -> tuple[float, float]:
        """Distance computations of the whole grid, with exact search and without."""
        queries = len(self.world.queries)
        total = queries * sum(self.distances.values())
        return total, total - queries * self.distances["Flat"]

    def cost(self, goal: str, key: str) -> float:
        """What the goal counts."""
        return self.distances[key] if goal == "distances" else self.bytes[key]

    def best(self, goal: str) -> str:
        """The cheapest point that holds, or exact search."""
        held = [key for key, verdict in self.verdicts.items() if verdict is Verdict.HOLDS]
        return min(["Flat", *held], key=lambda key: (self.cost(goal, key), self.distances[key]))

    def between(self, one: str, other: str) -> Comparison:
        """One point against another, over all queries."""
        deltas = self.scores[one] - self.scores[other]
        return significance.paired(deltas[None], self.world.judge.clusters, margin=self.world.margin)[0]

    def loss(self, key: str) -> float:
        """The mean difference to exact search over all queries."""
        return float((self.scores[key] - self.scores["Flat"]).mean())


def tuned(grid: Grid, goal: str, seed: int) -> Tuning:
    """One tuning, with the indexes that are there."""
    world = grid.world
    tune, confirm = split(world.judge.clusters, seed)
    task = Task(
        judge=world.judge,
        specs=grid.specs,
        ladders=tuple(map(tuple, ladders(grid.specs))),
        goal=goal,
        margin=Margin.parse(world.margin),
        confidence=0.95,
        k=K,
        seed=seed,
        protocol=Protocol(),
        tune=tune,
        confirm=confirm,
        floor=provable(confirm, 0.95, seed),
    )
    work = Work(task, grid.indexes, world.queries, K, lambda _: None)
    choice = work.choose()
    return result(work, choice, work.confirm(choice), [])


def row(grid: Grid, goal: str, seeds: int) -> dict[str, Any]:
    """One line of the table: the full grid's choice, and what tuning chose with each seed."""
    best, found = grid.best(goal), [tuned(grid, goal, seed) for seed in range(seeds)]
    chosen = [each.best.key if each.best else "Flat" for each in found]
    every, without = grid.computations
    spent = np.array([each.distances.total for each in found])
    exact = np.array([each.distances.exact for each in found])
    paired = {key: grid.between(key, best) for key in set(chosen)}
    return {
        "world": grid.world.name,
        "goal": goal,
        "points": len(grid.verdicts),
        "images": len(grid.world.images),
        "queries": len(grid.world.queries),
        "clusters": int(grid.world.judge.clusters.max()) + 1,
        "margin": grid.world.margin,
        "grid_best": best,
        "grid_loss": grid.loss(best),
        "chosen": dict(Counter(chosen).most_common()),
        "nothing": chosen.count("Flat"),
        "same": chosen.count(best),
        "not_proven_worse": sum(paired[key].high >= -grid.world.margin for key in chosen),
        "losses": {key: grid.loss(key) for key in paired},
        "cost_ratio": sorted(grid.cost(goal, key) / grid.cost(goal, best) for key in chosen),
        "gain": sorted(each.gain or 1.0 for each in found),
        "share": (spent / every).tolist(),
        "share_without_exact": ((spent - exact) / without).tolist(),
        "looked_at": [sum(trial.queries > 0 for trial in each.trail) for each in found],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    head = "corpus", "goal", "full grid's choice", "same choice", "cost / grid's choice: median, worst"
    head += "no answer", "distance computations / grid's: mean, most", "without exact search"
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for each in rows:
        seeds, ratios = len(each["share"]), each["cost_ratio"]
        share, without = each["share"], each["share_without_exact"]
        lines.append(
            f"| {each['world']} | {each['goal']} | `{each['grid_best']}` | {each['same']} of {seeds} "
            f"| {np.median(ratios):.2f}, {max(ratios):.2f} | {each['nothing']} "
            f"| {np.mean(share):.3f}, {max(share):.3f} | {np.mean(without):.3f}, {max(without):.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """All corpora and goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.worlds:
        start = time.perf_counter()
        grid = Grid.search(WORLDS[name]())
        print(f"{name}: full grid in {time.perf_counter() - start:.0f} s", flush=True)
        for goal in GOALS:
            start = time.perf_counter()
            rows.append(row(grid, goal, options.seeds))
            print(
                f"{name}, {goal}: {options.seeds} tunings in {time.perf_counter() - start:.0f} s", flush=True
            )
            print(json.dumps(rows[-1]["chosen"]), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text(table(rows) + "\n", encoding="utf-8")
    record = {"environment": environment.describe(), "rows": rows}
    (options.out / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
