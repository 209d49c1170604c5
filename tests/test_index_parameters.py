"""Search parameters: each has an effect on its index, none stays behind, and none is taken in silence."""

from __future__ import annotations

import re

import numpy as np
import pytest

from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.index import Index

KNOWN = {
    "Flat": {},
    "SQ8": {},
    "PQ16x4fs": {},
    "RaBitQfs": {},
    "RaBitQ": {"qb": 4},
    "HNSW16": {"efSearch": 16},
    "HNSW16,SQ8": {"efSearch": 16},
    "PCA16,HNSW16": {"efSearch": 16},
    "IVF16,Flat": {"nprobe": 1, "max_codes": 0},
    "IVF16,SQ8": {"nprobe": 1, "max_codes": 0},
    "IVF16,PQ8": {"nprobe": 1, "max_codes": 0},
    "RR32,IVF16,PQ16x4fs": {"nprobe": 1},
    "IVF16,RaBitQ": {"nprobe": 1, "max_codes": 0, "qb": 4},
    "IVF16,RaBitQfs": {"nprobe": 1, "qb": 8},
    "IVF64_HNSW4,Flat": {"nprobe": 1, "max_codes": 0, "quantizer_efSearch": 16},
    "SQ4,RFlat": {"k_factor": 1.0},
    "IVF16,PQ16x4fs,RFlat": {"nprobe": 1, "k_factor": 1.0},
    "HNSW16,SQ4,Refine(SQfp16)": {"efSearch": 16, "k_factor": 1.0},
    "RR32,IVF16,RaBitQ,RFlat": {"nprobe": 1, "max_codes": 0, "qb": 4, "k_factor": 1.0},
}
# Values far enough from the default to change what a search finds.
OTHER = {"nprobe": 8, "max_codes": 10, "qb": 1, "efSearch": 200, "quantizer_efSearch": 1, "k_factor": 20.0}


def unit(count: int, name: str, seed: int) -> Embeddings:
    x = np.random.default_rng(seed).normal(size=(count, 32))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Embeddings([f"{name}{row}" for row in range(count)], x.astype(np.float32))


@pytest.fixture(scope="module")
def queries() -> Embeddings:
    return unit(100, "q", 1)


@pytest.fixture(scope="module", params=list(KNOWN))
def index(request) -> Index:
    return Index.build(request.param, unit(1500, "i", 0))


def test_an_index_tells_its_parameters(index):
    assert index.parameters == KNOWN[index.spec]
    assert all(type(index.parameters[name]) is type(value) for name, value in KNOWN[index.spec].items())


def test_every_parameter_has_an_effect_and_none_stays_behind(index, queries):
    before = index.search(queries, k=5)
    for name in index.parameters:
        changed = index.search(queries, k=5, **{name: OTHER[name]})
        assert not np.array_equal(changed.rows, before.rows), name
        again = index.search(queries, k=5)
        assert np.array_equal(again.rows, before.rows), name
        assert np.array_equal(again.scores, before.scores), name
    defaults = index.search(queries, k=5, **index.parameters)
    assert np.array_equal(defaults.rows, before.rows)


def test_searchers_at_two_points_do_not_disturb_each_other(index, queries):
    changed = {name: OTHER[name] for name in list(index.parameters)[:1]}
    low, high = index.searcher(5), index.searcher(5, **changed)
    alone = low(queries.vectors)[1], high(queries.vectors)[1]
    for _ in range(3):
        assert np.array_equal(low(queries.vectors)[1], alone[0])
        assert np.array_equal(high(queries.vectors)[1], alone[1])
    assert np.array_equal(*alone) == (not changed)


def test_a_parameter_of_another_index_is_refused(index, queries):
    for name in {*OTHER, "sel", "nonsense"} - set(index.parameters):
        for call in (lambda **p: index.search(queries, 5, **p), lambda **p: index.searcher(5, **p)):
            with pytest.raises(InputError) as caught:
                call(**{name: 4})
            assert str(caught.value).startswith(f"{name!r} is not a search parameter of {index.spec}.")
            known = (
                f"Known: {', '.join(sorted(index.parameters))}."
                if index.parameters
                else "This index has none"
            )
            assert known in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "params", "message"),
    [
        ("IVF16,Flat", {"nprobe": 0}, "nprobe is 0. On this index it is between 1 and 16. Pass nprobe=1."),
        ("IVF16,Flat", {"nprobe": 17}, "nprobe is 17. On this index it is between 1 and 16. Pass nprobe=16."),
        ("IVF16,Flat", {"nprobe": 2.0}, "nprobe is 2.0. It is a whole number. Pass nprobe=1."),
        ("IVF16,Flat", {"nprobe": True}, "nprobe is True. It is a whole number."),
        ("IVF16,Flat", {"nprobe": "4"}, "nprobe is '4'. It is a whole number."),
        ("IVF16,Flat", {"nprobe": None}, "nprobe is None. It is a whole number."),
        ("IVF16,Flat", {"max_codes": -1}, "max_codes is -1."),
        ("HNSW16", {"efSearch": 0}, "efSearch is 0."),
        ("SQ8,RFlat", {"k_factor": 0.5}, "k_factor is 0.5. On this index it is at least 1. Pass k_factor=1."),
        ("SQ8,RFlat", {"k_factor": float("nan")}, "k_factor is nan. It is a number. Pass k_factor=1.0."),
        ("SQ8,RFlat", {"k_factor": float("inf")}, "k_factor is inf. It is a number."),
        (
            "RaBitQ",
            {"qb": 9},
            "qb is 9. On this index it is between 0 and 8. Pass qb=8.",
        ),  # ends the process in FAISS
    ],
)
def test_values_out_of_range_are_refused(spec, params, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Index.build(spec, unit(100, "i", 0)).searcher(5, **params)


def test_numbers_of_numpy_are_numbers(queries):
    index = Index.build("IVF16,SQ8,RFlat", unit(1500, "i", 0))
    given = index.search(queries, k=np.int64(5), nprobe=np.int32(4), k_factor=np.float32(2))
    assert np.array_equal(given.rows, index.search(queries, k=5, nprobe=4, k_factor=2).rows)


def test_a_queue_shorter_than_the_result_still_has_an_effect():
    # FAISS keeps max(efSearch, k) candidates, but stops after efSearch of them: a sweep below k is no no-op.
    images, queries = unit(300, "i", 0), unit(20, "q", 1)
    index = Index.build("HNSW8", images)
    found = [index.distance_computations(queries, 20, efSearch=ef) for ef in (4, 10, 20)]
    assert found == sorted(set(found))


def test_a_refinement_beyond_the_corpus_is_the_whole_corpus(queries):
    images = unit(300, "i", 0)
    index = Index.build("SQ4,RFlat", images)
    assert np.array_equal(
        index.search(queries, k=7, k_factor=1e9).rows, Index.build("Flat", images).search(queries, k=7).rows
    )
    assert index.distance_computations(queries, 7, k_factor=1e9) == 600
