"""Inner products of queries and images in float32, and the best of them so far.

Each library picks its kernel by what it knows of the processor: oneDNN, inside torch, by its instructions;
OpenBLAS, inside numpy and inside FAISS, by its model. A model newer than the library gets a slow kernel: on
an AMD EPYC of 2024 FAISS's own OpenBLAS multiplied 4.5 times as slowly as numpy's newer one, and both, told
to use AVX2, 1.6 times as slowly as oneDNN (measured). So the fastest here is found by trying.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Int64, Integer

from imgbench import environment

ROUNDING = 1e-5
"""Two float32 products of the same unit vectors differ by 3e-7 (measured); this is far above it."""

Block: TypeAlias = Float32[np.ndarray, "query image"]
Product: TypeAlias = Callable[[Float32[np.ndarray, "image dim"]], Block]
"""Some queries, waiting for images."""

Kernel: TypeAlias = Callable[[Float32[np.ndarray, "query dim"]], Product]

_TRIED = 512, 1024, 512  # queries, images, dimensions: 3 ms of one core
_TRIALS, _CHECKED = 5, 64
_CLEARLY = 0.8  # of the time of something else


def fastest(beside: Callable[..., object] | None = None) -> Kernel | None:
    """The kernel that multiplies queries and images fastest here, with as many threads as there are now.

    None if `beside`, called with the queries and the images, takes hardly longer. The last bits of products
    depend on the library and on how queries and images are cut into blocks: what reaches a result has to be
    settled to within `ROUNDING` by other means.

    >>> fastest()(np.float32([[1, 0], [0.6, 0.8]]))(np.float32([[0, 1]]))
    array([[0. ],
           [0.8]], dtype=float32)
    """
    import torch

    return _fastest(beside, torch.get_float32_matmul_precision())


@contextlib.contextmanager
def workers(count: int) -> Generator[Executor]:
    """A pool of so many threads, each of which computes alone; all get back the threads they had before."""
    import torch

    before = torch.get_num_threads()
    try:
        with (
            environment.threads(1),
            ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ):
            yield pool
    finally:
        # Set by any thread, it also holds for MKL as a whole and for threads to come.
        torch.set_num_threads(before)


def by_numpy(queries: Float32[np.ndarray, "query dim"]) -> Product:
    """The products by the BLAS of numpy."""
    return lambda images: queries @ images.T


def by_onednn(queries: Float32[np.ndarray, "query dim"]) -> Product:
    """The products by oneDNN, which torch uses for tensors in its layout."""
    import torch

    rows = torch.from_numpy(queries).to_mkldnn()

    def product(images: Float32[np.ndarray, "image dim"]) -> Block:
        return torch.nn.functional.linear(rows, torch.from_numpy(images).to_mkldnn()).to_dense().numpy()

    return product


KERNELS = by_numpy, by_onednn


@cache
def _fastest(beside: Callable[..., object] | None, precision: str) -> Kernel | None:
    """`precision` is torch's, which its user may lower: then oneDNN may no longer be exact enough."""
    del precision
    rng = np.random.default_rng(0)
    queries, images = (
        rng.standard_normal((rows, _TRIED[2]), dtype=np.float32) / np.float32(_TRIED[2] ** 0.5)
        for rows in _TRIED[:2]
    )
    exact = [kernel for kernel in KERNELS if _rounds_little(kernel, queries, images[:_CHECKED])]
    calls: dict[Any, Callable[[], object]] = {
        kernel: partial(_once, kernel, queries, images) for kernel in exact
    }
    if beside is not None:
        calls[None] = partial(beside, queries, images)
    took = dict.fromkeys(calls, float("inf"))
    for _ in range(_TRIALS):
        for kernel, call in calls.items():
            start = time.perf_counter()
            call()
            took[kernel] = min(took[kernel], time.perf_counter() - start)
    best = min(exact, key=lambda kernel: took[kernel])
    return None if took[best] > _CLEARLY * took.get(None, float("inf")) else best


def _once(
    kernel: Kernel, queries: Float32[np.ndarray, "query dim"], images: Float32[np.ndarray, "image dim"]
) -> Block:
    return kernel(queries)(images)


def _rounds_little(
    kernel: Kernel, queries: Float32[np.ndarray, "query dim"], images: Float32[np.ndarray, "image dim"]
) -> bool:
    try:
        found = kernel(queries)(images)
    except (RuntimeError, NotImplementedError):  # a torch without oneDNN
        return False
    truth = queries.astype(np.float64) @ images.T.astype(np.float64)
    return bool(np.abs(found - truth).max() < ROUNDING / 4)


def keep(
    S: Block,
    rows: Integer[np.ndarray, "image"],
    scores: Float32[np.ndarray, "query depth"],
    kept: Integer[np.ndarray, "query depth"],
) -> None:
    """Puts the best of a block among the best so far, in place and in no order; -inf is never kept.

    >>> scores, kept = np.float32([[0.5, -np.inf]]), np.array([[7, -1]])
    >>> keep(np.float32([[0.1, 0.9, -np.inf]]), np.array([20, 21, 22]), scores, kept)
    >>> sorted(zip(scores[0].tolist(), kept[0].tolist()))
    [(0.5, 7), (0.8999999761581421, 21)]
    """
    better = scores.min(axis=1, keepdims=True) < S
    count = np.count_nonzero(better)
    if not count:
        return
    if count < S.size // 4:
        new, which = _listed(S, rows.astype(kept.dtype, copy=False), better)
    else:
        new, which = S, np.where(np.isneginf(S), -1, rows).astype(kept.dtype, copy=False)
    every, where = np.concatenate([scores, new], axis=1), np.concatenate([kept, which], axis=1)
    best = np.argpartition(-every, scores.shape[1] - 1, axis=1)[:, : scores.shape[1]]
    scores[:], kept[:] = np.take_along_axis(every, best, 1), np.take_along_axis(where, best, 1)


def _listed(
    S: Block, rows: Integer[np.ndarray, "image"], better: Bool[np.ndarray, "query image"]
) -> tuple[Float32[np.ndarray, "query most"], Integer[np.ndarray, "query most"]]:
    """What is better in each row, closed up; -inf and -1 behind it."""
    # In one row of numbers numpy finds what is not zero ten times as fast as in a table (measured).
    found = np.flatnonzero(better)
    line, column = np.divmod(found, S.shape[1])
    counts = np.bincount(line, minlength=len(S))
    at = np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts)
    new = np.full((len(S), counts.max()), -np.inf, dtype=np.float32)
    which = np.full(new.shape, -1, dtype=rows.dtype)
    new[line, at], which[line, at] = S.reshape(-1)[found], rows[column]
    return new, which


def row_sums(mask: Bool[np.ndarray, "row column"]) -> Int64[np.ndarray, "row"]:
    """How many values of each row are true."""
    # Eight times less to add than a sum over bytes.
    return np.bitwise_count(np.packbits(mask, axis=1)).sum(axis=1, dtype=np.int64)


def shares(count: int, parts: int) -> list[slice]:
    """`count` rows cut into so many parts, equal but for a row.

    >>> shares(10, 4)
    [slice(0, 3, None), slice(3, 5, None), slice(5, 8, None), slice(8, 10, None)]
    """
    ends = [-(-count * part // parts) for part in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(ends)]
