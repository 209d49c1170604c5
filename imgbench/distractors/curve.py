"""The distractor curve: what every measure would be in smaller corpora, and in larger ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ir_measures import Measure
from jaxtyping import Bool, Float64, Int64, Integer
from scipy.special import stdtrit

from imgbench import clusters as rules
from imgbench.distractors import expected, extrapolation
from imgbench.distractors import sizes as possible
from imgbench.distractors.extrapolation import Error
from imgbench.embeddings import Embeddings
from imgbench.errors import InputError, unknown
from imgbench.qrels import Qrels
from imgbench.ranks import Ranks, relevant_ranks
from imgbench.significance import Interval, mean_interval

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("nDCG@10", "R@10", "Success@10", "RR")

Means = Float64[np.ndarray, "measure size"]


@dataclass(frozen=True, eq=False)
class Curve:
    """Expected measures of exact search by corpus size, with limits over query clusters.

    A corpus of n images holds the fixed images, all relevant images of the query that is asked, and a random
    choice of distractors that fills it up to n; at `images`, the whole corpus, the means are those of an
    `Evaluator`. `sizes` ascend; those above `images` are extrapolated, and `error` says how wrong such
    predictions of this corpus are. `mean`, `low` and `high` are (measure, size).
    """

    ranks: Ranks
    measures: tuple[str, ...]
    sizes: tuple[int, ...]
    mean: Means
    low: Means
    high: Means
    clusters: Int64[np.ndarray, "query"]
    confidence: float
    seed: int
    model: str | None = None
    error: Error | None = None

    def __repr__(self) -> str:
        at = self.sizes.index(self.images) if self.images in self.sizes else len(self.sizes) - 1
        shown = ", ".join(f"{name} {row[at]:.4f}" for name, row in zip(self.measures, self.mean, strict=True))
        sizes = f"{self.sizes[0]:,} to {self.sizes[-1]:,} images"
        return f"Curve({sizes}; at {self.sizes[at]:,}: {shown})"

    @property
    def images(self) -> int:
        """The size of the whole corpus; what is larger is extrapolated."""
        return self.ranks.images

    @property
    def pool_size(self) -> int:
        """How many images a smaller corpus may lack; a query's own relevant ones it never lacks."""
        return int(self.ranks.pooled.sum())

    @property
    def smallest(self) -> int:
        """The size at which some query has no distractor left."""
        return possible.smallest(self.ranks)

    @property
    def farthest(self) -> int:
        """The largest size for which predictions were checked: `images` without an extrapolation."""
        times = self.error.farthest if self.error else 1
        return self.images + (times - 1) * self.pool_size

    def scores(self, sizes: Sequence[int]) -> Float64[np.ndarray, "measure size query"]:
        """The expectation of every judged query at any sizes. InputError as in `at`."""
        wanted = possible.checked(self.ranks, sizes, predicted=self.model is not None)
        parsed = expected.parse(self.measures)
        small = [size for size in wanted if size <= self.images]
        added = [size - self.images for size in wanted if size > self.images]
        parts = [expected.closed(self.ranks, parsed, small)]
        if self.model and added:
            parts.append(extrapolation.predicted(self.ranks, parsed, added, model=self.model))
        return np.concatenate(parts, axis=1)

    def at(self, size: int, measure: str | Measure) -> Interval:
        """The mean and its limits at one size. InputError for a size below `smallest`, one above `images`
        without an extrapolation or beyond 64 times the pool, and a measure that the curve does not have.
        """
        name = str(measure)
        if name not in self.measures:
            raise unknown("a measure of this curve", name, self.measures)
        found = replace(self, measures=(name,))
        m = self.measures.index(name)
        error = self.error and replace(self.error, typical=self.error.typical[m : m + 1])
        mean, low, high = _limits(replace(found, error=error), found.scores([size]), [size])
        return Interval(float(mean[0, 0]), float(low[0, 0]), float(high[0, 0]))

    def extrapolate(
        self,
        factors: Sequence[float] = extrapolation.FACTORS,
        *,
        sizes: Sequence[int] | None = None,
        model: str = "mixed",
        draws: int = 4,
    ) -> Curve:
        """The curve with larger corpora: `factors` times the pool, or `sizes` above `images`.

        New distractors are as the pool's. `model`: see `imgbench.distractors.tail`. Half, a quarter and an
        eighth of the pool, `draws` times each, predict this corpus, and limits are as much wider as those
        predictions are typically wrong: the root of the sum of the squares of the half-width over clusters
        and of that error times Student's quantile (`draws` degrees of freedom). Sizes above `farthest` were
        never checked. InputError for factors of 1 or less or above 64, sizes that are not larger or have more
        than 64 times the pool, an unknown model, and a pool of fewer than 100 distractors.
        """
        larger = possible.larger(self.ranks, factors, sizes)
        parsed = expected.parse(self.measures)
        error = extrapolation.measured_error(self.ranks, parsed, model=model, draws=draws, seed=self.seed)
        inner = tuple(size for size in self.sizes if size <= self.images)
        longer = replace(self, model=model, error=error, sizes=(*inner, *larger))
        new = _limits(longer, longer.scores(larger), larger)
        old = (found[:, : len(inner)] for found in (self.mean, self.low, self.high))
        mean, low, high = (np.hstack([a, b]) for a, b in zip(old, new, strict=True))
        return replace(longer, mean=mean, low=low, high=high)

    def frame(self) -> pd.DataFrame:
        """A row a measure and size: measure, images, mean, low, high, extrapolated, checked."""
        import pandas as pd

        return pd.DataFrame(
            {
                "measure": name, "images": size,
                "mean": self.mean[m, s], "low": self.low[m, s], "high": self.high[m, s],
                "extrapolated": size > self.images, "checked": size <= self.farthest,
            }
            for m, name in enumerate(self.measures) for s, size in enumerate(self.sizes)
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: sizes, limits by measure, and how wrong the extrapolation is."""
        found: dict[str, Any] = {
            "images": self.images,
            "pool": self.pool_size,
            "confidence": self.confidence,
            "sizes": list(self.sizes),
            "quality": {
                name: {
                    "mean": self.mean[m].tolist(),
                    "low": self.low[m].tolist(),
                    "high": self.high[m].tolist(),
                }
                for m, name in enumerate(self.measures)
            },
            "extrapolation": None,
        }
        if self.error:
            found["extrapolation"] = {
                "model": self.model,
                "checked_to": self.farthest,
                "factors": list(self.error.factors),
                "draws": self.error.draws,
                "error": {
                    name: {"bias": self.error.bias[m].tolist(), "typical": self.error.typical[m].tolist()}
                    for m, name in enumerate(self.measures)
                },
            }
        return found


def distractor_curve(
    images: Embeddings,
    queries: Embeddings,
    qrels: Qrels | Mapping[str, Mapping[str, int]] | str | Path,
    *,
    measures: str | Measure | Sequence[str | Measure] = MEASURES,
    sizes: Sequence[int] | None = None,
    pool: Iterable[str] | Bool[np.ndarray, "image"] | None = None,
    clusters: Mapping[str, Any] | Integer[np.ndarray, "query"] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    threads: int | None = None,
) -> Curve:
    """What exact search would score in every smaller corpus, in closed form from one pass over the images.

    `measures`: AP, P, R, RR, Success and nDCG of ir-measures, with or without cutoff. `sizes`: 20 by default,
    their logarithms evenly spaced. `pool`: the images that smaller corpora lack (ids or a mask), all but a
    query's own relevant ones by default. `clusters`: as for an `Evaluator`. InputError as in
    `ranks.relevant_ranks`, for other measures, and for sizes that no corpus here can have.

    >>> images = Embeddings(["a", "b", "c"], np.float32([[1, 0], [0, 1], [0.6, 0.8]]))
    >>> queries = Embeddings(["q"], np.float32([[0.8, 0.6]]))
    >>> curve = distractor_curve(images, queries, {"q": {"a": 1}}, measures=["RR"])
    >>> curve.sizes, curve.mean  # b is below a, c above it: with either, RR is (1 + 1/2) / 2
    ((1, 2, 3), array([[1.  , 0.75, 0.5 ]]))
    """
    parsed = expected.parse(measures)
    ranks = relevant_ranks(images, queries, qrels, pool=pool, threads=threads)
    return curve_of(ranks, parsed, sizes, clusters=clusters, confidence=confidence, seed=seed)


def curve_of(
    ranks: Ranks,
    measures: str | Measure | Sequence[str | Measure] = MEASURES,
    sizes: Sequence[int] | None = None,
    *,
    clusters: Mapping[str, Any] | Integer[np.ndarray, "query"] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Curve:
    """`distractor_curve` from ranks that exist."""
    parsed = expected.parse(measures)
    wanted = possible.spaced(ranks) if sizes is None else possible.checked(ranks, sizes, predicted=False)
    scores = expected.closed(ranks, parsed, wanted)
    nothing = np.zeros((len(parsed), len(wanted)))
    groups = _clusters(ranks.qrels, clusters)
    names = tuple(map(str, parsed))
    empty = Curve(ranks, names, wanted, nothing, nothing, nothing, groups, confidence, seed)
    mean, low, high = _limits(empty, scores, wanted)
    return replace(empty, mean=mean, low=low, high=high)


def _limits(
    curve: Curve, scores: Float64[np.ndarray, "measure size query"], sizes: Sequence[int]
) -> tuple[Means, Means, Means]:
    """Means and limits over clusters, wider where they are extrapolated."""
    rows = [
        mean_interval(row, curve.clusters, confidence=curve.confidence, seed=curve.seed) for row in scores
    ]
    mean, low, high = (
        np.array([[getattr(found, name) for found in row] for row in rows])
        for name in ("mean", "low", "high")
    )
    if curve.error:
        times = 1 + np.maximum(np.array(sizes) - curve.images, 0) / curve.pool_size
        # A root mean square over few draws: Student's quantile with as many degrees of freedom.
        wider = float(stdtrit(curve.error.draws, (1 + curve.confidence) / 2)) * curve.error.at(times)
        low = np.maximum(mean - np.hypot(mean - low, wider), 0.0)
        high = np.minimum(mean + np.hypot(high - mean, wider), 1.0)
    return mean, low, high


def _clusters(
    qrels: Qrels, given: Mapping[str, Any] | Integer[np.ndarray, "query"] | None
) -> Int64[np.ndarray, "query"]:
    if given is None:
        return rules.cluster_queries(qrels.query_ids, qrels)[0].astype(np.int64)
    if isinstance(given, Mapping):
        labels = {query: str(label) for query, label in given.items()}
        return rules.labelled(qrels.query_ids, labels).astype(np.int64)
    if len(given) != len(qrels.query_ids):
        came = f"{len(given)} clusters came for {len(qrels.query_ids)} judged queries."
        raise InputError(came, "Each judged query has one.", "Pass a mapping from query id to cluster.")
    return rules.labelled(qrels.query_ids, [str(label) for label in given]).astype(np.int64)
