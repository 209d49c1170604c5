"""What the checks, the fixed blocks and the order of ties cost on top of FAISS's own search."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from speed_inputs import Sides, timed

from imgbench.embeddings import Embeddings
from imgbench.index import Index

IMAGES, QUERIES, DIM, K = 20_000, 2_000, 256, 10
WANTED = 0.95  # of FAISS's own speed in exact search
POINTS = {
    "Flat": ("Flat", {}),
    "IVF128,Flat?nprobe=8": ("IVF128,Flat", {"nprobe": 8}),
    "HNSW32?efSearch=32": ("HNSW32", {"efSearch": 32}),
}


@pytest.fixture(scope="module")
def vectors() -> tuple[Embeddings, Embeddings]:
    """Clustered unit vectors, and queries near some of them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, DIM), dtype=np.float32)
    x = centres[rng.integers(200, size=IMAGES)] + rng.standard_normal((IMAGES, DIM), dtype=np.float32)
    noise = rng.standard_normal((QUERIES, DIM), dtype=np.float32)
    images = Embeddings.normalised(list(map(str, range(IMAGES))), x)
    return images, Embeddings.normalised(list(map(str, range(QUERIES))), x[:QUERIES] + noise)


@pytest.fixture(scope="module", params=POINTS)
def searching(request: pytest.FixtureRequest, vectors: tuple[Embeddings, Embeddings]) -> Sides:
    """Both sides get the same index, the same float32 queries and all threads."""
    images, queries = vectors
    spec, params = POINTS[request.param]
    index = Index.build(spec, images)
    rows = queries.float32()
    bare = index.searcher(K, **params)  # index.search of FAISS with its parameters, nothing else
    run, (scores, _) = index.search(queries, K, **params), bare(rows)
    # Equal scores at every rank: the same images, or neighbours that float32 cannot tell apart.
    assert np.abs(run.scores - scores).max() < 1e-6
    return {"imgbench": lambda: index.search(queries, K, **params), "faiss": lambda: bare(rows)}


@pytest.mark.parametrize("side", ["imgbench", "faiss"])
def test_searching(
    side: str, searching: Sides, benchmark: BenchmarkFixture, request: pytest.FixtureRequest
) -> None:
    benchmark.group = f"search {request.node.callspec.params['searching']}: 2,000 queries, 20,000 x 256"
    exact = request.node.callspec.params["searching"] == "Flat"
    timed(benchmark, searching[side], wanted=WANTED if exact else None)
