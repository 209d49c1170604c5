"""Queries ranked twice among their first images: by the vectors as stored, and by vectors in fp32."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from imgbench import significance
from imgbench.embeddings import Embeddings
from imgbench.evaluator import Evaluator
from imgbench.index import Index
from imgbench.run import Run

CONFIDENCE = 0.95
_FURTHER = 5  # images beyond those that the measure looks at, at first
_RELEVANT = 5
_DEEPER = 16
_AT_FIRST = 0.75  # of the images: the others are for queries that need more, then for more queries
_LEAST_IMAGES, _MOST_IMAGES, _SHARE = 400, 1000, 5

_Rows = Int64[np.ndarray, "row"]
_Scores = Float64[np.ndarray, "row"]
_NONE: _Rows = np.empty(0, np.int64)


@dataclass(frozen=True)
class Both:
    """Rows of stored embeddings beside the same in fp32, each of which is encoded once and stored alike."""

    stored: Embeddings
    encode: Callable[[list[int]], Float32[np.ndarray, "row dim"]]
    again: dict[int, np.ndarray] = field(default_factory=dict[int, np.ndarray])

    def fetch(self, rows: Iterable[int]) -> None:
        """Encode those that are not there yet."""
        if new := [row for row in dict.fromkeys(rows) if row not in self.again]:
            self.again.update(zip(new, self.encode(new).astype(self.stored.vectors.dtype), strict=True))

    def rows(self, rows: Sequence[int] | _Rows) -> tuple[np.ndarray, np.ndarray]:
        """As stored, and in fp32: (row, dim) float64."""
        self.fetch(int(row) for row in rows)
        again = np.array([self.again[int(row)] for row in rows])
        return self.stored.vectors[np.asarray(rows)].astype(np.float64), again.astype(np.float64)


@dataclass
class _Asked:
    """A query, the first images of its exact search and their scores, and those that are ranked again."""

    name: str
    row: int
    found: _Rows
    scores: _Scores
    depth: int
    relevant: _Rows

    @property
    def pool(self) -> _Rows:
        """The images that are ranked again."""
        return np.union1d(self.found[: self.depth], self.relevant)

    @property
    def beyond(self) -> float:
        """The score, as stored, of the first image that is left out."""
        return float(self.scores[self.depth]) if self.depth < len(self.scores) else -np.inf


class Ranked:
    """Queries that are ranked twice: by the vectors as stored, and by those in fp32."""

    def __init__(self, images: Both, queries: Both, judge: Evaluator) -> None:
        self._images, self._queries, self._judge = images, queries, judge
        self._first = Evaluator(judge.qrels, judge.measures[0], judge.clusters)
        self._k = self._first.depth(None, len(images.stored))
        share = len(images.stored) // _SHARE
        self._most = min(max(share, _LEAST_IMAGES), _MOST_IMAGES)
        self._asked: list[_Asked] = []

    def ask(self, names: Sequence[str], *, around: Sequence[int]) -> None:
        """Take as many of the queries as there may be images, beside those in `around`, and encode these."""
        self._images.fetch(around)
        waiting = self._searched(names)
        for share in (_AT_FIRST, 1.0):
            wanted = set(self._images.again)
            while waiting:
                pool = set(waiting[0].pool.tolist())
                if self._asked and len(wanted | pool) > share * self._most:
                    break
                wanted |= pool
                self._asked.append(waiting.pop(0))
            self._queries.fetch(asked.row for asked in self._asked)
            self._images.fetch(sorted(wanted))
            while self._deepened():
                pass

    def quality(self) -> dict[str, Any]:
        """The first measure as stored minus that in fp32, and the lists that differ."""
        lists = [self._lists(asked) for asked in self._asked]
        stored, plain = (self._run([pair[side] for pair in lists]) for side in (0, 1))
        place = {name: row for row, name in enumerate(self._judge.query_ids)}
        rows = [place[asked.name] for asked in self._asked]
        deltas = (self._first.matrix(stored) - self._first.matrix(plain))[:, rows]
        (found,) = significance.mean_interval(
            deltas, self._judge.clusters[rows], confidence=CONFIDENCE, bounds=(-1.0, 1.0)
        )
        slack, moved = self._slack()
        return {
            "measure": self._first.names[0],
            "queries": len(rows),
            "depth": self._k,
            "mean": found.mean,
            "low": found.low,
            "high": found.high,
            "confidence": CONFIDENCE,
            "changed": sum(not np.array_equal(*pair) for pair in lists),
            "exchanged": sum(set(first.tolist()) != set(second.tolist()) for first, second in lists),
            "ranked": min(asked.depth for asked in self._asked),
            "moved": moved,
            "gap": min((each for each in slack if np.isfinite(each)), default=None),
            "open": sum(each <= moved for each in slack),
        }

    def _searched(self, names: Sequence[str]) -> list[_Asked]:
        images, queries = self._images.stored, self._queries.stored
        depth = min(self._k + _FURTHER, len(images))
        run = Index.build("Flat", images).search(
            queries.select(list(names)), min(_DEEPER * depth + 1, len(images))
        )
        place = {name: row for row, name in enumerate(queries.ids)}
        return [
            _Asked(name, place[name], rows.astype(np.int64), scores, depth, self._relevant.get(name, _NONE))
            for name, rows, scores in zip(names, run.rows, run.scores.astype(np.float64), strict=True)
        ]

    @cached_property
    def _relevant(self) -> dict[str, _Rows]:
        """By query, a few of its relevant images that have a vector, best grades first."""
        qrels, place = self._judge.qrels, {name: row for row, name in enumerate(self._images.stored.ids)}
        rows = np.array([place.get(name, -1) for name in qrels.image_ids])
        found: dict[str, list[int]] = {}
        for at in np.argsort(-qrels.grades, kind="stable").tolist():
            of = found.setdefault(qrels.query_ids[qrels.query_rows[at]], [])
            if qrels.grades[at] > 0 and (row := int(rows[qrels.image_rows[at]])) >= 0 and len(of) < _RELEVANT:
                of.append(row)
        return {name: np.array(each, np.int64) for name, each in found.items()}

    def _scores(self, asked: _Asked) -> tuple[_Scores, _Scores]:
        """Of the query's pool, as stored and in fp32."""
        images, queries = self._images.rows(asked.pool), self._queries.rows([asked.row])
        first, second = (side @ query[0] for side, query in zip(images, queries, strict=True))
        return first, second

    def _lists(self, asked: _Asked) -> tuple[_Rows, _Rows]:
        """The first images, as stored and in fp32; ties go to the smaller row, as in every search."""
        pool = asked.pool
        first, second = (pool[np.lexsort((pool, -each))][: self._k] for each in self._scores(asked))
        return first, second

    def _run(self, lists: Sequence[_Rows]) -> Run:
        places = -np.arange(len(lists[0]), dtype=np.float32)
        names = [asked.name for asked in self._asked]
        return Run.from_search(
            names, self._images.stored.ids, np.tile(places, (len(lists), 1)), np.array(lists)
        )

    def _slack(self) -> tuple[list[float], float]:
        """How far below the last place that counts each query's best other image is, and how far sampled
        scores rose at most: both beside what all of the query's scores did.
        """
        slack: list[float] = []
        rose: list[float] = []
        for asked in self._asked:
            stored, plain = self._scores(asked)
            common = float((plain - stored).mean())
            last = float(np.sort(plain)[-self._k])
            slack.append(last - common - asked.beyond)
            rose.append(float((plain - stored).max()) - common)
        return slack, max(rose)

    def _deepened(self) -> bool:
        """Give open queries more images, as far as there may be more; whether any got some."""
        slack, moved = self._slack()
        known, grown = set(self._images.again), False
        for asked, each in zip(self._asked, slack, strict=True):
            deeper = min(2 * asked.depth, len(asked.found) - 1 if self._cut(asked) else len(asked.found))
            more = known.union(asked.found[:deeper].tolist())
            if each <= moved and deeper > asked.depth and len(more) <= self._most:
                asked.depth, known, grown = deeper, more, True
        self._images.fetch(sorted(known))
        return grown

    def _cut(self, asked: _Asked) -> bool:
        """Whether the search ended before the corpus did: its last image then tells what lies beyond."""
        return len(asked.found) < len(self._images.stored)
