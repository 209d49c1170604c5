"""A run: for every query the images that a search returned, best first; TREC files in and out; overlap.

Results are ordered by (-score, row), so that ties do not depend on the engine, the batch or the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int32, Integer, Real

from imgbench import runfile, trec
from imgbench.errors import InputError

_LAST = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Run:
    """Rankings over one catalogue of images.

    `rows[q, r]` is the catalogue row of the hit at rank r (from 0) of query q, -1 where nothing was found.
    The -1 stand at the end of a row and have the score -inf; scores do not rise along a row. `InputError`
    for ids that occur twice, rows outside the catalogue, an image twice in one ranking, a broken order.

    >>> run = Run.from_search(["q"], ["a.jpg", "b.jpg", "c.jpg"], [[0.5, 0.9, 0.9]], [[0, 2, 1]])
    >>> run.hits("q")
    [('b.jpg', 0.8999999761581421), ('c.jpg', 0.8999999761581421), ('a.jpg', 0.5)]
    """

    query_ids: tuple[str, ...]
    image_ids: tuple[str, ...]
    rows: Int32[np.ndarray, "query depth"]
    scores: Float32[np.ndarray, "query depth"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "query_ids", _unique("query", self.query_ids))
        object.__setattr__(self, "image_ids", _unique("image", self.image_ids))
        rows, scores = np.asarray(self.rows), np.asarray(self.scores)
        _check_shapes(len(self.query_ids), rows, scores)
        _check_rows(rows, self.query_ids, self.image_ids)
        _check_order(rows, scores, self.query_ids)
        object.__setattr__(self, "rows", _frozen(rows.astype(np.int32, copy=False)))
        object.__setattr__(self, "scores", _frozen(scores.astype(np.float32, copy=False)))

    @classmethod
    def from_search(
        cls,
        query_ids: Iterable[str],
        image_ids: Iterable[str],
        scores: Real[np.ndarray, "query depth"] | Sequence[Sequence[float]],
        rows: Integer[np.ndarray, "query depth"] | Sequence[Sequence[int]],
    ) -> Run:
        """A run from what a search returned in any order: sorted by (-score, row).

        Hits with row -1 and hits whose score is not a number are dropped.
        """
        queries, images = tuple(query_ids), tuple(image_ids)
        found, similarity = _matrix(rows, np.int64), _matrix(scores, np.float32)
        _check_shapes(len(queries), found, similarity)
        _check_rows(found, queries, images, distinct=False)  # before the cast to int32 could hide a wrong row
        # FAISS pads missing hits with -1 and gives NaN for a NaN vector: both go to the end.
        dropped = (found < 0) | np.isnan(similarity)
        D = np.where(dropped, -np.inf, similarity).astype(np.float32)
        order = np.lexsort((np.where(dropped, _LAST, found), -D), axis=-1)
        I = np.take_along_axis(np.where(dropped, -1, found), order, axis=1).astype(np.int32)
        return cls(queries, images, I, np.take_along_axis(D, order, axis=1))

    @classmethod
    def trusted(
        cls,
        query_ids: tuple[str, ...],
        image_ids: tuple[str, ...],
        scores: Float32[np.ndarray, "query depth"],
        rows: Integer[np.ndarray, "query depth"],
    ) -> Run:
        """A run of hits in order, -1 behind them, and of ids that were checked: nothing is checked again.

        `Index.search` makes its runs so; everyone else is served by `from_search`.
        """
        run = object.__new__(cls)
        dropped = (rows < 0) | np.isnan(scores)
        values = {
            "query_ids": query_ids,
            "image_ids": image_ids,
            "rows": _frozen(np.where(dropped, -1, rows).astype(np.int32)),
            "scores": _frozen(np.where(dropped, np.float32(-np.inf), scores)),
        }
        for name, value in values.items():
            object.__setattr__(run, name, value)
        return run

    def __repr__(self) -> str:
        return f"Run({len(self)} queries, {len(self.image_ids)} images, depth {self.depth})"

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.query_ids)

    @property
    def depth(self) -> int:
        """The most hits that a query can have in this run."""
        return int(self.rows.shape[1])

    def top(self, k: int) -> Run:
        """The run cut after k hits."""
        if k < 1:
            raise InputError(f"k is {k}.", "A ranking needs at least one place.", "Pass k=10.")
        if k >= self.depth:
            return self
        return Run(self.query_ids, self.image_ids, self.rows[:, :k], self.scores[:, :k])

    def hits(self, query_id: str, k: int | None = None) -> list[tuple[str, float]]:
        """The images of one query with their scores, best first."""
        if query_id not in self.query_ids:
            came = f"{query_id!r} is not a query of this run."
            raise InputError(came, f"It has {len(self)} queries.", "See run.query_ids.")
        q = self.query_ids.index(query_id)
        found = zip(self.rows[q, :k].tolist(), self.scores[q, :k].tolist(), strict=True)
        return [(self.image_ids[row], score) for row, score in found if row >= 0]

    def to_dict(self, k: int | None = None) -> dict[str, dict[str, float]]:
        """Per query, image id -> depth - rank: what ir-measures and pytrec_eval take.

        Whole numbers falling by rank are exact in the float32 of trec_eval, so no tie can be sorted anew.
        """
        values = [float(self.depth - rank) for rank in range(self.depth)]
        names = self.image_ids
        return {
            query: {names[row]: value for row, value in zip(found, values, strict=False) if row >= 0}
            for query, found in zip(self.query_ids, self.rows[:, :k].tolist(), strict=True)
        }

    def overlap(self, truth: Run, k: int) -> float:
        """Mean over queries of the share of the truth's top k that is in this run's top k (overlap@k)."""
        if not self.query_ids:
            raise InputError("The run has no queries.", "A mean needs at least one.", "Search some queries.")
        return float(self.overlap_each(truth, k).mean())

    def overlap_each(self, truth: Run, k: int) -> Float64[np.ndarray, "query"]:
        """Per query of this run, |top-k(run) and top-k(truth)| / |top-k(truth)|; 1 where the truth is empty.

        This is not recall: nobody judged the images. Queries and images are matched by their ids.

        >>> exact = Run.from_search(["q"], ["a", "b", "c"], [[3, 2, 1]], [[0, 1, 2]])
        >>> Run.from_search(["q"], ["c", "a"], [[2, 1]], [[0, 1]]).overlap(exact, k=2)
        0.5
        """
        mine, its = self.top(k).rows, _same_queries(self, truth).top(k).rows
        if its.shape[1] < min(k, len(truth.image_ids)):
            came = f"The truth holds {truth.depth} images a query."
            raise InputError(came, f"overlap@{k} needs {k}.", f"Search it with k={k}.")
        if self.image_ids != truth.image_ids:
            known = {name: row for row, name in enumerate(truth.image_ids)}
            mine = np.array([*(known.get(name, -1) for name in self.image_ids), -1], dtype=np.int32)[mine]
        both = np.sort(np.concatenate([mine, its], axis=1), axis=1)
        shared = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0)).sum(axis=1)
        wanted = (its >= 0).sum(axis=1)
        return np.where(wanted > 0, shared / np.maximum(wanted, 1), 1.0)

    def write_trec(self, path: str | Path, *, tag: str = "imgbench", depth: int | None = None) -> Path:
        """A TREC run file (gzip if the name ends in .gz); the same run gives the same bytes.

        The score column holds depth - rank, not the similarity: any TREC tool keeps this order (DESIGN 10). A
        query without hits has no line. White space and '%' in ids are percent-encoded (`trec.escape`).
        """
        kept = self if depth is None else self.top(depth)
        names = [trec.escape(name) for name in kept.image_ids]
        ends = [f" {rank + 1} {kept.depth - rank} {trec.escape(tag)}\n" for rank in range(kept.depth)]
        with trec.open_text(path, "w") as file:
            for query, found in zip(kept.query_ids, kept.rows.tolist(), strict=True):
                start = f"{trec.escape(query)} Q0 "
                hits = zip(found, ends, strict=True)
                file.write("".join([start + names[row] + end for row, end in hits if row >= 0]))
        return Path(path)

    @classmethod
    def read_trec(
        cls,
        path: str | os.PathLike[str],
        *,
        query_ids: Iterable[str] | None = None,
        image_ids: Iterable[str] | None = None,
    ) -> Run:
        """A run from a TREC file (gzip or not) of any engine.

        The order is that of trec_eval: by score as float32, falling, ties by image id, falling as text. The
        rank column is ignored. `query_ids` and `image_ids` name the queries and the catalogue where they are
        known (a file says nothing about queries without hits); without them they are those of the file.
        Raises `InputError` naming the line for columns that are not six, scores that are no finite numbers,
        an image twice for a query, and ids that are not among those given.
        """
        return cls(*runfile.read(Path(path), query_ids, image_ids))


def _matrix(values: Any, dtype: type[Any]) -> np.ndarray:  # noqa: ANN401  anything that numpy takes
    array = np.asarray(values)
    if dtype is np.int64 and array.size and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"rows are {array.dtype}.", "They are whole numbers.", "Pass row numbers, not ids.")
    return array.astype(dtype)


def _frozen(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _unique(kind: str, ids: Iterable[str]) -> tuple[str, ...]:
    names = tuple(ids)
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))
        wanted = f"Every {kind} of a run has its own id."
        raise InputError(f"The {kind} id {twice!r} occurs twice.", wanted, "Make the ids distinct.")
    return names


def _check_shapes(queries: int, rows: np.ndarray, scores: np.ndarray) -> None:
    if rows.ndim != 2 or rows.shape != scores.shape or rows.shape[0] != queries:  # noqa: PLR2004
        came = f"{queries} queries came with rows {rows.shape} and scores {scores.shape}."
        raise InputError(came, "Both are (queries, depth).", "Pass what one search returned.")


def _check_rows(
    rows: np.ndarray, queries: tuple[str, ...], images: tuple[str, ...], *, distinct: bool = True
) -> None:
    if rows.size == 0:
        return
    wrong = (rows < -1) | (rows >= len(images))
    if wrong.any():
        q, r = np.argwhere(wrong)[0]
        came = f"Query {queries[q]!r} has the image row {rows[q, r]}."
        wanted = f"The catalogue has the rows 0 to {len(images) - 1}."
        raise InputError(came, wanted, "Pass the ids of the index that was searched.")
    if distinct:
        _check_distinct(rows, queries, images)


def _check_distinct(rows: np.ndarray, queries: tuple[str, ...], images: tuple[str, ...]) -> None:
    ordered = np.sort(rows, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        q, r = np.argwhere(twice)[0]
        came = f"Query {queries[q]!r} has the image {images[ordered[q, r]]!r} twice."
        raise InputError(came, "A ranking names an image once.", "Remove the duplicates before scoring.")


def _check_order(rows: np.ndarray, scores: np.ndarray, queries: tuple[str, ...]) -> None:
    padded = rows < 0
    falling = ~padded[:, :-1] | padded[:, 1:]  # nothing found stays nothing found
    falling &= (scores[:, :-1] >= scores[:, 1:]) | padded[:, 1:]
    broken = ~falling.all(axis=1) | np.isnan(scores).any(axis=1) | (padded & (scores != -np.inf)).any(axis=1)
    if broken.any():
        came = f"The ranking of query {queries[int(np.argmax(broken))]!r} is not in order."
        raise InputError(came, "Scores fall along a row and -1 ends it.", "Build the run by Run.from_search.")


def _same_queries(run: Run, truth: Run) -> Run:
    """The truth with its queries in the order of the run."""
    if run.query_ids == truth.query_ids:
        return truth
    place = {name: row for row, name in enumerate(truth.query_ids)}
    if place.keys() != set(run.query_ids):
        came = f"The runs answer {len(run)} and {len(truth)} queries that are not the same."
        raise InputError(came, "Overlap compares the same queries.", "Search both with the same queries.")
    order = np.array([place[name] for name in run.query_ids], dtype=np.int64)
    return Run(run.query_ids, truth.image_ids, truth.rows[order], truth.scores[order])
