"""Each index family meets a fact that nobody can argue with."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import pytest
import torch

from imgbench import environment, products
from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.index import Index, compile_options, exact, gpu_count, searching
from imgbench.index._faiss import faiss

DIM, IMAGES, QUERIES = 32, 2000, 300

# factory string, search parameters, the least overlap@10 with exact search that they must give
FAMILIES = [
    ("Flat", {}, 1.0),
    ("SQfp16", {}, 0.99),
    ("SQbf16", {}, 0.97),
    ("SQ8", {}, 0.95),
    ("SQ4", {}, 0.5),
    ("SQtqmse4", {}, 0.5),
    ("PQ4", {}, 0.15),
    ("PQ16x4fs", {}, 0.2),
    ("PQ16x4fs,RFlat", {"k_factor": 200}, 1.0),
    ("PQ16x4fs,Refine(SQfp16)", {"k_factor": 200}, 0.99),
    ("RaBitQ", {"qb": 8}, 0.2),
    ("RaBitQ4", {}, 0.6),
    ("RaBitQfs", {}, 0.2),
    ("RaBitQ,RFlat", {"k_factor": 200}, 1.0),
    ("IVF16,Flat", {"nprobe": 16}, 1.0),
    ("IVF16,SQ8", {"nprobe": 16}, 0.95),
    ("IVF16,PQ4", {"nprobe": 16}, 0.15),
    ("IVF16,PQ16x4fs,RFlat", {"nprobe": 16, "k_factor": 200}, 1.0),
    ("IVF16,RaBitQ", {"nprobe": 16, "qb": 8}, 0.2),
    ("IVF16,RaBitQfs", {"nprobe": 16}, 0.2),
    ("IVF16,FlatPanorama4", {"nprobe": 16}, 1.0),
    ("IVF64_HNSW16,Flat", {"nprobe": 64, "quantizer_efSearch": 256}, 1.0),
    ("HNSW16", {"efSearch": 800}, 0.999),
    ("HNSW16,SQ8", {"efSearch": 800}, 0.95),
    ("HNSW16,SQ8,RFlat", {"efSearch": 800, "k_factor": 8}, 0.999),
    ("RR32,Flat", {}, 0.999),
    ("HR32,IVF16,Flat", {"nprobe": 16}, 0.999),
    ("PCAR32,IVF16,Flat", {"nprobe": 16}, 0.8),  # the mean is taken away, see the notes
    ("PCA16,IVF16,Flat,RFlat", {"nprobe": 16, "k_factor": 200}, 1.0),
    ("L2norm,IVF16,Flat", {"nprobe": 16}, 0.999),
    ("RQ2x4", {}, 0.02),
]
SPECS = [spec for spec, _, _ in FAMILIES]
TRAINED = [
    "PQ8",
    "PQ16x4fs",
    "IVF16,Flat",
    "IVF16,PQ8",
    "IVF16,RaBitQ",
    "RR32,SQ8",
    "HR32,SQ8",
    "HNSW16",
    "RQ2x4",
]


@cache
def collection() -> tuple[Embeddings, Embeddings]:
    """Clustered unit vectors: 2,000 images and 300 queries."""
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(40, DIM))

    def draw(count: int, name: str) -> Embeddings:
        x = centres[rng.integers(0, 40, count)] + rng.normal(size=(count, DIM))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return Embeddings([f"{name}{row}" for row in range(count)], x.astype(np.float32))

    return draw(IMAGES, "i"), draw(QUERIES, "q")


@cache
def built(spec: str, seed: int = 0) -> Index:
    return Index.build(spec, collection()[0], seed=seed)


def digest(index: Index) -> str:
    return hashlib.sha256(faiss.serialize_index(index._faiss).tobytes()).hexdigest()


@cache
def truth() -> np.ndarray:
    """The rows of the ten best images by numpy in float64, ties by row."""
    images, queries = collection()
    scores = (queries.vectors.astype(np.float64) @ images.vectors.astype(np.float64).T).astype(np.float32)
    return np.stack([np.lexsort((np.arange(IMAGES), -row))[:10] for row in scores])


def overlap(rows: np.ndarray, expected: np.ndarray) -> float:
    return float(
        np.mean(
            [len(set(a) & set(b)) / len(b) for a, b in zip(rows.tolist(), expected.tolist(), strict=True)]
        )
    )


def test_flat_is_numpys_order():
    run = built("Flat").search(collection()[1], k=10)
    assert np.array_equal(run.rows, truth())
    assert built("Flat").exact


@pytest.mark.parametrize(("spec", "params", "least"), FAMILIES, ids=SPECS)
def test_a_family_finds_what_it_should(spec, params, least):
    run = built(spec).search(collection()[1], k=10, **params)
    assert overlap(run.rows, truth()) >= least
    assert built(spec).exact == (spec == "Flat")


@pytest.mark.parametrize(("spec", "params", "least"), FAMILIES, ids=SPECS)
def test_threads_and_repeats_change_nothing(spec, params, least):
    queries = collection()[1]
    with environment.threads(1):
        one = built(spec).search(queries, k=10, **params)
    with environment.threads(2):
        two = built(spec).search(queries, k=10, **params)
    assert np.array_equal(one.rows, two.rows)
    assert np.array_equal(one.scores, two.scores)


@pytest.mark.parametrize("spec", SPECS)
def test_a_seed_gives_the_same_bytes(spec):
    assert digest(Index.build(spec, collection()[0], threads=1)) == digest(built(spec))


@pytest.mark.parametrize("spec", TRAINED)
def test_another_seed_gives_another_index(spec):
    assert digest(built(spec, seed=1)) != digest(built(spec))


@pytest.mark.parametrize("spec", SPECS)
def test_a_saved_index_finds_the_same(spec, tmp_path):
    index = built(spec)
    index.save(tmp_path / "x.index")
    again = Index.load(tmp_path / "x.index")
    assert digest(again) == digest(index)
    assert (again.ids, again.spec, again.dim, again.seed) == (index.ids, spec, DIM, 0)
    queries = collection()[1]
    assert np.array_equal(again.search(queries, k=10).rows, index.search(queries, k=10).rows)
    assert index.bytes == (tmp_path / "x.index").stat().st_size
    assert again.bytes_per_image == index.bytes / IMAGES


@pytest.mark.parametrize("size", [1, 7, 19, 20, 50, 300])
def test_exact_results_depend_on_no_batch_even_with_duplicates(size):
    images, queries = collection()
    vectors = np.concatenate([images.vectors[:100]] * 5 + [images.vectors[:1]] * 40)  # ties at every cut
    index = Index.build("Flat", Embeddings([str(row) for row in range(540)], vectors))
    whole = index.search(queries, k=12)
    for first in range(0, QUERIES, size):
        part = Embeddings(queries.ids[first : first + size], queries.vectors[first : first + size])
        run = index.search(part, k=12)
        assert np.array_equal(run.rows, whole.rows[first : first + size])
        assert np.array_equal(run.scores, whole.scores[first : first + size])
    scores = (queries.vectors.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    assert np.array_equal(whole.rows, np.stack([np.lexsort((np.arange(540), -row))[:12] for row in scores]))


@pytest.mark.parametrize(
    ("spec", "params"), [("IVF4,Flat", {"nprobe": 4}), ("SQfp16", {}), ("RR8,IVF4,Flat", {"nprobe": 4})]
)
def test_ties_at_the_cut_go_to_the_smaller_row_where_lists_are_scanned(spec, params):
    distinct = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    distinct /= np.linalg.norm(distinct, axis=1, keepdims=True)
    images = Embeddings(list(map(str, range(600))), np.tile(distinct, (10, 1)))
    queries = Embeddings(list(map(str, range(60))), distinct)
    # Ten copies of the query's own image, then five of the ten copies of the next one: the first five rows.
    exact = Index.build("Flat", images).search(queries, k=15)
    run = Index.build(spec, images).search(queries, k=15, **params)
    assert run.overlap(exact, k=15) == 1.0


def test_exact_search_lets_faiss_multiply_matrices(monkeypatch):
    index, queries = built("Flat"), collection()[1]
    many = Embeddings([str(row) for row in range(40 * QUERIES)], np.tile(queries.vectors, (40, 1)))
    kind, values = type(searching.concrete(index._faiss)), []
    search = kind.search
    monkeypatch.setattr(
        kind,
        "search",
        lambda self, x, *rest, **named: values.append(x.size) or search(self, x, *rest, **named),
    )
    assert np.array_equal(index.search(many, k=10).rows, np.tile(truth(), (40, 1)))
    assert sum(values) == many.vectors.size
    assert len(values) > 1
    assert min(values) >= faiss.cvar.distance_compute_blas_threshold


@pytest.mark.parametrize("kernel", [*products.KERNELS, None], ids=["numpy", "oneDNN", "FAISS"])
@pytest.mark.parametrize("threads", [1, 3])
def test_whatever_multiplies_exact_search_finds_the_same(kernel, threads, monkeypatch):
    images, queries = collection()
    near = images.vectors[:200] * (1 + 1e-7 * np.arange(200, dtype=np.float32)[:, None])
    vectors = np.concatenate([images.vectors, images.vectors[:300], near, images.vectors[:1].repeat(60, 0)])
    asked = Embeddings(
        [str(row) for row in range(QUERIES + 100)], np.concatenate([queries.vectors, vectors[:100]])
    )
    index = Index.build("Flat", Embeddings([str(row) for row in range(len(vectors))], vectors))
    monkeypatch.setattr(exact, "_LARGE", 0)
    monkeypatch.setattr(exact, "_QUERIES", 70)
    monkeypatch.setattr(exact, "_IMAGES", 300)
    monkeypatch.setattr(products, "fastest", lambda _: kernel)
    with environment.threads(threads):
        run = index.search(asked, k=25)
        assert torch.get_num_threads() == threads
    scores = (asked.vectors.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    expected = np.stack([np.lexsort((np.arange(len(vectors)), -row))[:25] for row in scores])
    assert np.array_equal(run.rows, expected)
    assert np.array_equal(run.scores, np.take_along_axis(scores, expected, 1))


def test_scores_do_not_depend_on_how_many_are_summed_at_once(monkeypatch):
    images, queries = collection()
    rows = np.random.default_rng(0).integers(0, IMAGES, (QUERIES, 18))
    expected = np.einsum(
        "qkd,qd->qk", images.vectors[rows].astype(np.float64), queries.vectors.astype(np.float64)
    ).astype(np.float32)
    for cells in (1, 2**12, 2**30):
        monkeypatch.setattr(exact, "_CACHED", cells)
        assert np.array_equal(exact.scored(images.vectors, queries.vectors, rows), expected)


def test_wrap_takes_any_inner_product_index():
    images, queries = collection()
    own = faiss.IndexHNSWFlat(DIM, 16, faiss.METRIC_INNER_PRODUCT)
    own.hnsw.efSearch = 77
    own.add(images.vectors)
    index = Index.wrap(images.ids, own)
    del own
    assert index.parameters == {"efSearch": 77}
    assert index.kind == index.spec == "IndexHNSWFlat"
    assert overlap(index.search(queries, k=10, efSearch=800).rows, truth()) > 0.999
    assert (
        overlap(
            Index.wrap(images.ids, faiss.clone_index(built("Flat")._faiss)).search(queries, k=10).rows,
            truth(),
        )
        == 1
    )


def test_wrap_refuses_what_would_be_wrong():
    images, _ = collection()
    for own, words in [
        (faiss.IndexFlatL2(DIM), "This IndexFlatL2 ranks by another metric."),
        (faiss.IndexFlatIP(DIM), "The index holds 0 vectors and 2,000 ids came."),
        (faiss.IndexIDMap(faiss.IndexFlatIP(DIM)), "IndexIDMap keeps ids of its own."),
        ("Flat", "A str came. Index.wrap takes a FAISS index."),
    ]:
        with pytest.raises(InputError, match=words):
            Index.wrap(images.ids, own)
    with pytest.raises(InputError, match="The ids are not distinct"):
        Index.wrap(["a"] * IMAGES, built("Flat")._faiss)


def test_searcher_is_faiss_itself_and_checks_once():
    queries = collection()[1]
    call = built("IVF16,Flat").searcher(10, nprobe=4)
    scores, rows = call(queries.vectors[:1])
    assert (scores.dtype, scores.shape, rows.dtype, rows.shape) == (np.float32, (1, 10), np.int64, (1, 10))
    assert np.array_equal(rows[0], built("IVF16,Flat").search(queries, k=10, nprobe=4).rows[0])
    for wrong, words in [
        (queries.vectors.astype(np.float64), r"The queries are float64 \(300, 32\)."),
        (queries.vectors[0], r"The queries are float32 \(32,\)."),
        (queries.vectors[:, :8].copy(), "The queries have 8 dimensions. The images of Flat have 32."),
        ([1.0], "The queries are list."),
        (np.full((1, DIM), np.nan, np.float32), "The queries are not finite."),
    ]:
        with pytest.raises(InputError, match=words):
            built("Flat").searcher(10)(wrong)


def test_distance_computations_count_what_is_compared():
    queries = collection()[1]
    assert built("Flat").distance_computations(queries, 10) == IMAGES
    assert built("PQ16x4fs,RFlat").distance_computations(queries, 10, k_factor=4) == IMAGES + 40
    ivf = [built("IVF16,Flat").distance_computations(queries, 10, nprobe=nprobe) for nprobe in (1, 4, 16)]
    assert 16 < ivf[0] < ivf[1] < ivf[2] == 16 + IMAGES
    fast = built("IVF16,PQ16x4fs,RFlat").distance_computations(queries, 10, nprobe=16, k_factor=2)
    assert fast == 16 + IMAGES + 20
    graph = [built("HNSW16").distance_computations(queries, 10, efSearch=ef) for ef in (10, 64, 800)]
    assert 10 < graph[0] < graph[1] < graph[2] < IMAGES * 1.5
    coarse = built("IVF64_HNSW16,Flat")
    assert coarse.distance_computations(queries, 10) < 64 + IMAGES / 4
    assert Index.build("IVF16,RaBitQ4", collection()[0]).distance_computations(queries, 10) is None


@pytest.mark.parametrize("k", [0, -1, IMAGES + 1, 1.5, True, "ten", None])
def test_k_is_checked(k):
    with pytest.raises(InputError, match=r"This index returns 1 to 2,000 images. Pass k=10."):
        built("Flat").search(collection()[1], k=k)


def test_k_may_be_every_image():
    run = built("Flat").search(collection()[1], k=IMAGES)
    assert np.array_equal(np.sort(run.rows[0]), np.arange(IMAGES))
    few = built("IVF16,Flat").search(collection()[1], k=IMAGES)
    assert (few.rows == -1).any()


def test_bare_arrays_are_refused_with_what_to_write():
    vectors = collection()[1].vectors
    advice = (
        r"Wanted Embeddings, which are ids and unit vectors\. Write imgbench\.Embeddings\(ids, vectors\)\."
    )
    with pytest.raises(InputError, match=rf"^The images came as ndarray\. {advice}$"):
        Index.build("Flat", vectors)
    with pytest.raises(InputError, match=rf"^The queries came as ndarray\. {advice}$"):
        built("Flat").search(vectors, k=10)


def test_queries_of_another_dimension_are_refused():
    wrong = Embeddings(["q"], np.eye(1, 8, dtype=np.float32))
    for search in (built("Flat").search, built("Flat").distance_computations):
        with pytest.raises(InputError, match=r"The queries have 8 dimensions. The images of Flat have 32."):
            search(wrong, 10)


def test_the_environment_is_named():
    assert compile_options().startswith(f"faiss {faiss.__version__}: ")
    assert gpu_count() >= 0


@pytest.mark.gpu
@pytest.mark.skipif(gpu_count() == 0, reason="FAISS sees no GPU")
@pytest.mark.parametrize(
    ("spec", "params"), [("Flat", {}), ("IVF16,Flat", {"nprobe": 16}), ("IVF16,SQ8", {"nprobe": 16})]
)
def test_the_gpu_finds_what_the_cpu_finds(spec, params, tmp_path):
    images, queries = collection()
    index = Index.build("gpu:" + spec, images)
    rows = index.search(queries, k=10, **params).rows
    assert overlap(rows, built(spec).search(queries, k=10, **params).rows) > 0.97
    index.save(tmp_path / "x.index")
    assert np.array_equal(Index.load(tmp_path / "x.index").search(queries, k=10, **params).rows, rows)
