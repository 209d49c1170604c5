from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from threadpoolctl import ThreadpoolController, threadpool_info

from imgbench import products


def unit(rows: int, dim: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("kernel", products.KERNELS)
def test_kernels_round_far_less_than_what_is_settled(kernel):
    queries, images = unit(33, 300, 0), unit(70, 300, 1)
    truth = queries.astype(np.float64) @ images.T.astype(np.float64)
    bound = products.margin(products.roundings(300), np.ones(33), 1.0)
    assert np.abs(kernel(queries)(images) - truth).max() < bound.min() / 10


@pytest.mark.parametrize("dim", [1, 7, 256, 257, 1024, 4096])
@pytest.mark.parametrize("kernel", products.KERNELS)
def test_the_worst_vectors_stay_within_the_bound(kernel, dim):
    worst = products.hardest(dim) * np.float32([1, -1, 30])[:, None]
    bound = products.margin(products.roundings(dim), products.lengths(worst), products.lengths(worst).max())
    truth = worst.astype(np.float64) @ worst.T.astype(np.float64)
    assert (np.abs(kernel(worst)(worst) - truth) <= bound[:, None]).all()
    assert products.roundings(dim) <= dim


def test_a_plain_loop_comes_near_the_bound():
    x = products.hardest(1024)
    total = np.float32(0)
    for value in x * x:
        total += value
    error = float(x.astype(np.float64) @ x) - float(total)
    bound = products.margin(1024, products.lengths(x[None]), products.lengths(x[None])[0])
    assert bound / 3 < error < bound


def test_lengths_are_never_too_short():
    x = unit(50, 300, 2) * np.float32(10.0) ** np.arange(-25, 25, dtype=np.float32)[:, None] * np.float32(0.1)
    x = x[np.linalg.norm(x.astype(np.float64), axis=1) < 1e18]
    true = np.linalg.norm(x.astype(np.float64), axis=1)
    found = products.lengths(x)
    assert (found >= true).all()
    np.testing.assert_allclose(found, true, rtol=1e-4, atol=1e-17)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kernel", products.KERNELS)
def test_what_must_not_be_written_to_is_multiplied_without_a_warning(kernel):
    queries, images = unit(3, 300, 0), unit(4, 300, 1)
    expected = kernel(queries)(images)
    for each in (queries, images):
        each.flags.writeable = False
    np.testing.assert_array_equal(kernel(queries)(images), expected)


@pytest.fixture
def untried():
    products._fastest.cache_clear()
    yield
    products._fastest.cache_clear()


def slow(queries):
    time.sleep(0.01)
    return products.by_numpy(queries)


def wrong(queries):
    return lambda images: products.by_numpy(queries)(images) + np.float32(1e-5)


def careless(queries):
    """Exact for any vectors but those that are made to show that it adds up in one go."""
    large = queries[0, 0] > 0.7
    return lambda images: products.by_numpy(queries)(images) - np.float32(large * 3e-5)


def absent(queries):
    raise RuntimeError("no oneDNN here")


def test_the_fastest_that_is_exact_enough_is_taken(monkeypatch, untried):
    monkeypatch.setattr(products, "KERNELS", (wrong, careless, slow, absent, products.by_numpy))
    assert products.fastest() is products.by_numpy


def test_nothing_is_taken_where_something_else_is_as_fast(monkeypatch, untried):
    monkeypatch.setattr(products, "KERNELS", (slow,))
    assert products.fastest(lambda queries, images: None) is None
    assert products.fastest(lambda queries, images: time.sleep(0.1)) is slow


def test_workers_compute_alone_and_leave_the_numbers_of_others():
    def own(_: int) -> tuple[int, int]:
        time.sleep(0.01)
        return torch.get_num_threads(), threading.get_ident()

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with products.workers(3) as pool:
            found = list(pool.map(own, range(9)))
        assert {threads for threads, _ in found} == {1}
        assert len({thread for _, thread in found}) > 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def set_blas(counts: list[int]) -> list[int]:
    """Sets all BLAS pools in a thread that ends: while it lived, no other could set them."""
    found = [pool for pool in ThreadpoolController().lib_controllers if pool.user_api == "blas"]
    before = [pool.num_threads for pool in found]

    def work() -> None:
        for pool, count in zip(found, counts * len(found), strict=False):
            pool.set_num_threads(count)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return before


def pools() -> list[int]:
    return [*(pool["num_threads"] for pool in threadpool_info()), torch.get_num_threads()]


@pytest.fixture
def two_threads():
    threads, blas = torch.get_num_threads(), set_blas([2])
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)
    set_blas(blas)


@pytest.mark.parametrize("first_out", [0, 1])
def test_two_that_compute_alone_at_once_leave_all_threads_as_they_were(two_threads, first_out):
    inside, leave = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

    def hold(number: int) -> None:
        with products.workers(1) as pool:
            pool.submit(int).result()
            inside[number].set()
            leave[number].wait(10)

    before = pools()
    threads = [threading.Thread(target=hold, args=(number,)) for number in range(2)]
    for number, thread in enumerate(threads):
        thread.start()
        assert inside[number].wait(10)
    assert pools() != before  # numpy's BLAS has one number for all threads
    for number in (first_out, 1 - first_out):
        leave[number].set()
        threads[number].join()
    assert pools() == before
    seen: list[int] = []
    fresh = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    fresh.start()
    fresh.join()
    assert seen == [2]


@pytest.mark.parametrize("width", [7, 40, 300])
def test_the_best_of_all_blocks_are_kept(width):
    rng = np.random.default_rng(0)
    S = rng.random((20, 300)).astype(np.float32)
    S[:, ::9] = -np.inf
    scores, rows = np.full((20, 12), -np.inf, np.float32), np.full((20, 12), -1)
    for first in range(0, 300, width):
        block = S[:, first : first + width].copy()
        products.keep(block, np.arange(first, first + block.shape[1]), scores, rows)
    order = np.argsort(-scores, axis=1)
    expected = np.argsort(-S, axis=1)[:, :12]
    np.testing.assert_array_equal(np.take_along_axis(rows, order, 1), expected)
    np.testing.assert_array_equal(np.take_along_axis(scores, order, 1), np.take_along_axis(S, expected, 1))


def test_what_scores_minus_infinity_is_never_kept():
    scores, rows = np.full((1, 3), -np.inf, np.float32), np.full((1, 3), -1)
    products.keep(np.float32([[-np.inf, 0.5, -np.inf]]), np.arange(3), scores, rows)
    assert sorted(rows[0].tolist()) == [-1, -1, 1]
