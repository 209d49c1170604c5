from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from imgbench import products
from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.index import Index
from imgbench.qrels import Qrels
from imgbench.ranks import Ranks, counting, relevant_ranks


def embeddings(prefix: str, rows: np.ndarray) -> Embeddings:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Embeddings([f"{prefix}{row}" for row in range(len(rows))], unit.astype(np.float16))


@pytest.fixture
def world() -> tuple[Embeddings, Embeddings, Qrels]:
    """300 images, of which many are equal or nearly so, and 80 queries with 1 to 12 graded images each."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 8))
    rows[100:160] = rows[:60]  # copies: ties in every list
    rows[160:200] = np.round(rows[160:200] * 1.0)
    images, queries = embeddings("i", rows), embeddings("q", rng.standard_normal((80, 8)))
    judged = {
        f"q{query}": {
            f"i{image}": int(rng.integers(0, 3)) for image in rng.choice(300, 1 + query % 12, replace=False)
        }
        for query in range(80)
    }
    return images, queries, Qrels.from_dict(judged)


def positions(images: Embeddings, queries: Embeddings, qrels: Qrels) -> dict[tuple[str, str], int]:
    """The rank of every relevant image in a search that returns all images."""
    run = Index.build("Flat", images).search(queries, k=len(images))
    grades = qrels.to_dict()
    return {
        (query, images.ids[row]): rank
        for query, hits in zip(run.query_ids, run.rows.tolist(), strict=True)
        for rank, row in enumerate(hits, start=1)
        if grades.get(query, {}).get(images.ids[row], 0) > 0
    }


def named(ranks: Ranks, images: Embeddings, values: np.ndarray) -> dict[tuple[str, str], int]:
    names = ranks.qrels.query_ids
    return {
        (names[query], images.ids[image]): value
        for query, image, value in zip(ranks.query_rows, ranks.image_rows, values.tolist(), strict=True)
    }


def test_every_rank_is_the_position_in_exact_search(world):
    images, queries, qrels = world
    found = relevant_ranks(images, queries, qrels)
    expected = positions(images, queries, qrels)
    assert len(expected) > 300
    assert named(found, images, found.ranks) == expected
    assert found.missing == 0


@pytest.mark.parametrize(("block", "asked"), [(7, 3), (300, 80), (64, 1)])
def test_blocks_and_threads_change_nothing(world, monkeypatch, block, asked):
    expected = relevant_ranks(*world, threads=1)
    monkeypatch.setattr(counting, "IMAGES", block)
    monkeypatch.setattr(counting, "QUERIES", asked)
    found = relevant_ranks(*world, threads=3)
    np.testing.assert_array_equal(found.ranks, expected.ranks)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.grades, expected.grades)


@pytest.mark.parametrize("kernel", products.KERNELS)
@pytest.mark.parametrize("dim", [512, 1024, 4096])
def test_ranks_are_right_where_float32_loses_many_small_products(kernel, dim, monkeypatch):
    query = products.hardest(dim)
    query[-2:] = 0
    query[-2] = (1 - float((query.astype(np.float64) ** 2).sum())) ** 0.5
    rows = np.zeros((60, dim), dtype=np.float32)
    rows[:, 2] = 1
    rows[50] = query
    rows[50, -2] = 0
    rows[50, -1] = (1 - float((rows[50].astype(np.float64) ** 2).sum())) ** 0.5
    true = float(query.astype(np.float64) @ rows[50].astype(np.float64))
    rows[:10] = 0
    rows[:10, 0] = (true - 7e-6 * np.linspace(0.05, 0.9, 10)) / float(query[0])
    rows[:10, -1] = np.sqrt(1 - rows[:10, 0].astype(np.float64) ** 2)
    images = Embeddings([f"i{row}" for row in range(60)], rows)
    queries = Embeddings([f"q{row}" for row in range(64)], query[None].repeat(64, axis=0))
    monkeypatch.setattr(products, "fastest", lambda: kernel)
    found = relevant_ranks(images, queries, {name: {"i50": 1, "i0": 1, "i5": 1} for name in queries.ids})
    assert found.ranks.tolist() == [1, 2, 7] * 64


@pytest.mark.filterwarnings("error")
def test_vectors_in_a_file_are_counted_without_a_warning(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows / np.linalg.norm(rows, axis=1, keepdims=True))
    images = Embeddings([f"i{row}" for row in range(40)], np.load(tmp_path / "x.npy", mmap_mode="r"))
    monkeypatch.setattr(products, "fastest", lambda: products.by_onednn)
    found = relevant_ranks(images, images.select([3, 4]), {"i3": {"i3": 1}, "i4": {"i4": 1}})
    assert found.ranks.tolist() == [1, 1]


def test_all_images_equal_means_order_by_row():
    images = embeddings("i", np.ones((50, 4)))
    found = relevant_ranks(images, embeddings("q", np.ones((1, 4))), {"q0": {"i7": 1, "i30": 1, "i0": 1}})
    assert found.ranks.tolist() == [1, 8, 31]
    assert found.above_relevant.tolist() == [0, 1, 2]
    assert found.above_pool.tolist() == [0, 6, 28]


def test_images_outside_the_pool_are_counted_apart(world):
    images, queries, qrels = world
    mask = np.arange(300) % 3 == 0
    found = relevant_ranks(images, queries, qrels, pool=mask)
    whole = relevant_ranks(images, queries, qrels)
    np.testing.assert_array_equal(found.ranks, whole.ranks)
    np.testing.assert_array_equal(found.above_pool + found.above_fixed, whole.above_pool)
    assert not whole.above_fixed.any()
    assert found.above_fixed.any()
    by_name = relevant_ranks(images, queries, qrels, pool=[images.ids[row] for row in np.flatnonzero(mask)])
    np.testing.assert_array_equal(by_name.above_pool, found.above_pool)
    # Counted one by one, in the list of all images.
    run = Index.build("Flat", images).search(queries, k=300)
    place = dict(zip(run.query_ids, run.rows, strict=True))
    relevant: dict[int, set[int]] = {}
    for query, image in zip(found.query_rows, found.image_rows, strict=True):
        relevant.setdefault(query, set()).add(image)
    for query, rank, above in zip(found.query_rows, found.ranks, found.above_pool, strict=True):
        before = place[qrels.query_ids[query]][: rank - 1]
        assert above == sum(mask[row] and row not in relevant[query] for row in before)
    for query, images_of in relevant.items():
        assert found.distractors[query] == 100 - sum(mask[list(images_of)])


def test_the_best_distractors_are_the_first_of_exact_search(world, monkeypatch):
    images, queries, qrels = world
    monkeypatch.setattr(counting, "IMAGES", 70)
    mask = np.arange(300) < 200
    found = relevant_ranks(images, queries, qrels, pool=mask, depth=20)
    run = Index.build("Flat", images).search(queries, k=300)
    place = {name: row for row, name in enumerate(run.query_ids)}
    relevant = set(zip(found.query_rows.tolist(), found.image_rows.tolist(), strict=True))
    for query in np.unique(found.query_rows).tolist():
        at = place[qrels.query_ids[query]]
        wanted = [
            score
            for row, score in zip(run.rows[at].tolist(), run.scores[at], strict=True)
            if mask[row] and (query, row) not in relevant
        ]
        np.testing.assert_allclose(found.top_scores[query], wanted[:20], atol=1e-6)
        assert all(mask[row] and (query, row) not in relevant for row in found.top_rows[query].tolist())


def test_fewer_distractors_than_depth_end_in_minus_one():
    images = embeddings("i", np.eye(4))
    found = relevant_ranks(images, embeddings("q", np.eye(4)[:1]), {"q0": {"i0": 1, "i2": 1}}, depth=9)
    assert found.top_rows.shape == (1, 4)
    assert sorted(found.top_rows[0].tolist()) == [-1, -1, 1, 3]
    assert np.isneginf(found.top_scores[0, 2:]).all()


def test_what_has_no_vector_has_no_rank_and_is_counted():
    images, queries = embeddings("i", np.eye(3)), embeddings("q", np.eye(3)[:1])
    judged = {"q0": {"i1": 1, "gone": 2}, "nobody": {"i0": 1}, "q9": {"i2": 0}}
    found = relevant_ranks(images, queries, judged)
    assert named(found, images, found.grades) == {("q0", "i1"): 1}
    assert found.missing == 2
    assert repr(found) == "Ranks(1 relevant images of 3 queries among 3 images)"


def test_memory_is_bounded_by_the_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    images, queries = embeddings("i", rng.standard_normal((20_000, 8))), embeddings("q", np.eye(400, 8) + 0.1)
    judged = Qrels.from_dict({name: {f"i{row}": 1} for row, name in enumerate(queries.ids)})
    monkeypatch.setattr(counting, "QUERIES", 100)
    products.fastest()  # tried once in a process, with a few MB of its own
    tracemalloc.start()
    relevant_ranks(images, queries, judged, depth=4, threads=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All scores would be 32 MB; a block of them is 0.8 MB, beside ids and a few rows of numbers.
    assert peak < 12e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"queries": embeddings("q", np.eye(3))},
            "The queries have 3 dimensions and the images 4. Both come from one encoder.",
        ),
        (
            {"qrels": {"q0": {"i0": 0}}},
            "None of the 1 judgements finds a relevant image for a query of these. A rank needs a",
        ),
        ({"qrels": {"q0": {"x": 1}}}, "None of the 1 judgements finds a relevant image"),
        ({"pool": []}, "The pool is empty. Smaller corpora draw their distractors from it. Name some images"),
        ({"pool": np.zeros(4, dtype=bool)}, "The pool is empty."),
        ({"pool": np.ones(3, dtype=bool)}, "The pool's mask has the shape (3,). There are 4 images."),
        (
            {"pool": ["i0", "x", "y"]},
            "2 ids of the pool are not among the images, such as 'x'. The pool is a",
        ),
        ({"threads": 0}, "threads is 0. Counting takes a thread or more."),
        ({"depth": 0}, "depth is 0. Some distractors are kept a query."),
        ({"images": np.eye(4)}, "The images came as ndarray. Wanted Embeddings"),
    ],
)
def test_bad_input_is_three_sentences(change, message):
    given = {
        "images": embeddings("i", np.eye(4)),
        "queries": embeddings("q", np.eye(4)),
        "qrels": {"q0": {"i0": 1}},
    }
    with pytest.raises(InputError) as error:
        relevant_ranks(**(given | change))
    assert str(error.value).startswith(message)
