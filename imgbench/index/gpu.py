"""Moving an index to the GPU and back."""

from __future__ import annotations

import torch

from imgbench.errors import InputError
from imgbench.index._faiss import FaissIndex, concrete, faiss, gpu_count, reason
from imgbench.index.factory import parts

# faiss/gpu/impl/IVFPQ.cu: code sizes with a kernel; the last three only with float16 tables.
_PQ_SIZES = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)
_PQ_FLOAT16 = 56
_PQ_BITS = 8
_WORKS = "Flat, IVF with Flat, SQ or 8-bit PQ, and PCA, OPQ or RR in front of them run there."


def check(index: FaissIndex, name: str) -> None:
    """InputError where there is no GPU, or where FAISS has no GPU version of a part of this CPU index."""
    if not gpu_count():
        raise InputError(
            f"{name!r} asks for a GPU.",
            "FAISS sees none on this machine.",
            f"Use {name.removeprefix('gpu:')!r}.",
        )
    for part in parts(index):
        if not _clonable(part):
            raise InputError(
                f"{type(part).__name__} of {name!r} has no GPU version in FAISS.",
                _WORKS,
                f"Use gpu:IVF256,Flat, or {name.removeprefix('gpu:')} without gpu:.",
            )
        if isinstance(part, faiss.IndexIVFPQ):
            _check_pq(part, name)


def _clonable(part: FaissIndex) -> bool:
    if not isinstance(part, faiss.Index):
        return True  # transforms stay on the CPU
    if isinstance(part, faiss.IndexIVF):
        flat = isinstance(concrete(part.quantizer), faiss.IndexFlat)
        known = type(part) in {faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ}
        return flat and known
    return isinstance(part, faiss.IndexPreTransform) or type(part) in {
        faiss.IndexFlat,
        faiss.IndexFlatIP,
        faiss.IndexFlatL2,
    }


def _check_pq(part: FaissIndex, name: str) -> None:
    if part.pq.nbits != _PQ_BITS or part.pq.M not in _PQ_SIZES:
        sizes = ", ".join(map(str, _PQ_SIZES))
        raise InputError(
            f"{name!r} has {part.pq.M} codes of {part.pq.nbits} bits.",
            f"On the GPU, FAISS takes 8 bits and {sizes} codes.",
            "Choose one of these.",
        )


def to_gpu(index: FaissIndex, name: str) -> FaissIndex:
    """The index on the first GPU, with the memory pool that it needs to stay alive attached."""
    options = faiss.GpuClonerOptions()
    # float16 would change the vectors of Flat. It is for the tables of long PQ codes, which need it.
    long = (isinstance(part, faiss.IndexIVFPQ) and part.pq.M >= _PQ_FLOAT16 for part in parts(index))
    options.useFloat16 = any(long)
    torch.cuda.empty_cache()  # what torch keeps for later is memory that FAISS cannot have
    try:
        resources = faiss.StandardGpuResources()
        moved = faiss.index_cpu_to_gpu(resources, 0, index, options)
    except RuntimeError as error:
        raise InputError(
            f"FAISS could not put {name!r} on the GPU.", f"It says: {reason(error)}.", _WORKS
        ) from None
    moved.imgbench_resources = resources
    return moved


def on_gpu(index: FaissIndex) -> bool:
    """Whether the index, or the one behind its transforms, lives on a GPU.

    >>> on_gpu(faiss.IndexFlatIP(2))
    False
    """
    index = concrete(index)
    if isinstance(index, faiss.IndexPreTransform):
        return on_gpu(index.index)
    return hasattr(faiss, "GpuIndex") and isinstance(index, faiss.GpuIndex)


def to_cpu(index: FaissIndex) -> FaissIndex:
    """The index in main memory: a copy of one on the GPU, any other as it is."""
    return faiss.index_gpu_to_cpu(index) if on_gpu(index) else index
