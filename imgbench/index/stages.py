"""Between exact search and a point of an index: searches that give up one thing after the other.

A point loses by its transforms (PCA takes dimensions and the mean away), then by its codes (SQ, PQ, RaBitQ),
then by not comparing the query with every code (IVF, HNSW). Each stage here is the point with all that comes
after it undone: after the transform the vectors are float32, after the quantiser every code is compared.
A refinement (RFlat) is no stage of its own. It takes part in all of them with the point's k_factor: over
float32 vectors in the transform's stage, over its own codes from the quantiser's stage on. So a change is
what the point loses there in the end, not what a refinement would have repaired.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from imgbench.embeddings import Embeddings, check_embeddings
from imgbench.errors import InputError
from imgbench.index._faiss import FaissIndex, concrete, faiss
from imgbench.index.exhaustive import exhaustive, layers, transformed, transforms
from imgbench.index.searching import Found
from imgbench.index.spec import Number
from imgbench.run import Run


class Kind(StrEnum):
    """What a stage gives up, in the order in which an index does."""

    TRANSFORM = "transform"
    QUANTISER = "quantiser"
    SEARCH = "search"


@dataclass(frozen=True)
class Stage:
    """One stage of a point: what is given up, as a name such as "search (nprobe=4)", and what is still found.

    The run of the last stage is the point's own.
    """

    kind: Kind
    name: str
    run: Run


def kinds(index: FaissIndex) -> tuple[Kind, ...]:
    """Which stages an index has, by its structure; none where every search is exact as it is (Flat).

    InputError for an index whose codes cannot be compared exhaustively (NSG, shards, IVF with RQ fast scan).

    >>> factory = lambda text: faiss.index_factory(8, text, faiss.METRIC_INNER_PRODUCT)
    >>> [", ".join(kinds(factory(text))) for text in ("Flat", "IVF4,Flat", "SQ8", "PCA4,HNSW8,SQ8")]
    ['', 'search', 'quantiser', 'transform, quantiser, search']
    """
    leaf = list(layers(index))[-1]
    if not isinstance(leaf, _known()) or isinstance(leaf, faiss.IndexIVFAdditiveQuantizerFastScan):
        raise InputError(
            f"{type(leaf).__name__} has no search that compares every code.",
            "Stages are known for Flat, SQ, PQ, RQ, RaBitQ, and IVF and HNSW around them.",
            "Compare the runs that you have by funnel_of.",
        )
    has = {
        Kind.TRANSFORM: any(isinstance(layer, faiss.IndexPreTransform) for layer in layers(index)),
        Kind.QUANTISER: not _lossless(index),
        Kind.SEARCH: isinstance(leaf, faiss.IndexIVF | faiss.IndexHNSW),
    }
    return tuple(kind for kind, there in has.items() if there)


def _known() -> tuple[type, ...]:
    return faiss.IndexFlatCodes, faiss.IndexFastScan, faiss.IndexIVF, faiss.IndexHNSW


def _lossless(index: FaissIndex) -> bool:
    """Whether the codes are the float32 vectors that reached them."""
    index = concrete(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _lossless(index.index)
    if isinstance(index, faiss.IndexRefine):
        return _lossless(index.base_index) and _lossless(index.refine_index)
    if isinstance(index, faiss.IndexHNSW):
        return _lossless(index.storage)
    return isinstance(index, faiss.IndexFlat | faiss.IndexIVFFlat)


def names(
    index: FaissIndex, spec: str | None, values: Mapping[str, Number], given: Mapping[str, Number]
) -> dict[Kind, str]:
    """The name of each stage with the parameters that act in it: the important ones and those `given`.

    `spec` is the factory string, None for an index that was not built from one.
    """
    found = kinds(index)
    words = dict.fromkeys(found, "") | _words(index, spec)
    for name, value in values.items():
        if name in given or name in _SHOWN:
            # Where no codes are lossy, a refinement sets right what the step before them lost.
            home = Kind.QUANTISER if name in _OF_CODES else Kind.SEARCH
            home = home if home in found else found[0]
            words[home] = ", ".join(filter(None, [words[home], f"{name}={value:g}"]))
    return {kind: f"{kind} ({words[kind]})" if words[kind] else str(kind) for kind in found}


_SHOWN = ("nprobe", "efSearch", "k_factor")
_OF_CODES = ("qb", "k_factor")
_TRANSFORM = re.compile(r"(OPQ|PCA|RR|HR|Pad|L2norm|ITQ)\w*")
_REFINEMENT = re.compile(r"RFlat|Refine\(.*\)")


def _words(index: FaissIndex, spec: str | None) -> dict[Kind, str]:
    """What a factory string calls the transforms and the codes, or else FAISS's names of their classes."""
    if spec is None:
        leaf = list(layers(index))[-1]
        return {Kind.TRANSFORM: ", ".join(map(_class, transforms(index))), Kind.QUANTISER: _class(leaf)}
    pieces = re.split(r",(?![^(]*\))", spec.removeprefix("gpu:"))
    before = [piece for piece in pieces if _TRANSFORM.fullmatch(piece)]
    codes = [piece for piece in pieces if piece not in before and not _REFINEMENT.fullmatch(piece)]
    # HNSW32 alone keeps the vectors as they are.
    stored = re.sub(r"^HNSW\d*_?", "", codes[-1]) or "Flat"
    return {Kind.TRANSFORM: ",".join(before), Kind.QUANTISER: stored}


def _class(part: FaissIndex) -> str:
    return type(part).__name__.removeprefix("Index")


def check(
    spec: str,
    images: Embeddings,
    queries: Embeddings,
    *,
    like: tuple[tuple[str, ...], int],
    found: Sequence[Run],
    wanted: tuple[int, int],
) -> None:
    """InputError unless the images have the ids and the dimension of `like`, and there are `wanted[0]` runs
    to depth `wanted[1]` over these queries and images.
    """
    check_embeddings("images", images)
    check_embeddings("queries", queries)
    ids, dim = like
    if (images.ids, images.dim) != like or queries.dim != dim:
        raise InputError(
            f"{len(images):,} images x {images.dim} and queries x {queries.dim} came.",
            f"{spec} holds {len(ids):,} x {dim}, and its images have the same ids.",
            "Pass the embeddings that it was built from, and queries of the same encoder.",
        )
    count, k = wanted
    if [(run.query_ids, run.image_ids, run.depth) for run in found] != [(queries.ids, ids, k)] * count:
        raise InputError(
            f"{len(found)} runs came for {count} points.",
            f"Each point has one, over these queries and images and to depth {k}.",
            "Leave them out to search again.",
        )


def points(
    index: FaissIndex,
    spec: str | None,
    grid: Sequence[tuple[Mapping[str, Number], Mapping[str, Number]]],
    last: Callable[[int], Run],
    *,
    images: Embeddings,
    queries: Embeddings,
    k: int,
) -> list[tuple[Stage, ...]]:
    """The stages of every point of `grid`: the parameters given and those and all others with their values.

    `last` is the run of a point by its number. Points that share what acts before the search share its runs.
    """
    found = kinds(index)
    vectors = np.ascontiguousarray(queries.vectors, dtype=np.float32)
    known: dict[tuple[object, ...], Run] = {}

    def run(kind: Kind, values: Mapping[str, Number]) -> Run:
        key = (kind, *(values.get(name) for name in _OF_CODES))
        if key not in known:
            known[key] = Run.from_search(queries.ids, images.ids, *search(kind, values))
        return known[key]

    def search(kind: Kind, values: Mapping[str, Number]) -> Found:
        if kind is Kind.TRANSFORM:
            return transformed(index, images.vectors, vectors, k, values)
        return exhaustive(index, vectors, k, values)

    made: list[tuple[Stage, ...]] = []
    for number, (given, values) in enumerate(grid):
        called = names(index, spec, values, given)
        runs = [run(kind, values) for kind in found[:-1]] + ([last(number)] if found else [])
        made.append(tuple(Stage(kind, called[kind], each) for kind, each in zip(found, runs, strict=True)))
    return made
