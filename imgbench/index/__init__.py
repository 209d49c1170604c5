"""Indexes: exact and approximate search by inner product with FAISS, which is imported nowhere else."""

from __future__ import annotations

from imgbench.index._faiss import compile_options, gpu_count
from imgbench.index.core import Index
from imgbench.index.spec import IndexSpec

__all__ = ["Index", "IndexSpec", "compile_options", "gpu_count"]
