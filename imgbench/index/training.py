"""Training and adding: seeded, bounded in memory, and timed apart."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np

from imgbench import environment, stopwatch
from imgbench.errors import InputError
from imgbench.index._faiss import FaissIndex, concrete, faiss, reason
from imgbench.index.factory import parts

ADD_ROWS = 16384
"""Vectors in one add. A constant, because an HNSW graph depends on how its vectors are cut into adds."""

_CODEC_ROWS = 100_000  # what FAISS itself uses for scalar quantisers behind IVF [IndexScalarQuantizer.cpp]
_MIN_POINTS = 39  # a centroid, FAISS's own advice [Clustering.h]


# FAISS's own seeds. Ours is added to them, so that seed 0 builds what FAISS builds by itself.
_CLUSTERING_SEED, _HNSW_SEED, _ROTATION_SEED, _LSQ_SEED = 1234, 12345, 12345, 0x12345
SEEDS = 10**9
"""How many seeds there are: FAISS's are 32-bit whole numbers."""


def prepare(index: FaissIndex, seed: int) -> None:
    """Set every seed of an untrained index that FAISS lets us reach, and switch off polysemous training.

    Reached: k-means of IVF, PQ, RQ and OPQ, LSQ, HNSW levels, random and Hadamard rotations. PCA has none;
    the rotation of PCAR, the start of OPQ and the codebooks inside PRQ and PLSQ keep FAISS's constants.
    """
    for part in parts(index):
        # Polysemous codes are never searched here, and training them costs five times the rest (measured).
        if hasattr(part, "do_polysemous_training"):
            part.do_polysemous_training = False
        for owner in (part, getattr(part, "pq", None), getattr(part, "rq", None)):
            if hasattr(owner, "cp"):
                _seed_clustering(owner, seed)
        if hasattr(part, "lsq"):
            part.lsq.random_seed = _LSQ_SEED + seed
        if hasattr(part, "hnsw"):
            part.hnsw.rng = faiss.RandomGenerator(_HNSW_SEED + seed)
        if isinstance(part, faiss.RandomRotationMatrix | faiss.HadamardRotation):
            part.init(_ROTATION_SEED + seed)


def _seed_clustering(owner: FaissIndex, seed: int) -> None:
    owner.cp.seed = _CLUSTERING_SEED + seed
    owner.cp.min_points_per_centroid = 1  # only silences a line on standard error: `notes` says it instead


def notes(index: FaissIndex, rows: int) -> tuple[str, ...]:
    """A sentence for each clustering with fewer points than FAISS advises, and one for PCA."""
    found: list[str] = []
    for part in parts(index):
        if isinstance(part, faiss.PCAMatrix):
            found.append("PCA takes the mean away, which reorders inner products: RFlat puts them right.")
        for what, clusters in _clusterings(part):
            if rows < _MIN_POINTS * clusters:
                found.append(
                    f"{what} trains {clusters:,} centroids on {rows:,} vectors: FAISS advises at least "
                    f"{_MIN_POINTS * clusters:,}, so that its results may depend on the seed."
                )
    return tuple(found)


def _clusterings(part: FaissIndex) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    if hasattr(part, "nlist"):
        found.append(("IVF", int(part.nlist)))
    if hasattr(getattr(part, "pq", None), "ksub"):
        found.append(("PQ", int(part.pq.ksub)))
    return found


def train(index: FaissIndex, vectors: np.ndarray, rows: int, *, name: str, seed: int) -> float:
    """Train `index` on a seeded sample of `rows` vectors; gives the seconds it took, without the sampling."""
    if index.is_trained:
        return 0.0
    sample = _sample(vectors, rows, seed)
    quantizers = _seed_opq(index, seed)
    start = time.perf_counter()
    try:
        with stopwatch.faiss():
            _train(index, sample)
    except (RuntimeError, MemoryError) as error:
        raise InputError(
            f"FAISS could not train {name} on {len(sample):,} vectors.",
            f"It says: {reason(error)}.",
            "Use more images or a smaller index, such as SQ8.",
        ) from None
    finally:
        for transform in quantizers:
            transform.pq = None
    return time.perf_counter() - start


def _train(index: FaissIndex, x: np.ndarray) -> None:
    """What FAISS's train does, but transforms have one thread: more would change their last bits."""
    if isinstance(index, faiss.IndexPreTransform):
        for row in range(index.chain.size()):
            x = _fit(faiss.downcast_VectorTransform(index.chain.at(row)), x)
        _train(concrete(index.index), x)
    elif isinstance(index, faiss.IndexRefine):
        _train(concrete(index.base_index), x)
        _train(concrete(index.refine_index), x)
    else:
        with _steady(index):
            index.train(x)
    index.is_trained = True


def _steady(index: FaissIndex) -> contextlib.AbstractContextManager[object]:
    """One thread for additive quantisers (RQ, LSQ), whose codes depend on it; for others all there are."""
    return environment.threads(1) if hasattr(index, "aq") else contextlib.nullcontext()


def _fit(transform: FaissIndex, x: np.ndarray) -> np.ndarray:
    with environment.threads(1):
        if not transform.is_trained:
            transform.train(x)
        return transform.apply(x)


def _add(index: FaissIndex, x: np.ndarray) -> None:
    """What the add of FAISS does, but transforms have one thread."""
    if isinstance(index, faiss.IndexPreTransform):
        for row in range(index.chain.size()):
            x = _fit(faiss.downcast_VectorTransform(index.chain.at(row)), x)
        _add(concrete(index.index), x)
    elif isinstance(index, faiss.IndexRefine):
        _add(concrete(index.base_index), x)
        _add(concrete(index.refine_index), x)
    else:
        with _steady(index):
            index.add(x)
        return
    index.ntotal += len(x)


def _seed_opq(index: FaissIndex, seed: int) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for part in parts(index):
        if isinstance(part, faiss.OPQMatrix) and not part.is_trained:
            quantizer = faiss.ProductQuantizer(part.d_out, part.M, 8)  # what OPQMatrix::train makes by itself
            _seed_clustering(quantizer, seed)
            part.pq = found[part] = quantizer
    return found


def rows_needed(index: FaissIndex) -> int:
    """How many training vectors FAISS would use: it samples down to 256 a centroid, 1,000 a PCA dimension."""
    return max((_part_rows(part) for part in parts(index)), default=0)


def _part_rows(part: FaissIndex) -> int:
    if part.is_trained:
        return 0
    rows = max((256 * clusters for _, clusters in _clusterings(part)), default=0)
    if isinstance(part, faiss.OPQMatrix):
        return int(part.max_train_points)
    if isinstance(part, faiss.PCAMatrix):
        return int(part.max_points_per_d * part.d_in)
    plain = isinstance(part, faiss.IndexIVFFlat | faiss.IndexPreTransform | faiss.IndexRefine)
    return rows if plain or hasattr(part, "pq") else max(rows, _CODEC_ROWS)


def _sample(vectors: np.ndarray, rows: int, seed: int) -> np.ndarray:
    if rows >= len(vectors):
        return np.ascontiguousarray(vectors, dtype=np.float32)
    # In row order, so that a memory-mapped file is read forwards.
    chosen = np.sort(np.random.default_rng(seed).choice(len(vectors), rows, replace=False))
    return np.ascontiguousarray(vectors[chosen], dtype=np.float32)


def add(index: FaissIndex, vectors: np.ndarray) -> float:
    """Add `vectors` in row order; gives the seconds it took, without the cast to float32."""
    seconds = 0.0
    buffer = np.empty((min(ADD_ROWS, len(vectors)), vectors.shape[1]), np.float32)  # new memory is slow
    for first in range(0, len(vectors), ADD_ROWS):
        chunk = vectors[first : first + ADD_ROWS]
        if chunk.dtype != np.float32 or not chunk.flags.c_contiguous:
            np.copyto(buffer[: len(chunk)], chunk)
            chunk = buffer[: len(chunk)]
        start = time.perf_counter()
        with stopwatch.faiss():
            _add(index, chunk)
        seconds += time.perf_counter() - start
    return seconds
