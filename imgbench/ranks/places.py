"""Where every relevant image stands in exact search over all images, counted in bounded memory.

A run of depth 100 says nothing about a relevant image at rank 5,000. Its rank is one more than the number of
images above it, and counting them needs no list of hits (`imgbench.ranks.counting`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from imgbench import environment
from imgbench.embeddings import Embeddings, check_embeddings
from imgbench.errors import InputError
from imgbench.qrels import Qrels
from imgbench.ranks.counting import Counting, sorted_pairs

DEPTH = 256
"""Best distractors kept a query: of a corpus of one image in eight, 32 of them are left."""

Rows = Int64[np.ndarray, "pair"]


@dataclass(frozen=True, eq=False)
class Ranks:
    """The place of each relevant image of each judged query among all images, best first per query.

    One entry a (query, relevant image) pair, grade above 0, where both have a vector: `query_rows` (rows of
    qrels.query_ids), `image_rows`, `grades`, `scores`, and how many images stand above it: `above_relevant`
    of the query's own relevant ones, `above_fixed` others that no smaller corpus lacks, `above_pool`
    distractors, which a smaller corpus draws at random. A relevant image without an entry is never found.

    Per judged query: its best distractors, `top_rows` (-1 where there are no more) and `top_scores` (-inf),
    best first. `pooled` says which images are distractors wherever they are not relevant.
    """

    qrels: Qrels
    query_rows: Rows
    image_rows: Rows
    grades: Rows
    scores: Float32[np.ndarray, "pair"]
    above_relevant: Rows
    above_fixed: Rows
    above_pool: Rows
    pooled: Bool[np.ndarray, "image"]
    top_rows: Int64[np.ndarray, "query depth"]
    top_scores: Float32[np.ndarray, "query depth"]

    def __repr__(self) -> str:
        queries = len(self.qrels.query_ids)
        return f"Ranks({len(self)} relevant images of {queries} queries among {self.images} images)"

    def __len__(self) -> int:
        """How many relevant images were found, each counted once a query."""
        return len(self.query_rows)

    @property
    def images(self) -> int:
        """How many images were searched."""
        return len(self.pooled)

    @property
    def ranks(self) -> Rows:
        """The rank of each, from 1, in exact search over all images."""
        return 1 + self.above_relevant + self.above_fixed + self.above_pool

    @property
    def missing(self) -> int:
        """Relevant judgements without an entry, because their image or their query has no vector."""
        return int((self.qrels.grades > 0).sum()) - len(self)

    @property
    def distractors(self) -> Int64[np.ndarray, "query"]:
        """How many images a smaller corpus may lack, per judged query: the pool without its relevant ones."""
        own = self.query_rows[self.pooled[self.image_rows]]
        return int(self.pooled.sum()) - np.bincount(own, minlength=len(self.qrels.query_ids))


def relevant_ranks(
    images: Embeddings,
    queries: Embeddings,
    qrels: Qrels | Mapping[str, Mapping[str, int]] | str | Path,
    *,
    pool: Iterable[str] | Bool[np.ndarray, "image"] | None = None,
    depth: int = DEPTH,
    threads: int | None = None,
) -> Ranks:
    """The rank of every relevant image, the same as in `Index.build("Flat", images).search(queries, k)`.

    `pool`: the distractors that a smaller corpus draws from, as ids or as a mask over the images; all other
    images are in every corpus. Without it, every image but a query's own relevant ones may be left out.
    `depth`: how many of the best distractors are kept per query. `threads` (default: one a core) changes no
    result. InputError for an empty pool, ids in it that are not here, vectors of different dimensions, and
    judgements that meet no query and image of these.

    >>> images = Embeddings(["a", "b", "c"], np.float32([[1, 0], [0, 1], [0.6, 0.8]]))
    >>> queries = Embeddings(["q"], np.float32([[0.8, 0.6]]))
    >>> relevant_ranks(images, queries, {"q": {"a": 1, "b": 2}}).ranks  # c comes first
    array([2, 3])
    """
    _check(images, queries, depth, threads)
    judged = Qrels.coerce(qrels)
    pooled = _pooled(images, pool)
    asked, query, image, grades = _pairs(images, queries, judged)
    vectors = np.ascontiguousarray(queries.vectors[asked[:, 1]], dtype=np.float32)
    pairs, order = sorted_pairs(images.vectors, vectors, query, image)
    counting = Counting(images.vectors, vectors, pairs, pooled, depth)
    counting.run(threads or environment.cores())
    everyone = len(judged.query_ids), counting.rows.shape[1]
    rows, scores = np.full(everyone, -1), np.full(everyone, -np.inf, dtype=np.float32)
    rows[asked[:, 0]], scores[asked[:, 0]] = counting.rows, counting.scores
    return Ranks(
        judged,
        query_rows=asked[pairs.query, 0],
        image_rows=pairs.image,
        grades=grades[order],
        scores=pairs.scores,
        above_relevant=np.arange(len(order)) - pairs.first[pairs.query],
        above_fixed=counting.fixed,
        above_pool=counting.pool,
        pooled=pooled,
        top_rows=rows,
        top_scores=scores,
    )


def _check(images: Embeddings, queries: Embeddings, depth: int, threads: int | None) -> None:
    check_embeddings("images", images)
    check_embeddings("queries", queries)
    if images.dim != queries.dim:
        came = f"The queries have {queries.dim} dimensions and the images {images.dim}."
        raise InputError(came, "Both come from one encoder.", "Encode them again with the same one.")
    if depth < 1:
        raise InputError(f"depth is {depth}.", "Some distractors are kept a query.", f"Pass depth={DEPTH}.")
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}.", "Counting takes a thread or more.", "Pass threads=None.")


def _pooled(images: Embeddings, pool: Any) -> Bool[np.ndarray, "image"]:  # noqa: ANN401  checked here
    if pool is None:
        return np.ones(len(images), dtype=bool)
    if getattr(pool, "dtype", None) == np.bool_:
        mask = np.array(pool)
        if mask.shape != (len(images),):
            came = f"The pool's mask has the shape {mask.shape}."
            raise InputError(came, f"There are {len(images)} images.", "Pass one value an image.")
    else:
        wanted = set(pool)
        if absent := sorted(map(str, wanted.difference(images.ids))):
            came = f"{len(absent)} ids of the pool are not among the images, such as {absent[0]!r}."
            raise InputError(came, "The pool is a part of the images.", "Check the ids.")
        mask = np.fromiter((name in wanted for name in images.ids), dtype=bool, count=len(images))
    if not mask.any():
        wanted = "Smaller corpora draw their distractors from it."
        raise InputError("The pool is empty.", wanted, "Name some images, or pass pool=None for all.")
    return mask


def _pairs(
    images: Embeddings, queries: Embeddings, judged: Qrels
) -> tuple[Int64[np.ndarray, "asked 2"], Rows, Rows, Rows]:
    """The asked queries (judged row, vector's row), and per pair its asked query, image row and grade."""
    image, query = _places(images.ids, judged.image_ids), _places(queries.ids, judged.query_ids)
    found = (judged.grades > 0) & (image[judged.image_rows] >= 0) & (query[judged.query_rows] >= 0)
    if not found.any():
        raise InputError(
            f"None of the {len(judged)} judgements finds a relevant image for a query of these.",
            "A rank needs a judged query and a relevant image that both have vectors.",
            "Check that the ids of queries, images and judgements are spelt alike.",
        )
    names, local = np.unique(judged.query_rows[found], return_inverse=True)
    asked = np.column_stack([names, query[names]]).astype(np.int64)
    grades = judged.grades[found].astype(np.int64)
    return asked, local.astype(np.int64), image[judged.image_rows[found]], grades


def _places(ids: tuple[str, ...], wanted: tuple[str, ...]) -> Int64[np.ndarray, "wanted"]:
    known = {name: row for row, name in enumerate(ids)}
    return np.array([known.get(name, -1) for name in wanted], dtype=np.int64)
