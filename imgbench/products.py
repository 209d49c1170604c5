"""Inner products of queries and images in float32, and the best of them so far.

Each library picks its kernel by what it knows of the processor: oneDNN, inside torch, by its instructions;
OpenBLAS, inside numpy and inside FAISS, by its model. A model newer than the library gets a slow kernel: on
an AMD EPYC of 2024 FAISS's own OpenBLAS multiplied 4.5 times as slowly as numpy's newer one, and both, told
to use AVX2, 1.6 times as slowly as oneDNN (measured). So the fastest here is found by trying.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Integer

if TYPE_CHECKING:
    import torch

PANEL = 256
"""Dimensions that our own kernels sum at once: fewer roundings in a row, so a smaller `margin`."""

Block: TypeAlias = Float32[np.ndarray, "query image"]
Product: TypeAlias = Callable[[Float32[np.ndarray, "image dim"]], Block]
"""Some queries, waiting for images."""

Kernel: TypeAlias = Callable[[Float32[np.ndarray, "query dim"]], Product]

_TRIED = 512, 1024, 512  # queries, images, dimensions: 3 ms of one core
_TRIALS, _CHECKED = 5, 64
_CLEARLY = 0.8  # of the time of something else
_UNIT = 2.0**-24  # half the distance from 1 to the next float32
_TINY = float(np.finfo(np.float32).tiny)  # below it numbers may be rounded to 0
_LOST = 2.9e-8  # what added to 0.5 changes nothing in float32


def fastest(beside: Callable[..., object] | None = None) -> Kernel | None:
    """The kernel that multiplies queries and images fastest here, with as many threads as there are now.

    None if `beside`, called with the queries and the images, takes hardly longer. The last bits of products
    depend on the library and on how queries and images are cut into blocks: what reaches a result has to be
    settled to within `margin` by other means.

    >>> fastest()(np.float32([[1, 0], [0.6, 0.8]]))(np.float32([[0, 1]]))
    array([[0. ],
           [0.8]], dtype=float32)
    """
    import torch

    return _fastest(beside, torch.get_float32_matmul_precision())


def roundings(dim: int) -> int:
    """How many roundings any number of a product passes on its way through our own kernels.

    >>> roundings(256), roundings(1024)
    (256, 259)
    """
    return min(dim, PANEL) + -(-dim // PANEL) - 1


def lengths(rows: Float32[np.ndarray, "row dim"]) -> Float64[np.ndarray, "row"]:
    """The L2 norms of the rows or a little more, never less.

    >>> lengths(np.float32([[3, 4], [0, 0]])).round(3)
    array([5., 0.])
    """
    squares = np.einsum("rd,rd->r", rows, rows).astype(np.float64)
    # What is too small for float32 may count as 0 in a sum of squares.
    return np.sqrt(squares + rows.shape[1] * _TINY) * (1 + _gamma(rows.shape[1]))


def margin(terms: int, queries: Float64[np.ndarray, "query"], longest: float) -> Float64[np.ndarray, "query"]:
    """How far a float32 product of each query and an image may lie from the true one: a bound, no estimate.

    Whatever the order of the sum, |error| <= gamma |q| |x| with gamma = n u / (1 - n u), u = 2^-24, where
    each number is rounded n times (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section
    3.1): n is at most the dimensions, and `roundings` in our kernels. Small numbers behind a large one do
    get lost so: sqrt(0.5) and 1,023 times 0.00017 lose half of this bound in a plain loop.

    `terms` is n, `queries` are the `lengths` of queries and `longest` the largest one of an image. Eight
    roundings more allow for those of the settled score and of the limits that it is compared with.

    >>> margin(256, np.ones(1), 1.0)
    array([1.57...e-05])
    """
    return _gamma(terms + 8) * queries * longest + terms * _TINY


def _gamma(terms: int) -> float:
    return terms * _UNIT / (1 - terms * _UNIT)


class _Hold:
    """The pools of the process at one thread, for as long as somebody needs them so.

    OpenMP keeps its number for each Python thread, and each puts its own back. BLAS may have one for all:
    whoever sets it also puts it back, and who comes meanwhile leaves it alone. (For another thread,
    threadpoolctl might not.) torch's number is put back by the last to go: any worker may have set it.
    """

    def __init__(self) -> None:
        self._lock, self._users, self._torch, self._blas = threading.Lock(), 0, 1, False

    @contextlib.contextmanager
    def __call__(self) -> Generator[None]:
        import torch
        from threadpoolctl import ThreadpoolController

        pools = ThreadpoolController()
        with contextlib.ExitStack() as held:
            with self._lock:
                if not self._users:
                    self._torch = torch.get_num_threads()
                if self._blas:
                    pools = pools.select(user_api="openmp")
                else:
                    self._blas = True
                    held.callback(self._free)
                held.enter_context(pools.limit(limits=1))
                self._users += 1
                held.callback(self._leave)
            yield

    def _free(self) -> None:
        self._blas = False

    def _leave(self) -> None:
        import torch

        with self._lock:
            self._users -= 1
            if not self._users:
                # Set by any thread, it also holds for MKL as a whole and for threads to come.
                torch.set_num_threads(self._torch)


alone = _Hold()
"""A context in which BLAS, OpenMP and torch compute with one thread, also if several threads are in it."""


@contextlib.contextmanager
def workers(count: int) -> Generator[Executor]:
    """A pool of so many threads, each of which computes alone; all get back the threads they had before."""
    import torch

    with alone(), ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool


def by_numpy(queries: Float32[np.ndarray, "query dim"]) -> Product:
    """The products by the BLAS of numpy."""
    first, *others = _panels(queries.shape[1])

    def product(images: Float32[np.ndarray, "image dim"]) -> Block:
        S = queries[:, first] @ images[:, first].T
        more = np.empty_like(S) if others else S
        for panel in others:
            np.matmul(queries[:, panel], images[:, panel].T, out=more)
            np.add(S, more, out=S)
        return S

    return product


def by_onednn(queries: Float32[np.ndarray, "query dim"]) -> Product:
    """The products by oneDNN, which torch uses for tensors in its layout."""
    import torch

    panels = _panels(queries.shape[1])
    asked = _tensor(queries)
    rows = [asked[:, panel].to_mkldnn() for panel in panels]

    def product(images: Float32[np.ndarray, "image dim"]) -> Block:
        found = _tensor(images)
        parts = (
            torch.nn.functional.linear(row, found[:, panel].to_mkldnn()).to_dense()
            for row, panel in zip(rows, panels, strict=True)
        )
        S = next(parts)
        for part in parts:
            S.add_(part)
        return S.numpy()

    return product


def _panels(dim: int) -> list[slice]:
    return [slice(first, min(first + PANEL, dim)) for first in range(0, dim, PANEL)]


def _tensor(rows: Float32[np.ndarray, "row dim"]) -> torch.Tensor:
    import torch

    # torch warns of memory that it must not write to, such as a file's, though nothing is written here.
    return torch.from_numpy(rows if rows.flags.writeable else rows.copy())


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
    """Whether errors keep far below their bound, and within it for a vector that is made to provoke them."""
    limit = _gamma(roundings(queries.shape[1]))
    hard = hardest(queries.shape[1])[None]
    try:
        return _error(kernel, queries, images) < limit / 4 and _error(kernel, hard, hard) <= limit
    except (RuntimeError, NotImplementedError):  # a torch without oneDNN
        return False


def _error(
    kernel: Kernel, queries: Float32[np.ndarray, "query dim"], images: Float32[np.ndarray, "image dim"]
) -> float:
    truth = queries.astype(np.float64) @ images.T.astype(np.float64)
    return float(np.abs(kernel(queries)(images) - truth).max())


def hardest(dim: int) -> Float32[np.ndarray, "dim"]:
    """A vector no longer than 1 whose product with itself a plain loop rounds to 0.5 after its first step.

    >>> x = hardest(1024)
    >>> float(x.astype(np.float64) @ x) - 0.5
    2.96...e-05
    """
    x = np.full(dim, _LOST**0.5, np.float32)
    x[0] = 0.5**0.5
    return x


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
