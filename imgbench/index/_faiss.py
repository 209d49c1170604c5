"""The one place that imports faiss.

torch comes first: then both share one OpenMP pool. The other way round each keeps its own, and setting the
threads of one leaves the other as it was.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch  # noqa: F401  # pyright: ignore[reportUnusedImport]

import faiss as _library  # isort: skip

faiss: Any = _library

# FAISS ships no types: these names say at least what is meant.
FaissIndex: TypeAlias = Any
FaissRequest: TypeAlias = Any


def concrete(index: FaissIndex) -> FaissIndex:
    """The index as its concrete class, which shows its own fields. The caller keeps the owner alive."""
    return faiss.downcast_index(index)


def gpu_count() -> int:
    """How many CUDA devices FAISS can use; 0 with a CPU build."""
    return int(faiss.get_num_gpus())


def compile_options() -> str:
    """How this FAISS was compiled and which version it is, for the record of a benchmark.

    >>> compile_options().startswith("faiss ")
    True
    """
    return f"faiss {faiss.__version__}: {faiss.get_compile_options().strip()}"


def reason(error: Exception) -> str:
    """FAISS's own words about a failure, without its C++ signatures, file names and conditions."""
    text = " ".join(str(error).split())
    for mark in (" failed: ", ": Error: ", ": "):
        _, found, after = text.rpartition(mark) if mark != ": " else text.partition(mark)
        if found and after:
            return after.rstrip(".")[:200]
    return text.rstrip(".")[:200]
