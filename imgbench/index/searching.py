"""Searches whose results depend neither on the number of threads nor, for exact ones, on the batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float32

from imgbench import stopwatch
from imgbench.index import exact
from imgbench.index._faiss import FaissIndex, FaissRequest, concrete, faiss
from imgbench.index.exact import Found
from imgbench.index.gpu import on_gpu

BLOCK, _SHARE, _LEAST = 256, 4, 64
_SLACK = 8  # hits beyond k, so that ties at the cut show


def is_flat(index: FaissIndex) -> bool:
    """Whether a search compares the query with every vector as it came: nothing is lost."""
    index = concrete(index)
    if hasattr(faiss, "GpuIndexFlat") and isinstance(index, faiss.GpuIndexFlat):
        return not index.getUseFloat16() if hasattr(index, "getUseFloat16") else True
    return type(index) in {faiss.IndexFlat, faiss.IndexFlatIP}


def search(
    index: FaissIndex, queries: Float32[np.ndarray, "query dim"], k: int, request: FaissRequest
) -> Found:
    """The k best rows of each query and their scores, by (-score, row); -1 where an index found fewer.

    Blocks of queries are searched by one thread each, so that the number of threads changes no result, and
    graphs, which take one query at a time anyway, by FAISS's own threads. For an exact index see
    `imgbench.index.exact`. Where the depth of a search changes only how many of its candidates are returned,
    as in IVF lists, 8 more are asked for, and ties at the cut go to the smaller row there too.
    """
    if on_gpu(index):
        with stopwatch.faiss():
            found: Found = index.search(queries, k, params=request)  # one stream, and its own blocks
        return exact.ordered(*found, k)
    if is_flat(index):
        return exact.search(index, queries, k)
    depth = min(int(index.ntotal), k + _SLACK) if _scans(index) else k
    with stopwatch.faiss():
        whole = type(concrete(index)) in _GRAPHS
        found = index.search(queries, k, params=request) if whole else _blocks(index, queries, depth, request)
    return exact.ordered(*found, k)


_GRAPHS = {faiss.IndexHNSWFlat, faiss.IndexHNSWSQ, faiss.IndexHNSWPQ}
"""Their searches compare one query with one image or code at a time, in an order that only these decide."""


def _scans(index: FaissIndex) -> bool:
    """Whether the same candidates are compared whatever the depth of the search."""
    index = concrete(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _scans(index.index)
    lists = faiss.IndexIVFFlat | faiss.IndexIVFScalarQuantizer | faiss.IndexIVFPQ
    return isinstance(index, lists | faiss.IndexScalarQuantizer | faiss.IndexPQ)


def _blocks(index: FaissIndex, queries: np.ndarray, k: int, request: FaissRequest) -> Found:
    def one(part: slice) -> Found:
        # OpenMP keeps this number for each Python thread: the caller's own stays as it is.
        faiss.omp_set_num_threads(1)
        return index.search(queries[part], k, params=request)

    with ThreadPoolExecutor(max(1, int(faiss.omp_get_max_threads()))) as pool:
        found = list(pool.map(one, blocks(len(queries))))
    return np.concatenate([scores for scores, _ in found]), np.concatenate([rows for _, rows in found])


def blocks(queries: int) -> list[slice]:
    """The queries of each FAISS call: 256, towards the end fewer, so that threads end together.

    The number of queries alone decides it: how a batch is cut decides its rounding and the order of ties.

    >>> [part.stop - part.start for part in blocks(900)]
    [225, 168, 126, 95, 71, 64, 64, 64, 23]
    """
    found: list[slice] = []
    start = 0
    while start < queries:
        size = min(BLOCK, max(_LEAST, (queries - start) // _SHARE))
        found.append(slice(start, min(start + size, queries)))
        start += size
    return found
