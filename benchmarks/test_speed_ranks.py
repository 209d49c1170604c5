"""The rank of every relevant image among all images, beside exact search for the first 100 by FAISS and ours.

A search to depth 100 leaves the ranks beyond it unknown; counting what stands above each relevant image tells
all of them. The default is a tenth of a real study's images and a fifth of its queries; at its full size,
68,154 x 1024 and 10,725 queries, with

    IMGBENCH_STUDY_SIZE=1 pytest benchmarks/test_speed_ranks.py --benchmark-enable
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from speed_inputs import CAPTIONS, Sides, timed

from imgbench.embeddings import Embeddings
from imgbench.index import Index
from imgbench.qrels import Qrels
from imgbench.ranks import relevant_ranks

FULL = bool(os.environ.get("IMGBENCH_STUDY_SIZE"))
IMAGES, PHOTOS = (68_154, 2_145) if FULL else (6_815, 429)
DIM, K, CHECKED, NOISE = 1024, 100, 200, 6.0
WANTED = 0.77  # all ranks in 1.3 times the time of a search
QUERIES = PHOTOS * CAPTIONS


@pytest.fixture(scope="module")
def ranking() -> Sides:
    """Both sides get the same vectors and all threads; ranks are checked against a sort of all images."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((IMAGES, DIM), dtype=np.float32)
    noise = rng.standard_normal((QUERIES, DIM), dtype=np.float32)
    images = Embeddings.normalised([f"i{row}" for row in range(IMAGES)], x)
    asked = x[:PHOTOS].repeat(CAPTIONS, axis=0) + NOISE * noise
    queries = Embeddings.normalised([f"q{row}" for row in range(QUERIES)], asked)
    photos = [f"i{row // CAPTIONS}" for row in range(QUERIES)]
    qrels = Qrels.from_rows(list(queries.ids), photos, np.ones(QUERIES, int))
    found = relevant_ranks(images, queries, qrels)
    scores = queries.vectors[:CHECKED].astype(np.float64) @ images.vectors.T.astype(np.float64)
    order = np.argsort(-scores.astype(np.float32), axis=1, kind="stable")
    expected = 1 + np.argmax(order == np.arange(CHECKED)[:, None] // CAPTIONS, axis=1)
    ranks = np.empty(QUERIES, dtype=int)
    ranks[found.query_rows] = found.ranks
    np.testing.assert_array_equal(ranks[:CHECKED], expected)
    assert (ranks > K).any()  # what a search to this depth could not tell
    index, rows = Index.build("Flat", images), queries.float32()
    bare = index.searcher(K)
    return {
        "imgbench": lambda: relevant_ranks(images, queries, qrels),
        "faiss, first 100": lambda: bare(rows),
        "Index.search, first 100": lambda: index.search(queries, K),
    }


@pytest.mark.benchmark(group=f"every rank of {QUERIES:,} relevant images among {IMAGES:,} x {DIM}")
@pytest.mark.parametrize("side", ["imgbench", "faiss, first 100", "Index.search, first 100"])
def test_ranks(side: str, ranking: Sides, benchmark: BenchmarkFixture) -> None:
    timed(benchmark, ranking[side], wanted=WANTED)
