"""What a search and an index cost, whatever the machine: comparisons a query, and bytes."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np

from imgbench import stopwatch
from imgbench.index._faiss import FaissIndex, concrete, faiss
from imgbench.index.gpu import on_gpu, to_cpu
from imgbench.index.parameters import candidates, request
from imgbench.index.spec import Number

SAMPLE = 1000
"""Queries of the search that is counted, evenly spread over those given."""

_COUNTERS = threading.Lock()  # FAISS counts in two global variables


def comparisons(index: FaissIndex, queries: np.ndarray, k: int, values: Mapping[str, Number]) -> float | None:
    """Comparisons of a query with a vector, a code or a centroid: the mean; None where not counted.

    A list of codes (Flat, SQ, PQ, RaBitQ): the number of images. IVF: the centroids plus the codes in the
    lists that were probed [indexIVF_stats.ndis]. HNSW: the vectors met in the graph [hnsw_stats.ndis];
    likewise for a graph over the centroids of an IVF. A refinement adds its candidates, k times k_factor.
    Transforms of the query are not counted, and a comparison of codes weighs as much as one of vectors.
    """
    if on_gpu(index):
        return None if hasattr(_inside(concrete(index)), "nlist") else float(index.ntotal)
    if len(queries) == 0:
        return None
    if _needs_search(index):
        sample = queries[np.linspace(0, len(queries) - 1, min(SAMPLE, len(queries))).astype(int)]
        with _COUNTERS, stopwatch.faiss():
            faiss.cvar.indexIVF_stats.reset()
            faiss.cvar.hnsw_stats.reset()
            index.search(sample, k, params=request(index, values, k))
            counted = faiss.cvar.indexIVF_stats.ndis / len(sample), faiss.cvar.hnsw_stats.ndis / len(sample)
    else:
        counted = 0.0, 0.0
    return _total(concrete(index), k, values, counted)


def _inside(index: FaissIndex) -> FaissIndex:
    if isinstance(index, faiss.IndexPreTransform):
        return _inside(concrete(index.index))
    return _inside(concrete(index.base_index)) if isinstance(index, faiss.IndexRefine) else index


def _needs_search(index: FaissIndex) -> bool:
    return isinstance(_inside(concrete(index)), faiss.IndexIVF | faiss.IndexHNSW)


def _total(
    index: FaissIndex, k: int, values: Mapping[str, Number], counted: tuple[float, float]
) -> float | None:
    if isinstance(index, faiss.IndexPreTransform):
        return _total(concrete(index.index), k, values, counted)
    if isinstance(index, faiss.IndexRefine):
        depth = candidates(index, values, k)
        base = _total(concrete(index.base_index), depth, values, counted)
        return None if base is None else base + depth
    if isinstance(index, faiss.IndexHNSW):
        return counted[1]
    if isinstance(index, faiss.IndexIVF):
        return _ivf(index, counted)
    return float(index.ntotal) if isinstance(index, faiss.IndexFlatCodes | faiss.IndexFastScan) else None


def _ivf(index: FaissIndex, counted: tuple[float, float]) -> float | None:
    lists, graph = counted
    if isinstance(index, faiss.IndexIVFRaBitQ) and index.rabitq.nb_bits > 1:
        return None  # FAISS counts only the codes that pass a first look at one bit
    quantizer = concrete(index.quantizer)
    if isinstance(quantizer, faiss.IndexHNSW):
        return graph + lists
    return float(index.nlist) + lists if isinstance(quantizer, faiss.IndexFlatCodes) else None


def serialised_bytes(index: FaissIndex) -> int:
    """The size of the index as a file, counted without holding one."""
    total = 0

    def count(data: bytes) -> None:
        nonlocal total
        total += len(data)

    faiss.write_index(to_cpu(index), faiss.PyCallbackIOWriter(count))
    return total
