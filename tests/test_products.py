from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from imgbench import products


def unit(rows: int, dim: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("kernel", products.KERNELS)
def test_kernels_round_far_less_than_what_is_settled(kernel):
    queries, images = unit(33, 300, 0), unit(70, 300, 1)
    truth = queries.astype(np.float64) @ images.T.astype(np.float64)
    assert np.abs(kernel(queries)(images) - truth).max() < products.ROUNDING / 10


@pytest.fixture
def untried():
    products._fastest.cache_clear()
    yield
    products._fastest.cache_clear()


def slow(queries):
    time.sleep(0.01)
    return products.by_numpy(queries)


def wrong(queries):
    return lambda images: products.by_numpy(queries)(images) + np.float32(products.ROUNDING)


def absent(queries):
    raise RuntimeError("no oneDNN here")


def test_the_fastest_that_is_exact_enough_is_taken(monkeypatch, untried):
    monkeypatch.setattr(products, "KERNELS", (wrong, slow, absent, products.by_numpy))
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
