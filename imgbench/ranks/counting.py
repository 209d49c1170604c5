"""How many images score above given ones, for many queries, in blocks of a float32 matrix product.

What is clearly above by the product is counted; what rounding may have moved (`imgbench.products.margin`) is
settled as exact search settles it: products summed in float64, rounded to float32, ties by the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from imgbench import products

IMAGES, QUERIES = 2048, 512
"""Images and queries multiplied at once, 4 MiB of scores a thread, however many threads there are."""

_CACHED = 2**18  # float64 numbers summed at once
_FEW = 4  # relevant images up to which comparing a row with each of them is faster than sorting it

Rows = Int64[np.ndarray, "pair"]
Block = Float32[np.ndarray, "query image"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Queries and images to be placed, by query, then best first; `first`: where each query starts."""

    query: Rows
    image: Rows
    scores: Float32[np.ndarray, "pair"]
    first: Int64[np.ndarray, "query_and_end"]


def sorted_pairs(
    vectors: Float[np.ndarray, "image dim"],
    queries: Float32[np.ndarray, "query dim"],
    query: Rows,
    image: Rows,
) -> tuple[Pairs, Rows]:
    """The pairs in the order of exact search, and the permutation that brings them there."""
    scores = exact(vectors, queries, query, image)
    order = np.lexsort((image, -scores, query))
    first = np.searchsorted(query[order], np.arange(len(queries) + 1))
    return Pairs(query[order], image[order], scores[order], first), order


def exact(
    vectors: Float[np.ndarray, "image dim"],
    queries: Float32[np.ndarray, "query dim"],
    query: Rows,
    image: Rows,
) -> Float32[np.ndarray, "pair"]:
    """Inner products summed in float64 and rounded to float32, as exact search scores."""
    scores = np.empty(len(query), np.float32)
    step = max(1, _CACHED // vectors.shape[1])
    for start in range(0, len(query), step):
        part = slice(start, start + step)
        # With this shape numpy sums in the same order as for a whole list of hits.
        gathered = vectors[image[part]].astype(np.float32).astype(np.float64)[:, None]
        scores[part] = np.einsum("qkd,qd->qk", gathered, queries[query[part]].astype(np.float64))[:, 0]
    return scores


class Counting:
    """Counts of images above each pair, in the pool and outside; `rows` and `scores` of the pool's best."""

    def __init__(
        self,
        vectors: Float[np.ndarray, "image dim"],
        queries: Float32[np.ndarray, "query dim"],
        pairs: Pairs,
        pooled: Bool[np.ndarray, "image"],
        depth: int,
    ) -> None:
        self._vectors, self._queries, self._pairs = vectors, queries, pairs
        self._kernel: products.Kernel = products.by_numpy
        self._lengths = products.lengths(queries)
        self._margin = np.zeros(len(queries))  # of the block of images whose turn it is
        self._pool = np.flatnonzero(pooled)
        self._order = np.concatenate([self._pool, np.flatnonzero(~pooled)])
        self._place = np.empty_like(self._order)
        self._place[self._order] = np.arange(len(self._order))
        self.pool = np.zeros(len(pairs.query), dtype=np.int64)
        self.fixed = np.zeros(len(pairs.query), dtype=np.int64)
        depth = min(depth, len(self._pool))
        self.rows = np.full((len(queries), depth), -1)
        self.scores = np.full((len(queries), depth), -np.inf, dtype=np.float32)

    def run(self, threads: int) -> None:
        """All blocks of images in turn, each by blocks of queries that the threads share."""
        ends = len(self._pool), len(self._order)
        spans = [
            (at, min(at + IMAGES, end))
            for start, end in pairwise((0, *ends))
            for at in range(start, end, IMAGES)
        ]
        asked = len(self._queries)
        # As many parts for each thread: all of them wait for the last one of a block of images.
        parts = products.shares(asked, min(asked, threads * -(-asked // (threads * QUERIES))))
        # BLAS alone would leave the comparing to one thread.
        with products.workers(threads) as workers:
            self._kernel = products.fastest() or products.by_numpy
            for start, stop in spans:
                rows = self._order[start:stop]
                # Writeable: a file's memory is copied once here, not by every thread.
                block = np.require(self._vectors[_span(rows)], np.float32, ["C", "W"])
                longest = float(products.lengths(block).max())
                self._margin = products.margin(products.roundings(block.shape[1]), self._lengths, longest)
                own = np.flatnonzero(
                    (self._place[self._pairs.image] >= start) & (self._place[self._pairs.image] < stop)
                )
                work = partial(self._block, block, rows, own, start, drawn=start < len(self._pool))
                list(workers.map(work, parts))
        order = np.lexsort((self.rows, -self.scores))
        self.rows = np.take_along_axis(self.rows, order, 1)
        self.scores = np.take_along_axis(self.scores, order, 1)

    def _block(
        self,
        block: Float32[np.ndarray, "image dim"],
        rows: Rows,
        own: Rows,
        start: int,
        part: slice,
        *,
        drawn: bool,
    ) -> None:
        S = self._kernel(self._queries[part])(block)
        own = own[slice(*np.searchsorted(self._pairs.query[own], [part.start, part.start + len(S)]))]
        # A query's own relevant images are no distractors.
        S[self._pairs.query[own] - part.start, self._place[self._pairs.image[own]] - start] = -np.inf
        here = slice(self._pairs.first[part.start], self._pairs.first[part.start + len(S)])
        counts = self.pool if drawn else self.fixed
        counts[here] += self._above(S, rows, here, part.start)
        if drawn:
            products.keep(S, rows, self.scores[part], self.rows[part])

    def _above(self, S: Block, rows: Rows, here: slice, start: int) -> Rows:
        scores, margin = self._pairs.scores[here], self._margin[self._pairs.query[here]]
        low, high = (scores - margin).astype(np.float32), (scores + margin).astype(np.float32)
        query = self._pairs.query[here] - start
        above, near = _counts(S, query, low, high)
        for pair in np.array_split(np.flatnonzero(near), max(1, int((near > 0).sum()) // QUERIES)):
            lines = S[query[pair]]
            which, column = np.nonzero((lines >= low[pair, None]) & (lines <= high[pair, None]))
            which, found = pair[which], rows[column]
            for at in range(0, len(which), _CACHED):
                some, image = which[at : at + _CACHED], found[at : at + _CACHED]
                settled = exact(self._vectors, self._queries, query[some] + start, image)
                wanted, row = scores[some], self._pairs.image[here][some]
                better = (settled > wanted) | ((settled == wanted) & (image < row))
                above += np.bincount(some[better], minlength=len(above))
        return above


def _span(rows: Rows) -> slice | Rows:
    """Neighbouring rows as a slice, which copies nothing."""
    together = rows[-1] - rows[0] + 1 == len(rows)
    return slice(rows[0], rows[-1] + 1) if together else rows


def _counts(
    S: Block, query: Rows, low: Float32[np.ndarray, "pair"], high: Float32[np.ndarray, "pair"]
) -> tuple[Rows, Rows]:
    """Per pair: how many scores are above `high`, and how many from `low` to `high`."""
    above, reach = np.zeros(len(query), dtype=np.int64), np.zeros(len(query), dtype=np.int64)
    sizes = np.bincount(query, minlength=len(S))
    nth = np.arange(len(query)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    few = sizes[query] <= _FEW
    for number in range(_FEW):
        pair = np.flatnonzero(few & (nth == number))
        if len(pair):
            lines = S if len(pair) == len(S) else S[query[pair]]
            above[pair], reach[pair] = (
                products.row_sums(lines > high[pair, None]),
                products.row_sums(lines >= low[pair, None]),
            )
    for row in np.flatnonzero(sizes > _FEW):
        pair = slice(*np.searchsorted(query, [row, row + 1]))
        line = np.sort(S[row])
        above[pair] = len(line) - np.searchsorted(line, high[pair], side="right")
        reach[pair] = len(line) - np.searchsorted(line, low[pair], side="left")
    return above, reach - above
