"""What every array of embeddings must be: float16 or float32 in C order, finite, rows of norm 1.

Everything here goes through the rows in chunks: checking 68,154 x 1024 float16 takes 16 MiB beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from imgbench.errors import InputError

TOLERANCE = 1e-2
"""How far a row's norm may be from 1: float16 rows of 4096 dimensions stay within 1e-3."""

_CHUNK = 2**22  # values looked at at a time: a float32 copy of 16 MiB
_EXAMPLES = 5

Vectors = Float[np.ndarray, "row dim"]


def floats(vectors: Vectors) -> Vectors:
    """The vectors in C order as float16 or float32, copied only where they are not that already."""
    rows = np.asarray(vectors)  # lists and tensors too
    if rows.ndim != 2 or 0 in rows.shape:  # noqa: PLR2004  rows and columns
        raise InputError(
            f"The vectors have the shape {rows.shape}.", "Wanted (rows, dimensions).", "Stack one row an id."
        )
    if rows.dtype.kind != "f":
        raise InputError(
            f"The vectors have the type {rows.dtype}.",
            "Wanted float16 or float32.",
            "Convert them with astype.",
        )
    wanted = np.float16 if rows.dtype.itemsize == np.dtype(np.float16).itemsize else np.float32
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which the check reports
        return np.ascontiguousarray(rows, dtype=wanted)


def normalised(vectors: Vectors) -> Vectors:
    """The rows divided by their L2 norms. InputError for rows that are zero or not finite."""
    rows = floats(vectors)
    unit = np.empty(rows.shape, dtype=rows.dtype)
    for span in _chunks(rows):
        part = rows[span].astype(np.float64)  # float32 squares overflow beyond 1e19
        norms = np.linalg.norm(part, axis=1, keepdims=True)
        _refuse(~np.isfinite(norms[:, 0]), span.start, "are not finite", "Encode these items again.")
        _refuse(norms[:, 0] == 0, span.start, "are zero", "Drop these items.")
        unit[span] = part / norms
    return unit


def check_ids(ids: Sequence[str], rows: int) -> None:
    """InputError unless there is one id a row, each different and none empty."""
    if len(ids) != rows:
        raise InputError(
            f"{len(ids)} ids came with {rows} vectors.",
            "Wanted one id a row.",
            "Drop the ids that have no vector.",
        )
    if not all(ids):
        raise InputError(
            f"The id of row {ids.index('')} is empty.", "Wanted a name.", "Give every row an id."
        )
    if len(set(ids)) != rows:
        seen: set[str] = set()
        twice = [name for name in ids if name in seen or seen.add(name)]
        raise InputError(
            f"{len(twice)} ids come again ({', '.join(map(repr, twice[:_EXAMPLES]))}).",
            "An id names one row.",
            "Rename or drop the copies.",
        )


def check_unit(vectors: Vectors) -> None:
    """InputError that names the rows which are not finite or whose norm is not 1 within the tolerance."""
    advice = "Use Embeddings.normalised(ids, vectors), or load(..., normalise=True)."
    for span in _chunks(vectors):
        part = np.asarray(vectors[span], dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("ij,ij->i", part, part)
        strange = ~np.isfinite(squares)
        strange[strange] = ~np.isfinite(part[strange]).all(axis=1)  # large values overflow but are finite
        _refuse(strange, span.start, "are not finite", "Encode these items again, perhaps in fp32.")
        norms = np.sqrt(squares)
        _refuse(np.abs(norms - 1) > TOLERANCE, span.start, "do not have norm 1", advice, norms)


def _chunks(vectors: Vectors) -> Iterator[slice]:
    step = max(1, _CHUNK // vectors.shape[1])
    return (slice(start, start + step) for start in range(0, len(vectors), step))


def _refuse(
    bad: np.ndarray[Any, Any], start: int, what: str, advice: str, norms: np.ndarray[Any, Any] | None = None
) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        named = ", ".join(str(start + row) for row in rows[:_EXAMPLES]) + ", ..." * (len(rows) > _EXAMPLES)
        norm = "" if norms is None else f" but, for example, {norms[rows[0]]:.3g}"
        raise InputError(f"Vectors {what}{norm}: rows {named}.", "Wanted finite vectors of norm 1.", advice)
