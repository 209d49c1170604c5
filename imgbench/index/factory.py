"""From a factory string to an empty FAISS index for inner product, or a refusal that names what to use.

Some strings are read by FAISS and then fail late, rank by another metric in silence, or end the process
with an uncaught C++ exception: they are refused here, before any work (each was tried with FAISS 1.15.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from imgbench.errors import InputError, unknown
from imgbench.index._faiss import FaissIndex, concrete, faiss, reason

EXAMPLES = (
    "Flat", "SQ8", "SQfp16", "PQ16", "PQ16x4fs,RFlat", "RaBitQ", "HNSW32", "HNSW32,SQ8",
    "IVF256,Flat", "IVF256,SQ8", "IVF256,PQ16", "OPQ16,IVF256,PQ16x4fs,RFlat",
)  # fmt: skip

_GRAPH = r"(?<![_(])HNSW"  # not the graph over the centroids of IVF256_HNSW32

# A pattern in the factory string, why it is refused, what to use instead.
REFUSED: tuple[tuple[str, str, str], ...] = (
    (r"^SVS", "This FAISS is built without SVS.", "Use HNSW32 or IVF256,SQ8."),
    (r"IDMap", "The ids are kept by imgbench itself.", "Leave out IDMap."),
    (r"NSG", "NSG graphs lose most neighbours by inner product.", "Use HNSW32."),
    (_GRAPH + r"\d*,RaBitQ", "FAISS has this graph for L2 only.", "Use HNSW32,SQ8, RaBitQ or IVF256,RaBitQ."),
    (_GRAPH + r"\d*,FlatPanorama", "FAISS has this graph for L2 only.", "Use HNSW32."),
    (_GRAPH + r"\d*[,_+]PQ", "FAISS builds this graph for L2 in any case.", "Use HNSW32,SQ8 or IVF256,PQ16."),
    (_GRAPH + r"\d+_\d+\+PQ", "FAISS builds this graph for L2 in any case.", "Use HNSW32,SQ8."),
    (_GRAPH + r"\d*,SQ(0|tq\d|\d+_direct)", "A graph cannot compare these codes with each other.",
     "Use HNSW32,SQ8."),
    (r"HNSW[01](?!\d)", "A graph needs at least 2 neighbours an image.", "Use HNSW32."),
    (r"LSH|ITQ", "Binary hashes are compared by Hamming distance, not by inner product.", "Use RaBitQ."),
    (r"ZnLattice", "FAISS has this codec for L2 only.", "Use SQ4 or PQ16."),
    (r"IMI\d", "FAISS has the multi-index for L2 only.", "Use IVF256,PQ16."),
    (r"Residual|RCQ", "FAISS has residual coarse quantisers for L2 only.", "Use IVF256,PQ16."),
    (r"PQ\d+\+\d+", "FAISS has PQ with PQ refinement for L2 only.", "Use IVF256,PQ16,RFlat."),
    (r"^FlatPanorama", "FAISS reads FlatPanorama behind IVF only.", "Use Flat or IVF256,FlatPanorama8."),
    (r"SQ0", "SQ0 stores nothing of a vector.", "Use SQ4 or SQ8."),
    (r"SQ8_direct", "SQ8_direct stores whole numbers, and unit vectors are all 0 or 1.", "Use SQ8."),
    (r"IVF.*(RQ|LSQ)\w*x4fs", "This index probes one list and FAISS lets no search change it.",
     "Use IVF256,PQ16x4fs."),
)  # fmt: skip


def empty(factory: str, dim: int, rows: int) -> FaissIndex:
    """An untrained FAISS index of `factory` for inner product; InputError where `rows` cannot fill it."""
    _refuse(factory)
    _check_centroids(factory, rows)
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, MemoryError) as error:
        raise _explained(factory, dim, error) from None
    for part in parts(index):
        _check_part(factory, part)
    return index


def parts(index: FaissIndex) -> Iterator[FaissIndex]:
    """The index, its transforms and every index inside it, each as its concrete class."""
    index = concrete(index)
    yield index
    if isinstance(index, faiss.IndexPreTransform):
        for row in range(index.chain.size()):
            yield faiss.downcast_VectorTransform(index.chain.at(row))
    for name in ("index", "base_index", "refine_index", "quantizer", "storage"):
        inner = getattr(index, name, None)
        if isinstance(inner, faiss.Index):
            yield from parts(inner)


def _refuse(factory: str) -> None:
    for pattern, why, instead in REFUSED:
        if re.search(pattern, factory):
            raise InputError(f"{factory!r} does not work with inner product here.", why, instead)


def _check_centroids(factory: str, rows: int) -> None:
    # Before FAISS allocates anything: a mistyped IVF1000000000 would take all memory.
    for count, suffix in re.findall(r"IVF(\d+)([kM]?)", factory):
        nlist = int(count) * {"": 1, "k": 1024, "M": 1024**2}[suffix]
        if not 1 <= nlist <= rows:
            raise InputError(
                f"{factory!r} asks for {nlist:,} lists for {rows:,} images.",
                "nlist lies between 1 and the number of images.",
                f"Use about {min(rows, round(4 * rows**0.5))}.",  # FAISS's guidelines: 4 sqrt(n)
            )
    for kind, shape in re.findall(r"(?<![A-Za-z])(PQ|RQ|PRQ)(\d+(?:x\d+)*)", factory):
        _check_codebook(factory, kind, [int(number) for number in shape.split("x")], rows)


def _check_codebook(factory: str, kind: str, shape: list[int], rows: int) -> None:
    bits = shape[-1] if len(shape) > 1 else 8
    if rows < 2 ** min(bits, 62):
        raise InputError(
            f"{factory!r} trains {kind} codes of {bits} bits on {rows:,} images.",
            f"They need at least {2 ** min(bits, 62):,} images.",
            "Use SQ8 or PQ16x4fs for so few.",
        )


def _check_part(factory: str, part: FaissIndex) -> None:
    if isinstance(part, faiss.PCAMatrix) and part.d_out > part.d_in:
        raise InputError(
            f"{factory!r} asks PCA for {part.d_out} of {part.d_in} dimensions.",
            "PCA only takes dimensions away.",
            f"Use at most {part.d_in}.",
        )
    if isinstance(part, faiss.OPQMatrix) and part.d_out % part.M:
        raise _indivisible(factory, int(part.d_out))
    if isinstance(part, faiss.IndexRefine) and not isinstance(
        concrete(part.refine_index), faiss.IndexFlatCodes
    ):
        raise InputError(
            f"{factory!r} refines with an index that is not a list of codes.",
            "FAISS would end the process during the search.",
            "Use RFlat, Refine(SQfp16) or Refine(SQ8).",
        )
    if isinstance(part, faiss.Index) and part.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise InputError(
            f"FAISS builds {factory!r} for another metric.",
            "Search here is by inner product.",
            "Use Flat, HNSW32,SQ8 or IVF256,PQ16.",
        )


def _explained(factory: str, dim: int, error: Exception) -> InputError:
    text = str(error)
    if "d % M == 0" in text or "d % nsq" in text:
        return _indivisible(factory, _transformed(factory, dim))
    if "METRIC_L2" in text or "inner prod" in text:
        return InputError(
            f"{factory!r} does not work with inner product.",
            f"FAISS says: {reason(error)}.",
            "Use Flat, HNSW32,SQ8 or IVF256,PQ16.",
        )
    if "could not parse" in text:
        return unknown("an index that FAISS can build", factory, EXAMPLES)
    return InputError(
        f"FAISS cannot build {factory!r} in {dim} dimensions.",
        f"It says: {reason(error)}.",
        "Change the factory string.",
    )


def _indivisible(factory: str, dim: int) -> InputError:
    divisors = ", ".join(str(number) for number in range(1, dim + 1) if dim % number == 0)
    return InputError(
        f"{factory!r} cuts {dim} dimensions into unequal parts.",
        f"The number of parts of a PQ or OPQ divides {dim}: {divisors}.",
        "Use one of these, or reduce the dimensions first with PCA or OPQ.",
    )


def _transformed(factory: str, dim: int) -> int:
    """The dimensions that reach the PQ, behind the transforms that the factory string starts with."""
    match = re.match(r"(?:(?:OPQ|PCA|RR|HR|Pad|L2norm)\w*,)+", factory)
    if match is None:
        return dim
    try:
        index = faiss.index_factory(dim, match.group() + "Flat", faiss.METRIC_INNER_PRODUCT)
    except RuntimeError:
        return dim
    return int(index.index.d)


def check_ready(index: FaissIndex, ids: tuple[str, ...]) -> None:
    """InputError unless `index` ranks by inner product, is trained, and holds one vector for each of the
    `ids`.
    """
    inside = [part for part in parts(index) if isinstance(part, faiss.Index)]
    if any(isinstance(part, faiss.IndexIDMap) for part in inside):
        raise InputError(
            f"{type(index).__name__} keeps ids of its own.",
            "Rows are the ids here.",
            "Pass its .index with its ids.",
        )
    if any(part.metric_type != faiss.METRIC_INNER_PRODUCT for part in inside):
        raise InputError(
            f"This {type(index).__name__} ranks by another metric.",
            "Search here is by inner product.",
            "Build it with faiss.METRIC_INNER_PRODUCT.",
        )
    if index.ntotal != len(ids) or not index.is_trained:
        raise InputError(
            f"The index holds {index.ntotal:,} vectors and {len(ids):,} ids came.",
            "Each row needs one id.",
            "Pass the ids in the order in which the vectors were added.",
        )
    if len(set(ids)) != len(ids) or not ids:
        raise InputError(
            "The ids are not distinct.", "Each row needs an id of its own.", "Remove the duplicates."
        )
