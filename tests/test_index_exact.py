"""Exact search agrees with float64 where a float32 product is far from it, whatever multiplies."""

from __future__ import annotations

import numpy as np
import pytest

from imgbench import products
from imgbench.embeddings import Embeddings
from imgbench.index import Index, exact
from imgbench.index._faiss import faiss

DIM = 32


def hard_to_round(dim: int, images: int = 300) -> tuple[Embeddings, Embeddings]:
    """Many queries, all alike, whose best image, row 100, a plain float32 sum puts behind rows 10 to 19."""
    query = products.hardest(dim)
    query[-2:] = 0
    query[-2] = (1 - float((query.astype(np.float64) ** 2).sum())) ** 0.5
    best = query.copy()
    best[-2], best[-1] = 0, 0.5**0.5
    best[-1] = (1 - float((best[:-1].astype(np.float64) ** 2).sum())) ** 0.5
    x = np.random.default_rng(0).normal(size=(images, dim)).astype(np.float32)
    x[:, 0] = 0
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    true = float(query.astype(np.float64) @ best.astype(np.float64))
    x[10:20] = 0
    x[10:20, 0] = (true - 7e-6 * np.linspace(0.05, 0.9, 10)) / float(query[0])
    x[10:20, -1] = np.sqrt(1 - x[10:20, 0].astype(np.float64) ** 2)
    x[100] = best
    asked = query[None].repeat(40, axis=0)
    return Embeddings([f"i{row}" for row in range(images)], x), Embeddings(list(map(str, range(40))), asked)


@pytest.mark.parametrize("kernel", [*products.KERNELS, None], ids=["numpy", "oneDNN", "FAISS"])
@pytest.mark.parametrize("dim", [512, 1024, 4096])
@pytest.mark.parametrize("k", [1, 5])
def test_exact_search_is_right_where_float32_loses_many_small_products(kernel, dim, k, monkeypatch):
    images, queries = hard_to_round(dim)
    monkeypatch.setattr(exact, "_LARGE", 0)
    monkeypatch.setattr(products, "fastest", lambda _: kernel)
    scores = (queries.vectors.astype(np.float64) @ images.vectors.astype(np.float64).T).astype(np.float32)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert expected[0, 0] == 100
    index = Index.build("Flat", images)
    assert np.array_equal(index.search(queries, k=k).rows, expected)
    assert np.array_equal(index.search(queries.select([0]), k=k).rows, expected[:1])


@pytest.mark.parametrize("kernel", [*products.KERNELS, None], ids=["numpy", "oneDNN", "FAISS"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_wrapped_vectors_of_any_length_are_found_in_order(kernel, scale, monkeypatch):
    rng = np.random.default_rng(0)
    x, asked = rng.normal(size=(900, DIM)), rng.normal(size=(50, DIM))
    # Two large products that cancel: what is left of a score is less than what rounding may change.
    large = rng.normal(size=900) * 3e4
    x[:, 0] += large
    x[:, 1] -= large
    asked[:, 1] = asked[:, 0]
    x = (x * scale).astype(np.float32)
    queries = Embeddings.normalised(list(map(str, range(50))), asked)
    monkeypatch.setattr(exact, "_LARGE", 0)
    monkeypatch.setattr(products, "fastest", lambda _: kernel)
    own = faiss.IndexFlatIP(DIM)
    own.add(x)
    scores = (queries.vectors.astype(np.float64) @ x.astype(np.float64).T).astype(np.float32)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    assert np.array_equal(Index.wrap(list(map(str, range(900))), own).search(queries, k=5).rows, expected)
