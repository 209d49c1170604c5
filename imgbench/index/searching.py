"""Searches whose results depend neither on the number of threads nor, for exact ones, on the batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float32, Int64

from imgbench import stopwatch
from imgbench.index._faiss import FaissIndex, FaissRequest, concrete, faiss
from imgbench.index.gpu import on_gpu

Found = tuple[Float32[np.ndarray, "query k"], Int64[np.ndarray, "query k"]]

BLOCK = 256
"""Queries in one FAISS call. A constant: how a batch is cut decides its rounding and its order of ties."""

_SLACK = 8  # rows searched beyond k, so that ties at the cut show
_ROUNDING = 1e-5  # two kernels differ by 3e-7 on unit vectors (measured); this is far above it
# With fewer values of queries in a call FAISS multiplies no matrices, which is 6 times slower (measured for
# 2,000 queries over 20,000 x 256; faiss.cvar.distance_compute_blas_threshold).
_MATRIX = 128_000
_CELLS = 2**24  # hits held at once before ties are settled: 192 MiB of scores and rows
_CACHED = (
    2**18
)  # float64 numbers summed at once: 2 MiB stay in the cache, twice as fast as 128 MiB (measured)


def is_flat(index: FaissIndex) -> bool:
    """Whether a search compares the query with every vector as it came: nothing is lost."""
    index = concrete(index)
    if hasattr(faiss, "GpuIndexFlat") and isinstance(index, faiss.GpuIndexFlat):
        return not index.getUseFloat16() if hasattr(index, "getUseFloat16") else True
    return type(index) in {faiss.IndexFlat, faiss.IndexFlatIP}


def search(
    index: FaissIndex, queries: Float32[np.ndarray, "query dim"], k: int, request: FaissRequest
) -> Found:
    """The k best rows of each query and their scores; -1 where an index found fewer.

    Blocks of 256 queries are searched by one thread each, so that the number of threads changes no result.
    For an exact index the blocks are as large as its matrix products need; the scores are then computed again
    in float64 and ties at the cut are settled by the row, so that neither the batch nor the blocks matter.
    Where the depth of a search changes only how many of its candidates are returned, as in IVF lists, 8 more
    are asked for, and ties at the cut go to the smaller row there too.
    """
    if on_gpu(index):
        with stopwatch.faiss():
            return index.search(queries, k, params=request)  # one stream, and its own blocks
    if is_flat(index):
        return _exact(concrete(index), queries, k)
    depth = min(int(index.ntotal), k + _SLACK) if _scans(index) else k
    scores, rows = _blocks(index, queries, depth, request)
    order = np.lexsort((rows, -scores))[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _scans(index: FaissIndex) -> bool:
    """Whether the same candidates are compared whatever the depth of the search."""
    index = concrete(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _scans(index.index)
    lists = faiss.IndexIVFFlat | faiss.IndexIVFScalarQuantizer | faiss.IndexIVFPQ
    return isinstance(index, lists | faiss.IndexScalarQuantizer | faiss.IndexPQ)


def _blocks(index: FaissIndex, queries: np.ndarray, k: int, request: FaissRequest) -> Found:
    return _parts(index, np.split(queries, range(BLOCK, len(queries), BLOCK)), k, request)


def _parts(index: FaissIndex, parts: list[np.ndarray], k: int, request: FaissRequest) -> Found:
    def one(part: np.ndarray) -> Found:
        # OpenMP keeps this number for each Python thread: the caller's own stays as it is.
        faiss.omp_set_num_threads(1)
        return index.search(part, k, params=request)

    workers = max(1, int(faiss.omp_get_max_threads()))
    with ThreadPoolExecutor(workers) as pool, stopwatch.faiss():
        found = list(pool.map(one, parts))
    return np.concatenate([scores for scores, _ in found]), np.concatenate([rows for _, rows in found])


def _exact(index: FaissIndex, queries: np.ndarray, k: int) -> Found:
    """Exact search whose ties, at the cut too, go to the smaller row: the same for any batch.

    FAISS returns ties in an order that depends on the batch. If the last of k + 8 rows scores clearly less
    than the k-th, every row that could belong to the first k is among them; else more rows are searched.
    """
    depth = min(int(index.ntotal), k + _SLACK)
    scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    vectors = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)
    left = np.arange(len(queries))
    while len(left):
        unclear: list[np.ndarray] = []
        step = max(1, _CELLS // depth)
        for part in np.split(left, range(step, len(left), step)):
            clear, *best = _settle(index, vectors, queries[part], k, depth)
            scores[part[clear]], rows[part[clear]] = best
            unclear.append(part[~clear])
        left, depth = np.concatenate(unclear), min(int(index.ntotal), depth * 4)
    return scores, rows


def _settle(
    index: FaissIndex, vectors: np.ndarray, queries: np.ndarray, k: int, depth: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which queries `depth` rows decide, and the scores and rows of their first k."""
    count = max(1, min(len(queries) // BLOCK, queries.size // _MATRIX))
    rough, found = _parts(index, np.array_split(queries, count), depth, None)
    margin = _ROUNDING * np.maximum(1.0, np.abs(rough[:, k - 1]))
    clear = (rough[:, k - 1] - rough[:, -1] > margin) | (depth == index.ntotal)
    rows = found[clear]
    scores = products(vectors, queries[clear], rows)
    order = np.lexsort((rows, -scores))[:, :k]
    return clear, np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def products(vectors: np.ndarray, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Inner products summed in float64, so that equal vectors have equal scores whatever the batch."""
    scores = np.empty(rows.shape, np.float32)
    step = max(1, _CACHED // (rows.shape[1] * vectors.shape[1]))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        gathered = vectors[rows[part]].astype(np.float64)
        scores[part] = np.einsum("qkd,qd->qk", gathered, queries[part].astype(np.float64))
    return scores
