"""Building: seeds, samples, casts, times and notes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.index import Index
from imgbench.index._faiss import faiss

DIM = 32


def unit(count: int, name: str, seed: int) -> Embeddings:
    x = np.random.default_rng(seed).normal(size=(count, DIM))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Embeddings([f"{name}{row}" for row in range(count)], x.astype(np.float32))


IMAGES, QUERIES = unit(2000, "i", 0), unit(200, "q", 1)


def digest(index: Index) -> str:
    return hashlib.sha256(faiss.serialize_index(index._faiss).tobytes()).hexdigest()


@pytest.mark.parametrize("seed", [-1, 10**9, 1.0, True, None])
def test_a_seed_is_checked(seed):
    with pytest.raises(InputError, match=r"It is a whole number below 1,000,000,000. Pass seed=0."):
        Index.build("Flat", IMAGES, seed=seed)


@pytest.mark.parametrize("spec", ["IVF16,SQ8", "HNSW16", "RR32,Flat"])
def test_seed_0_builds_what_faiss_builds(spec):
    own = faiss.index_factory(DIM, spec, faiss.METRIC_INNER_PRODUCT)
    own.train(IMAGES.vectors)
    own.add(IMAGES.vectors)
    rows = Index.wrap(IMAGES.ids, own).search(QUERIES, k=10).rows
    assert np.array_equal(rows, Index.build(spec, IMAGES).search(QUERIES, k=10).rows)


def test_opq_is_seeded():
    images, queries = IMAGES, QUERIES
    few = Embeddings(images.ids[:300], images.vectors[:300])
    indexes = [Index.build("OPQ4_8,PQ4x4fs,RFlat", few, seed=seed) for seed in (0, 0, 1)]
    assert digest(indexes[0]) == digest(indexes[1]) != digest(indexes[2])
    rows = indexes[0].search(queries, k=10, k_factor=30).rows
    assert np.array_equal(rows, Index.build("Flat", few).search(queries, k=10).rows)


def test_half_precision_is_cast_in_chunks(monkeypatch):
    images, queries = IMAGES, QUERIES
    half = Embeddings(images.ids, images.vectors.astype(np.float16))
    monkeypatch.setattr("imgbench.index.training.ADD_ROWS", 300)
    chunked = Index.build("Flat", half).search(queries, k=10)
    whole = Index.build("Flat", Embeddings(images.ids, half.vectors.astype(np.float32))).search(queries, k=10)
    assert np.array_equal(chunked.rows, whole.rows)
    assert chunked.image_ids == images.ids


def test_training_takes_a_seeded_sample(monkeypatch):
    from imgbench.index import training

    seen = []
    sample = training._sample
    monkeypatch.setattr(training, "_sample", lambda *given: seen.append(sample(*given)) or seen[-1])
    for seed in (0, 0, 1):
        Index.build("IVF4,Flat", IMAGES, seed=seed)
    assert [len(rows) for rows in seen] == [4 * 256] * 3
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


def test_times_are_apart_and_few_points_are_noted():
    index = Index.build("IVF64,Flat", IMAGES)
    assert index.train_seconds > 0
    assert index.add_seconds > 0
    assert Index.build("Flat", IMAGES).train_seconds == 0.0
    assert Index.build("IVF16,Flat", IMAGES).notes == ()
    assert len(index.notes) == 1
    assert index.notes[0].startswith(
        "IVF trains 64 centroids on 2,000 vectors: FAISS advises at least 2,496,"
    )
    assert "RFlat puts them right" in Index.build("PCA16,IVF16,Flat,RFlat", IMAGES).notes[0]


def test_faiss_writes_nothing_to_standard_error(capfd):
    Index.build("IVF64,PQ2", IMAGES)
    assert capfd.readouterr().err == ""
