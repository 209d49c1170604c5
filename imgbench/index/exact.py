"""Exact search: the same hits and scores for any batch, number of threads and order of work."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32, Float64, Int64, Integer

from imgbench import products, stopwatch
from imgbench.index._faiss import FaissIndex, concrete, faiss

Found = tuple[Float32[np.ndarray, "query k"], Integer[np.ndarray, "query k"]]

_SLACK = 4  # rows searched beyond k, so that ties at the cut show
# With fewer values of queries in a call FAISS multiplies no matrices, which is 6 times slower (measured for
# 2,000 queries over 20,000 x 256; faiss.cvar.distance_compute_blas_threshold).
_MATRIX = 128_000
_QUERIES, _IMAGES = 1024, 1024  # multiplied at once: 4 MiB of products stay in the cache
_FEW = 256  # queries in a call of FAISS, unless its matrix products need more
_LARGE = 2**33  # products of numbers from which blocks of our own pay: 70 ms of a core
_DEEP = 512  # hits beyond which FAISS keeps the best of a block faster
_CELLS = 2**23  # hits that a thread holds at once before ties are settled: 96 MiB of scores and rows
_CACHED = 2**18  # float64 numbers summed at once: 2 MiB stay in the cache, twice as fast as 128 (measured)


def search(index: FaissIndex, queries: Float32[np.ndarray, "query dim"], k: int) -> Found:
    """Exact search whose ties, at the cut too, go to the smaller row: the same for any batch.

    What float32 products find to k + 4 rows is scored again in float64. No other row has a product above the
    last of these, so its true score is at most that and the most by which rounding can change a product
    (`imgbench.products.margin`): where the settled k-th score is higher, the first k are among the rows
    found; else more rows are searched. An index that stays the same is measured once.
    """
    work = _Work(index, queries, k)
    left, depth = np.arange(len(queries)), min(int(index.ntotal), k + _SLACK)
    while len(left):
        left, depth = work.settled(left, depth), min(int(index.ntotal), depth * 4)
    return work.scores, work.rows


class _Work:
    """The queries of one exact search, and the first k rows of those that are settled."""

    def __init__(self, index: FaissIndex, queries: Float32[np.ndarray, "query dim"], k: int) -> None:
        self._queries, self._k = queries, k
        self._index = concrete(index)
        size = int(index.ntotal), int(index.d)
        self._vectors = faiss.rev_swig_ptr(self._index.get_xb(), size[0] * size[1]).reshape(size)
        self._lengths, self._longest = products.lengths(queries), _longest(index, self._vectors)
        self.scores = np.empty((len(queries), k), np.float32)
        self.rows = np.empty((len(queries), k), np.int32)

    def settled(self, left: Int64[np.ndarray, "left"], depth: int) -> Int64[np.ndarray, "unclear"]:
        """Searches the queries `left` to `depth` rows each; gives those that this does not decide."""
        workers = max(1, int(faiss.omp_get_max_threads()))
        find = _blocks(self._vectors) if self._large(len(left), depth) else None
        parts = products.shares(len(left), self._parts(len(left), workers, depth, own=find is not None))
        pool = products.workers(workers) if find is not None else ThreadPoolExecutor(workers)
        with pool as threads:
            one = partial(self._settle, find or self._by_faiss, self._margin(own=find is not None), depth)
            done = list(threads.map(one, [left[part] for part in parts]))
        stopwatch.faiss_took(sum(seconds for _, seconds in done) / min(workers, len(parts)))
        return np.concatenate([unclear for unclear, _ in done])

    def _margin(self, *, own: bool) -> Float64[np.ndarray, "query"]:
        dim = self._vectors.shape[1]
        return products.margin(products.roundings(dim) if own else dim, self._lengths, self._longest)

    def _large(self, queries: int, depth: int) -> bool:
        return queries * self._vectors.size >= _LARGE and depth <= _DEEP

    def _parts(self, queries: int, workers: int, depth: int, *, own: bool) -> int:
        """Into how many calls the queries are cut: as many for each worker, if there are enough."""
        matrices = min(queries // _FEW, queries * self._vectors.shape[1] // _MATRIX)
        wanted = max(workers, queries // _QUERIES) if own else max(1, matrices, -(-queries * depth // _CELLS))
        return min(queries, wanted - wanted % workers if wanted > workers else wanted)

    def _by_faiss(self, queries: Float32[np.ndarray, "query dim"], depth: int) -> Found:
        # OpenMP keeps this number for each Python thread: the caller's own stays as it is.
        faiss.omp_set_num_threads(1)
        return self._index.search(queries, depth)

    def _settle(
        self,
        find: _Find,
        margin: Float64[np.ndarray, "query"],
        depth: int,
        part: Int64[np.ndarray, "part"],
    ) -> tuple[Int64[np.ndarray, "unclear"], float]:
        """Settles the queries of `part` that `depth` rows decide; gives the others and the seconds."""
        queries = self._queries[part]
        start = time.perf_counter()
        rough, rows = find(queries, depth)
        seconds = time.perf_counter() - start
        scores, best = ordered(scored(self._vectors, queries, rows), rows, self._k)
        clear = (scores[:, -1] > rough.min(axis=1) + margin[part]) | (depth == len(self._vectors))
        self.scores[part[clear]], self.rows[part[clear]] = scores[clear], best[clear]
        return part[~clear], seconds


_Find = Callable[[Float32[np.ndarray, "query dim"], int], Found]


_LONGEST: WeakKeyDictionary[FaissIndex, tuple[int, float]] = WeakKeyDictionary()


def _longest(index: FaissIndex, vectors: Float32[np.ndarray, "image dim"]) -> float:
    """The length of the longest vector, or a little more."""
    known = _LONGEST.get(index)
    if known is None or known[0] != len(vectors):
        blocks = (vectors[first : first + _IMAGES] for first in range(0, len(vectors), _IMAGES))
        known = len(vectors), max(float(products.lengths(block).max()) for block in blocks)
        _LONGEST[index] = known
    return known[1]


def _blocks(vectors: Float32[np.ndarray, "image dim"]) -> _Find | None:
    """A search in blocks of our own products; None where FAISS's are as fast."""
    with products.alone():
        kernel = products.fastest(_faiss_alone)
    if kernel is None:
        return None

    def find(queries: Float32[np.ndarray, "query dim"], depth: int) -> Found:
        product = kernel(queries)
        scores = np.full((len(queries), depth), -np.inf, np.float32)
        rows = np.full((len(queries), depth), -1, np.int32)
        for first in range(0, len(vectors), _IMAGES):
            block = vectors[first : first + _IMAGES]
            products.keep(product(block), np.arange(first, first + len(block), dtype=np.int32), scores, rows)
        return scores, rows

    return find


def _faiss_alone(
    queries: Float32[np.ndarray, "query dim"], images: Float32[np.ndarray, "image dim"]
) -> object:
    return faiss.knn(queries, images, 1, metric=faiss.METRIC_INNER_PRODUCT)


def ordered(
    scores: Float32[np.ndarray, "query depth"], rows: Integer[np.ndarray, "query depth"], k: int
) -> Found:
    """The first k of each query by (-score, row); rows of -1 stay where they are, behind all others."""
    falling = (scores[:, :-1] > scores[:, 1:]) | (rows[:, 1:] < 0)
    wrong = np.flatnonzero(~falling.all(axis=1))
    best = scores[:, :k].copy(), rows[:, :k].copy()
    order = np.lexsort((rows[wrong], -scores[wrong]))[:, :k]
    best[0][wrong] = np.take_along_axis(scores[wrong], order, 1)
    best[1][wrong] = np.take_along_axis(rows[wrong], order, 1)
    return best


def scored(
    vectors: Float32[np.ndarray, "image dim"],
    queries: Float32[np.ndarray, "query dim"],
    rows: Integer[np.ndarray, "query depth"],
) -> Float32[np.ndarray, "query depth"]:
    """Inner products summed in float64, so that equal vectors have equal scores whatever the batch."""
    scores = np.empty(rows.shape, np.float32)
    step = max(1, _CACHED // (rows.shape[1] * vectors.shape[1]))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        gathered = vectors[rows[part]].astype(np.float64)
        scores[part] = np.einsum("qkd,qd->qk", gathered, queries[part].astype(np.float64))
    return scores
