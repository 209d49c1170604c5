"""Between exact search and a point, one thing is given up at a time."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import pytest

from imgbench import environment
from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.index import Index
from imgbench.index._faiss import faiss
from imgbench.index.exhaustive import exhaustive
from imgbench.run import Run

DIM, IMAGES, QUERIES, K = 32, 1200, 150, 10
ALL = {"nprobe": 16}


@cache
def collection() -> tuple[Embeddings, Embeddings]:
    """Clustered unit vectors: 1,200 images and 150 queries."""
    rng = np.random.default_rng(11)
    centres = rng.normal(size=(30, DIM))

    def draw(count: int, name: str) -> Embeddings:
        x = centres[rng.integers(0, 30, count)] + rng.normal(size=(count, DIM))
        return Embeddings.normalised([f"{name}{row}" for row in range(count)], x.astype(np.float32))

    return draw(IMAGES, "i"), draw(QUERIES, "q")


@cache
def built(spec: str) -> Index:
    return Index.build(spec, collection()[0])


@cache
def exact() -> Run:
    return built("Flat").search(collection()[1], K)


def stages(spec: str, **params: float) -> dict[str, Run]:
    found = built(spec).stages(*collection(), K, [params])[0]
    return {str(stage.kind): stage.run for stage in found}


def same(one: Run, other: Run) -> bool:
    return np.array_equal(one.rows, other.rows)


def alike(one: Run, other: Run) -> bool:
    """The same but for ties and the last bits of scores."""
    return one.overlap(other, K) > 0.998 and np.allclose(one.scores, other.scores, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "params", "names"),
    [
        ("Flat", {}, []),
        ("SQ8", {}, ["quantiser (SQ8)"]),
        ("RaBitQ", {}, ["quantiser (RaBitQ)"]),
        ("RaBitQ", {"qb": 8}, ["quantiser (RaBitQ, qb=8)"]),
        ("PQ16x4fs,Refine(SQ8)", {}, ["quantiser (PQ16x4fs, k_factor=1)"]),
        ("IVF16,Flat", {}, ["search (nprobe=1)"]),
        ("IVF16,FlatPanorama4", {"nprobe": 4}, ["search (nprobe=4)"]),
        ("IVF16,Flat,RFlat", {"k_factor": 2.5}, ["search (nprobe=1, k_factor=2.5)"]),
        ("IVF16,SQ8", {"nprobe": 4, "max_codes": 50}, ["quantiser (SQ8)", "search (nprobe=4, max_codes=50)"]),
        ("HNSW16", {}, ["search (efSearch=16)"]),
        ("HNSW16_SQ8", {"efSearch": 8}, ["quantiser (SQ8)", "search (efSearch=8)"]),
        ("HNSW16,SQ8", {}, ["quantiser (SQ8)", "search (efSearch=16)"]),
        ("IVF16_HNSW8,SQ8", {"quantizer_efSearch": 9},
         ["quantiser (SQ8)", "search (nprobe=1, quantizer_efSearch=9)"]),
        ("L2norm,RR32,Flat", {}, ["transform (L2norm,RR32)"]),
        ("PCA16,Flat,RFlat", {"k_factor": 2}, ["transform (PCA16, k_factor=2)"]),
        ("PCA16,IVF16,PQ4,RFlat", {"nprobe": 2, "k_factor": 8},
         ["transform (PCA16)", "quantiser (PQ4, k_factor=8)", "search (nprobe=2)"]),
    ],
)  # fmt: skip
def test_the_structure_of_an_index_says_which_stages_it_has(spec, params, names):
    found = built(spec).stages(*collection(), K, [params])[0]
    assert [stage.name for stage in found] == names
    assert all(stage.name.startswith(stage.kind) for stage in found)


@pytest.mark.parametrize(
    "spec",
    [
        "IVF16,SQ8",
        "IVF16,PQ4",
        "IVF16,PQ16x4fs",
        "IVF16,RaBitQ",
        "IVF16,RaBitQfs",
        "IVF16,RQ2x4",
        "IVF16,PQ4,RFlat",
        "PCA16,IVF16,SQ4",
    ],
)
def test_probing_every_list_is_exhaustive(spec):
    found = stages(spec, **ALL)
    assert same(found["quantiser"], found["search"])
    assert not same(found["quantiser"], stages(spec, nprobe=1)["search"])


@pytest.mark.parametrize("spec", ["IVF16,SQ8", "IVF16,PQ4", "PCA16,IVF16,SQ4", "HNSW16,SQ8"])
def test_the_quantiser_does_not_depend_on_how_the_codes_are_searched(spec):
    name = "efSearch" if "HNSW" in spec else "nprobe"
    assert same(stages(spec, **{name: 1})["quantiser"], stages(spec, **{name: 16})["quantiser"])


@pytest.mark.parametrize(
    ("spec", "codes"),
    [
        ("HNSW16,SQ8", "SQ8"),
        ("HNSW16,SQ4", "SQ4"),
        ("PCA16,HNSW16,SQ8", "PCA16,SQ8"),
        ("RR24,PCA16,HNSW16,SQ8", "RR24,PCA16,SQ8"),
        ("PCA16,HNSW16,SQ8,RFlat", "PCA16,SQ8,RFlat"),
        ("HNSW16,SQ4,Refine(SQ8)", "SQ4,Refine(SQ8)"),
    ],
)
def test_without_its_graph_hnsw_is_the_list_of_its_codes(spec, codes):
    found = stages(spec, efSearch=4)
    assert alike(found["quantiser"], built(codes).search(collection()[1], K))
    assert not alike(found["quantiser"], found["search"])


@pytest.mark.parametrize("spec", ["IVF64_HNSW2,SQ8", "IVF64_HNSW2,PQ4", "IVF64_HNSW2,RaBitQ"])
def test_a_graph_over_the_centroids_gives_way_to_all_of_them(spec):
    """Compared with FAISS's own search of lists that were chosen by hand."""
    images, queries = collection()
    ivf = built(spec)._faiss
    centroids = faiss.IndexFlatIP(DIM)
    centroids.add(ivf.quantizer.reconstruct_n(0, 64))
    coarse, lists = centroids.search(queries.vectors, 64)
    copy = faiss.clone_index(ivf)
    copy.nprobe = 64
    scores, rows = copy.search_preassigned(queries.vectors, K, lists, coarse)
    assert alike(stages(spec)["quantiser"], Run.from_search(queries.ids, images.ids, scores, rows))


def test_codes_that_lose_nothing_are_exact_search_once_all_are_compared():
    _, queries = collection()
    for spec in ["IVF16,Flat", "IVF64_HNSW2,Flat", "HNSW16", "HNSW4,SQ4,RFlat", "IVF64_HNSW2,SQ4,RFlat"]:
        found = exhaustive(built(spec)._faiss, queries.vectors, K, {"k_factor": 120})
        assert same(Run.from_search(queries.ids, collection()[0].ids, *found), exact()), spec


def test_refinement_acts_in_the_quantiser_stage():
    plain, refined = stages("PQ4")["quantiser"], stages("PQ4,RFlat", k_factor=120)["quantiser"]
    assert plain.overlap(exact(), K) < 0.6
    assert same(refined, exact())


@pytest.mark.parametrize("spec", ["RR32,SQ4", "HR32,SQ4", "L2norm,SQ4", "Pad48,SQ4", "RR48,SQ4", "OPQ2,SQ4"])
def test_a_rotation_loses_nothing(spec):
    found = stages(spec)
    assert alike(found["transform"], exact())
    assert not alike(found["quantiser"], exact())


def test_behind_pca_stands_what_numpy_finds_there():
    images, queries = collection()
    pca = faiss.downcast_VectorTransform(built("PCA16,SQ4")._faiss.chain.at(0))
    matrix, bias = faiss.vector_to_array(pca.A).reshape(16, DIM), faiss.vector_to_array(pca.b)
    scores = (queries.vectors @ matrix.T + bias) @ (images.vectors @ matrix.T + bias).T
    rows = np.argsort(-scores, axis=1)[:, :K]
    found = stages("PCA16,SQ4")["transform"]
    assert found.overlap(exact(), K) < 0.9
    assert alike(found, Run.from_search(queries.ids, images.ids, np.take_along_axis(scores, rows, 1), rows))


def test_refinement_sets_right_what_pca_lost():
    loses = stages("PCA8,IVF16,Flat,RFlat", k_factor=1)["transform"]
    repaired = stages("PCA8,IVF16,Flat,RFlat", k_factor=120)["transform"]
    assert loses.overlap(exact(), K) < 0.8
    assert same(repaired, exact())


def test_the_last_stage_is_the_point_and_shared_stages_are_searched_once():
    images, queries = collection()
    index = built("PCA16,IVF16,PQ4,RFlat")
    grid = [{"nprobe": 1, "k_factor": 4}, {"nprobe": 8, "k_factor": 4}, {"nprobe": 8, "k_factor": 8}]
    runs = [index.search(queries, K, **params) for params in grid]
    one, two, three = index.stages(images, queries, K, grid, found=runs)
    assert [point[-1].run for point in (one, two, three)] == runs
    assert one[0].run is two[0].run
    assert one[1].run is two[1].run
    assert two[1].run is not three[1].run
    again = index.stages(images, queries, K, grid)
    assert all(same(a.run, b.run) for p, q in zip((one, two, three), again, strict=True)
               for a, b in zip(p, q, strict=True))  # fmt: skip


@pytest.mark.parametrize("spec", ["PCA16,IVF64_HNSW4,PQ4,RFlat", "PCA16,HNSW8,SQ8,RFlat", "IVF16,RaBitQ"])
def test_stages_change_neither_the_index_nor_with_the_threads(spec):
    index = built(spec)
    before = hashlib.sha256(faiss.serialize_index(index._faiss)).digest()
    with environment.threads(1):
        one = stages(spec)
    with environment.threads(4):
        four = stages(spec)
    assert all(same(one[kind], four[kind]) for kind in one)
    assert all(np.array_equal(one[kind].scores, four[kind].scores) for kind in one)
    assert hashlib.sha256(faiss.serialize_index(index._faiss)).digest() == before
    assert index.parameters == Index.build(spec, collection()[0]).parameters


def test_float16_vectors_are_the_same_as_their_float32():
    images, queries = (side.astype("float16") for side in collection())
    index = Index.build("RR32,SQ8", images)
    whole = index.stages(images.astype("float32"), queries.astype("float32"), K)[0]
    assert all(same(a.run, b.run) for a, b in zip(whole, index.stages(images, queries, K)[0], strict=True))


def test_a_wrapped_index_names_its_classes():
    images, queries = collection()
    index = Index.wrap(images.ids, built("PCA16,IVF16,SQ8")._faiss, name="mine, 1")
    found = index.stages(images, queries, K)[0]
    assert [stage.name for stage in found] == [
        "transform (PCAMatrix)",
        "quantiser (IVFScalarQuantizer)",
        "search (nprobe=1)",
    ]
    assert same(found[1].run, stages("PCA16,IVF16,SQ8")["quantiser"])


def test_bad_input_says_what_to_do():
    images, queries = collection()
    index = built("IVF16,SQ8")
    wrong = [
        (
            lambda: index.stages(images.select(range(900)), queries, K),
            "900 images x 32 and queries x 32 came. IVF16,SQ8 holds 1,200 x 32, and its images have the same",
        ),
        (lambda: index.stages(images.truncated(8), queries, K), "1,200 images x 8 and queries x 32 came."),
        (lambda: index.stages(images, queries.truncated(8), K), "1,200 images x 32 and queries x 8 came."),
        (lambda: index.stages(images.vectors, queries, K), "The images came as ndarray."),
        (lambda: index.stages(images, queries, 0), "k is 0."),
        (lambda: index.stages(images, queries, K, [{"efSearch": 3}]), "'efSearch' is not a search parameter"),
        (
            lambda: index.stages(images, queries, K, found=[]),
            "0 runs came for 1 points. Each point has one, over these queries and images and to depth 10.",
        ),
        (lambda: index.stages(images, queries, K, found=[exact().top(5)]), "1 runs came for 1 points."),
    ]
    for call, text in wrong:
        with pytest.raises(InputError) as error:
            call()
        assert str(error.value).startswith(text)


def test_an_index_whose_codes_cannot_all_be_compared_is_refused():
    images, queries = collection()
    graph = faiss.IndexNSGFlat(DIM, 16, faiss.METRIC_INNER_PRODUCT)
    graph.add(images.vectors)
    with pytest.raises(InputError) as error:
        Index.wrap(images.ids, graph).stages(images, queries, K)
    assert str(error.value) == (
        "IndexNSGFlat has no search that compares every code. Stages are known for Flat, SQ, PQ, RQ, RaBitQ, "
        "and IVF and HNSW around them. Compare the runs that you have by funnel_of."
    )
