"""Overlap with exact search on real vectors, against figures measured with FAISS alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from imgbench.embeddings import Embeddings
from imgbench.index import Index


@pytest.fixture(scope="module")
def photographs(data: Path) -> tuple[Embeddings, Embeddings]:
    folder = data / "vectors" / "bow-dual-256"

    def read(*names: str) -> Embeddings:
        x = np.concatenate([np.load(folder / f"{name}.npy").astype(np.float32) for name in names])
        return Embeddings([str(row) for row in range(len(x))], x / np.linalg.norm(x, axis=1, keepdims=True))

    return read("flickr8k_images", "distractors"), read("test_captions")


@pytest.mark.data
@pytest.mark.parametrize(
    ("spec", "name", "expected"),
    [
        ("HNSW16", "efSearch", {10: 0.758, 16: 0.842, 64: 0.972}),
        ("IVF64,Flat", "nprobe", {1: 0.498, 4: 0.822, 16: 0.972}),
    ],
)
def test_overlap_on_real_vectors(photographs, spec, name, expected):
    images, queries = photographs
    assert len(images) == 11679
    exact = Index.build("Flat", images).search(queries, k=10)
    index = Index.build(spec, images)
    found = {
        value: round(index.search(queries, k=10, **{name: value}).overlap(exact, k=10), 4)
        for value in expected
    }
    print(json.dumps({spec: found}))  # noqa: T201  shown by pytest -s
    assert found == pytest.approx(expected, abs=0.02)
