"""Tuned points of both libraries in one measurement: ours_points.py FOLDER POINTS.

POINTS is JSON: the name of each point, its index file or specification, its search parameters. Latency is
that of single queries on one thread, the points interleaved at random, as in `imgbench run`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import faiss
from peer_said import say

import imgbench as ib
from imgbench import timing

K, CALLS = 10, 1000


def main(folder: Path, points: dict[str, dict]) -> None:
    images = ib.Embeddings.load(folder / "images.npy")
    queries = ib.Embeddings.load(folder / "queries.npy")
    judge = ib.Evaluator(folder / "qrels.csv", ["nDCG@10"])
    exact = ib.Index.build("Flat", images)
    truth = exact.search(queries, k=K)
    indexes = {name: _index(point["index"], images) for name, point in points.items()}
    rows, calls, figures = queries.float32(), {}, {}
    for name, index in {"exact": exact, **indexes}.items():
        params = points[name]["params"] if name in points else {}
        run = index.search(queries, k=K, **params)
        figures[f"{name}: nDCG@10"] = judge.score(run)["nDCG@10"]
        figures[f"{name}: overlap@10"] = run.overlap(truth, k=K)
        figures[f"{name}: MB"] = index.bytes / 1e6
        bare = index.searcher(K, **params)
        calls[name] = lambda query, bare=bare: bare(rows[query : query + 1])
    for name, found in timing.latency(calls, queries=len(rows), calls_each=CALLS).items():
        figures[f"{name}: ms"] = found.p50.value
    say(figures, {}, ("imgbench", "faiss-gpu", "faiss-cpu"))


def _index(source: str, images: ib.Embeddings) -> ib.Index:
    """An index of autofaiss from its file, one of imgbench from its specification."""
    if Path(source).is_file():
        return ib.Index.wrap(images.ids, faiss.read_index(source))
    return ib.Index.build(source, images)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
