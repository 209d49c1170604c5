"""Tuned points of both libraries in one measurement: ours_points.py FOLDER POINTS.

POINTS is JSON: the name of each point of the peer, its index file, its search parameters. Beside them stands
imgbench's default grid. Latency is that of single queries on one thread, the points interleaved at random.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import faiss
from peer_said import say

import imgbench as ib
from imgbench import timing
from imgbench.grids import default_grid
from imgbench.index import IndexSpec

K, CALLS = 10, 1000


def main(folder: Path, points: dict[str, dict]) -> None:
    images = ib.Embeddings.load(folder / "images.npy")
    queries = ib.Embeddings.load(folder / "queries.npy")
    judge = ib.Evaluator(folder / "qrels.csv", ["nDCG@10"])
    searches = dict(_grid(images))
    for name, point in points.items():
        searches[name] = ib.Index.wrap(images.ids, faiss.read_index(point["index"])), point["params"]
    runs = {name: index.search(queries, k=K, **params) for name, (index, params) in searches.items()}
    rows, calls, figures = queries.float32(), {}, {}
    for name, (index, params) in searches.items():
        figures[f"{name}: nDCG@10"] = judge.score(runs[name])["nDCG@10"]
        figures[f"{name}: overlap@10"] = runs[name].overlap(runs["Flat"], k=K)
        figures[f"{name}: MB"] = index.bytes / 1e6
        bare = index.searcher(K, **params)
        calls[name] = lambda query, bare=bare: bare(rows[query : query + 1])
    for name, found in timing.latency(calls, queries=len(rows), calls_each=CALLS).items():
        figures[f"{name}: ms"] = found.p50.value
    near = {name: _near(name, [key for key in searches if key not in points], figures) for name in points}
    paired = {
        name: judge.compare(runs[key], runs[name], margin=0.01)["nDCG@10"] for name, key in near.items()
    }
    intervals = {name: [found.low, found.high] for name, found in paired.items()}
    say(figures, {}, ("imgbench", "faiss-gpu", "faiss-cpu"), near=near, intervals=intervals)


def _grid(images: ib.Embeddings) -> Iterator[tuple[str, tuple[ib.Index, dict]]]:
    """Exact search and every point that `imgbench tune` looks at."""
    for text in ("Flat", *default_grid(len(images), images.dim)):
        spec, index = IndexSpec.parse(text), ib.Index.build(text.partition("?")[0], images)
        for params in spec.grid:
            yield spec.key(params), (index, params)


def _near(peer: str, keys: list[str], figures: dict[str, float]) -> str:
    """The point that finds most of exact search's top 10 in no more time than the peer's."""
    fast = [key for key in keys if figures[f"{key}: ms"] <= figures[f"{peer}: ms"]]
    return max(fast, key=lambda key: figures[f"{key}: overlap@10"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
