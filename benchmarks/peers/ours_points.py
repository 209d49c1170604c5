"""Tuned points of both libraries in one measurement: ours_points.py FOLDER POINTS.

POINTS is JSON: the name of each point of the peer, its index file, its search parameters. Beside them stands
imgbench's default grid. Two points of that grid are chosen for each of the peer's, on one half of the
queries: the fastest that finds no less of exact search's top 10, and the one that finds most of it in no more
time. All figures are those of the other half. The photographs are split, so that no photograph is asked for
in both. Latency is that of single queries on one thread, the points interleaved at random.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import faiss
import numpy as np
from peer_said import say

import imgbench as ib
from imgbench import timing
from imgbench.grids import default_grid
from imgbench.index import IndexSpec
from imgbench.qrels import Qrels
from imgbench.significance.paired import paired

K, CALLS = 10, 1000
MARGIN = 0.01  # asked for by the paired test; only its interval is used

Searches = Mapping[str, tuple[ib.Index, dict]]


def main(folder: Path, points: dict[str, dict]) -> None:
    images = ib.Embeddings.load(folder / "images.npy")
    queries = ib.Embeddings.load(folder / "queries.npy")
    judged = Qrels.read_csv(folder / "qrels.csv").to_dict()
    numbers = np.unique([next(iter(judged[query])) for query in queries.ids], return_inverse=True)[1]
    odd = numbers % 2
    searches = dict(_grid(images))
    ours = list(searches)
    for name, point in points.items():
        searches[name] = ib.Index.wrap(images.ids, faiss.read_index(point["index"])), point["params"]
    seen, _ = _measured(searches, queries.select(np.flatnonzero(odd)))
    chosen = {name: [_equal(name, ours, seen), _near(name, ours, seen)] for name in points}

    kept = queries.select(np.flatnonzero(odd == 0))
    figures, runs = _measured(searches, kept)
    judge = ib.Evaluator({query: judged[query] for query in kept.ids}, ["nDCG@10"])
    for name, (index, _) in searches.items():
        figures[f"{name}: nDCG@10"] = judge.score(runs[name])["nDCG@10"]
        figures[f"{name}: MB"] = index.bytes / 1e6
    intervals = {}
    for name, (_, near) in chosen.items():
        gain = judge.compare(runs[near], runs[name], margin=MARGIN)["nDCG@10"]
        each = [runs[key].overlap_each(runs["Flat"], K) for key in (near, name)]
        (found,) = paired((each[0] - each[1])[None], numbers[odd == 0], margin=MARGIN)
        intervals[name] = [[gain.low, gain.high], [found.low, found.high]]
    say(figures, {}, ("imgbench", "faiss-gpu", "faiss-cpu"), chosen=chosen, intervals=intervals)


def _measured(searches: Searches, queries: ib.Embeddings) -> tuple[dict[str, float], dict[str, ib.Run]]:
    """Median milliseconds of a query and overlap with exact search of every point; what they found."""
    runs = {name: index.search(queries, k=K, **params) for name, (index, params) in searches.items()}
    figures = {f"{name}: overlap@10": run.overlap(runs["Flat"], k=K) for name, run in runs.items()}
    rows, calls = queries.float32(), {}
    for name, (index, params) in searches.items():
        bare = index.searcher(K, **params)
        calls[name] = lambda query, bare=bare: bare(rows[query : query + 1])
    for name, found in timing.latency(calls, queries=len(rows), calls_each=CALLS).items():
        figures[f"{name}: ms"] = found.p50.value
    return figures, runs


def _grid(images: ib.Embeddings) -> Iterator[tuple[str, tuple[ib.Index, dict]]]:
    """Exact search and every point that `imgbench tune` looks at."""
    for text in ("Flat", *default_grid(len(images), images.dim)):
        spec, index = IndexSpec.parse(text), ib.Index.build(text.partition("?")[0], images)
        for params in spec.grid:
            yield spec.key(params), (index, params)


def _equal(peer: str, keys: list[str], figures: dict[str, float]) -> str:
    """The fastest point that finds no less of exact search's top 10 than the peer's, or exact search."""
    good = [key for key in keys if figures[f"{key}: overlap@10"] >= figures[f"{peer}: overlap@10"]]
    return min(good, key=lambda key: figures[f"{key}: ms"])


def _near(peer: str, keys: list[str], figures: dict[str, float]) -> str:
    """The point that finds most of exact search's top 10 in no more time than the peer's."""
    fast = [key for key in keys if figures[f"{key}: ms"] <= figures[f"{peer}: ms"]]
    fast = fast or [min(keys, key=lambda key: figures[f"{key}: ms"])]
    return max(fast, key=lambda key: figures[f"{key}: overlap@10"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
