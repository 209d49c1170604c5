"""The runs of a funnel: exact search over what the vectors were, then the stages of an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from imgbench.embeddings import Embeddings, check_embeddings
from imgbench.errors import InputError
from imgbench.index import Index
from imgbench.index.spec import Number
from imgbench.run import Run

Pair: TypeAlias = tuple[Embeddings, Embeddings]
"""Images and queries."""


def exact_steps(
    images: Embeddings,
    queries: Embeddings,
    k: int,
    *,
    reference: Pair | None = None,
    stored: str | None = None,
    dim: int | None = None,
    exact: Run | None = None,
) -> list[tuple[str, Run]]:
    """The steps before any index: exact search at each precision and dimension, as for `funnel`.

    `exact` is that over the last vectors, where it exists already. All points of these vectors share these.
    """
    found = spaces((images, queries), reference=reference, stored=stored, dim=dim)
    known = [None] * (len(found) - 1) + [exact]
    return [
        (name, exactly(pair, k) if run is None else run)
        for (name, pair), run in zip(found, known, strict=True)
    ]


def index_steps(
    index: Index,
    images: Embeddings,
    queries: Embeddings,
    k: int,
    grid: Sequence[Mapping[str, Number]] = ({},),
    *,
    found: Sequence[Run] | None = None,
) -> list[list[tuple[str, Run]]]:
    """For each point of `grid`, the steps within the index: `Index.stages` as named runs."""
    stages = index.stages(images, queries, k, grid, found=found)
    return [[(stage.name, stage.run) for stage in point] for point in stages]


def exactly(pair: Pair, k: int) -> Run:
    """Exact search."""
    images, queries = pair
    return Index.build("Flat", images).search(queries, k)


def spaces(
    given: Pair, *, reference: Pair | None = None, stored: str | None = None, dim: int | None = None
) -> list[tuple[str, Pair]]:
    """The vectors before any index, named by what they give up; the last are what is indexed.

    InputError where `reference` holds other rows or fewer dimensions, or where there is nothing to cast.
    """
    _check_pair(given)
    if stored is not None:
        reference, given = given, _stored(given, reference, stored)
    final = given if dim is None else _both(given, lambda side: side.truncated(dim))
    if reference is None:
        return _with_dimensions([(_exact_name(given), given)], final)
    _check_reference(reference, given)
    found = [(_exact_name(reference), reference)]
    dtype, full = str(given[0].vectors.dtype), given[0].dim == reference[0].dim
    if full or reference[0].vectors.dtype != dtype:
        # Only fewer dimensions came: full ones in that precision are made from the reference.
        pair = given if full else _both(reference, lambda side: side.astype(dtype))
        found.append((f"stored precision ({dtype})", pair))
    return _with_dimensions(found, final)


def _with_dimensions(found: list[tuple[str, Pair]], final: Pair) -> list[tuple[str, Pair]]:
    before, after = found[-1][1][0].dim, final[0].dim
    return found if after == before else [*found, (f"dimensions ({after} of {before})", final)]


def _exact_name(pair: Pair) -> str:
    return "fp32" if pair[0].vectors.dtype == np.float32 else "exact (float16)"


def _both(pair: Pair, change: Callable[[Embeddings], Embeddings]) -> Pair:
    return change(pair[0]), change(pair[1])


def _stored(given: Pair, reference: Pair | None, dtype: str) -> Pair:
    if reference is not None:
        raise InputError(
            "stored and reference came together.",
            "With a reference, the images are as they are stored already.",
            "Leave out one of them.",
        )
    if given[0].vectors.dtype == dtype:
        raise InputError(
            f"The images are {dtype} already.",
            "What they were before is not in them.",
            "Pass reference=(images, queries) in full precision, or leave out stored.",
        )
    return _both(given, lambda side: side.astype(dtype))


def _check_pair(pair: Pair) -> None:
    for what, value in zip(("images", "queries"), pair, strict=True):
        check_embeddings(what, value)
    images, queries = pair
    if images.dim != queries.dim:
        raise InputError(
            f"The images have {images.dim} dimensions and the queries {queries.dim}.",
            "They are compared with each other.",
            "Encode both with the same encoder.",
        )


def _check_reference(reference: object, given: Pair) -> None:
    if not isinstance(reference, tuple) or len(reference) != len(given):
        raise InputError(
            f"The reference came as {type(reference).__name__}.",
            "Wanted a pair of embeddings.",
            "Write reference=(images, queries).",
        )
    _check_pair(reference)
    for what, before, after in zip(("images", "queries"), reference, given, strict=True):
        if before.ids != after.ids or before.dim < after.dim:
            raise InputError(
                f"The {what} of the reference are {len(before):,} x {before.dim}.",
                f"Those that are stored are {len(after):,} x {after.dim}, with the same ids in order.",
                "Pass the same rows before they were stored or truncated.",
            )
