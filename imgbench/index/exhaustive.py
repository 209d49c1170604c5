"""Searches that compare every image: behind the transforms of an index, and by its codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float, Float32

from imgbench import environment
from imgbench.errors import InputError
from imgbench.index import exact, searching
from imgbench.index import parameters as named
from imgbench.index._faiss import FaissIndex, concrete, faiss
from imgbench.index.spec import Number
from imgbench.index.training import ADD_ROWS


def layers(index: FaissIndex) -> Iterator[FaissIndex]:
    """The index and what its transforms and refinements wrap; the last one holds the codes."""
    index = concrete(index)
    yield index
    if isinstance(index, faiss.IndexPreTransform):
        yield from layers(index.index)
    elif isinstance(index, faiss.IndexRefine):
        yield from layers(index.base_index)


def transforms(index: FaissIndex) -> list[FaissIndex]:
    """What a query goes through before it is compared, in order."""
    wrapped = [layer for layer in layers(index) if isinstance(layer, faiss.IndexPreTransform)]
    return [transform for layer in wrapped for transform in _chain(layer)]


def _chain(index: FaissIndex) -> list[FaissIndex]:
    return [faiss.downcast_VectorTransform(index.chain.at(row)) for row in range(index.chain.size())]


def transformed(
    index: FaissIndex,
    images: Float[np.ndarray, "image dim"],
    queries: Float32[np.ndarray, "query dim"],
    k: int,
    values: Mapping[str, Number],
) -> exact.Found:
    """The k best images behind the trained transforms of `index`, its vectors kept as float32: all compared.

    A refinement compares its candidates by the float32 vectors that reach it.
    """
    index = concrete(index)
    if isinstance(index, faiss.IndexPreTransform):
        chain = _chain(index)
        added = [slice(first, first + ADD_ROWS) for first in range(0, len(images), ADD_ROWS)]
        behind = _applied(chain, images, added), _applied(chain, queries, searching.blocks(len(queries)))
        return transformed(index.index, *behind, k, values)
    if isinstance(index, faiss.IndexRefine):
        depth = named.candidates(index, values, k)
        _, rows = transformed(index.base_index, images, queries, depth, values)
        return exact.ordered(exact.scored(images, queries, rows), rows, k)
    flat = faiss.IndexFlatIP(images.shape[1])
    for first in range(0, len(images), ADD_ROWS):
        flat.add(np.ascontiguousarray(images[first : first + ADD_ROWS], dtype=np.float32))
    return searching.search(flat, queries, k, None)


def _applied(
    chain: list[FaissIndex], rows: Float[np.ndarray, "row dim"], parts: list[slice]
) -> Float32[np.ndarray, "row out"]:
    """The rows behind the transforms. Cut and computed by one thread as where the index was filled and is
    searched: their last bits depend on both.
    """
    found = np.empty((len(rows), chain[-1].d_out if chain else rows.shape[1]), np.float32)
    with environment.threads(1):
        for at in parts:
            part = np.ascontiguousarray(rows[at], dtype=np.float32)
            for transform in chain:
                part = transform.apply(part)
            found[at] = part
    return found


def exhaustive(
    index: FaissIndex, queries: Float32[np.ndarray, "query dim"], k: int, values: Mapping[str, Number]
) -> exact.Found:
    """The k best images by the codes of `index`, every code compared, refined as `values` say.

    IVF probes all its lists, an HNSW graph gives way to the codes of its storage.
    """
    complete = _scanned(concrete(index))
    known = named.parameters(complete)
    all_codes: dict[str, Number] = {"max_codes": 0}
    if "nprobe" in known:
        all_codes["nprobe"] = int(list(layers(complete))[-1].nlist)
    own = {name: values.get(name, parameter.default) for name, parameter in known.items()}
    request = named.request(complete, {**own, **all_codes}, k)
    return searching.search(complete, queries, k, request)


def _scanned(index: FaissIndex) -> FaissIndex:
    """An index of the same codes without a graph; it shares all that it can with `index`, which is only read.

    FAISS keeps what it is given here alive from Python, but not the parts of `index`: the caller does.
    """
    if isinstance(index, faiss.IndexPreTransform):
        inner = _scanned(concrete(index.index))
        return index if _same(inner, index.index) else _behind(index, inner)
    if isinstance(index, faiss.IndexRefine):
        base = _scanned(concrete(index.base_index))
        if _same(base, index.base_index):
            return index
        return faiss.IndexRefine(base, concrete(index.refine_index))
    if isinstance(index, faiss.IndexHNSW):
        return concrete(index.storage)
    # A quantizer that is a list of codes returns as many of them as asked, a graph only those it can reach.
    graph = isinstance(index, faiss.IndexIVF) and not isinstance(
        concrete(index.quantizer), faiss.IndexFlatCodes
    )
    return _with_all_lists(index) if graph else index


def _same(one: FaissIndex, other: FaissIndex) -> bool:
    return int(one.this) == int(other.this)


def _behind(index: FaissIndex, inner: FaissIndex) -> FaissIndex:
    made = faiss.IndexPreTransform(inner)
    for transform in reversed(_chain(index)):
        made.prepend_transform(transform)
    return made


def _with_all_lists(ivf: FaissIndex) -> FaissIndex:
    """A copy of an IVF whose centroids are compared one by one, because a graph may leave some unreachable.

    FAISS has no IVF that borrows lists, so that they are in memory twice as long as this lives.
    """
    quantizer = faiss.IndexFlatIP(ivf.d)
    quantizer.add(ivf.quantizer.reconstruct_n(0, ivf.nlist))
    try:
        copy = faiss.clone_index(ivf)
    except RuntimeError:
        raise InputError(
            f"FAISS cannot copy this {type(ivf).__name__}.",
            "The graph over its centroids has to give way to all of them.",
            "Build it without the graph, such as IVF256,Flat.",
        ) from None
    old = copy.quantizer
    copy.quantizer, copy.own_fields = quantizer, True  # the assignment takes it from Python
    old.this.own(True)  # and this one has no other owner left
    return copy
