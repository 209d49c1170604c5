"""How likely a new distractor is to score above a relevant image: models of what a larger corpus would add.

`tail`: the best scores of a query's distractors are exceedances over a threshold, and follow a generalised
Pareto distribution (Pickands 1975; Coles 2001, chapter 4): its scale is the query's own, its shape common to
all queries, by probability-weighted moments (Hosking and Wallis 1987). It knows how far a relevant image is
ahead of all distractors, and errs a little to the bright side.

`counts`: the number of distractors above an image is Poisson, and its rates over all queries have a
distribution that is estimated without assumptions on its form (Kiefer and Wolfowitz 1956; the mixture by EM,
Laird 1978); each image gets its posterior (Robbins 1956). It has hardly any bias, but needs many queries.

`mixed`: both with equal weight. `rate`: the share of the distractors that are above, which claims that the
first of n stays the first of any number; it is here to be compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.special import gammaln

from imgbench.errors import unknown
from imgbench.ranks import Ranks

DEEPEST = 32
"""Exceedances of a query in its tail. With 128 of 2,500 the tail of clustered images had two humps, which no
such distribution has (measured)."""

_FEWEST = 8  # exceedances below which a query has no tail
_COUNTED = 64  # images above, beyond which their share is as good as any model
_RATES = np.concatenate([[0.0], np.exp(np.linspace(np.log(1e-3), np.log(6.0 * _COUNTED), 100))])
_ROUNDS = 300  # of EM
_LEAST = 1e-3  # smaller posterior weights are left out


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of one corpus: per pair its query, score and distractors above; per query the `drawn`
    distractors and the scores of the best of them, falling, -inf where not known.
    """

    query: Int64[np.ndarray, "pair"]
    scores: Float32[np.ndarray, "pair"]
    above: Int64[np.ndarray, "pair"]
    drawn: Int64[np.ndarray, "query"]
    top: Float32[np.ndarray, "query depth"]


@dataclass(frozen=True, eq=False)
class Chances:
    """Per pair a mixture of the probabilities that a new distractor scores above it; weights sum to 1."""

    pair: Int64[np.ndarray, "part"]
    chance: Float64[np.ndarray, "part"]
    weight: Float64[np.ndarray, "part"]


def seen(ranks: Ranks) -> Seen:
    """The whole corpus."""
    return Seen(ranks.query_rows, ranks.scores, ranks.above_pool, ranks.distractors, ranks.top_scores)


def thinned(ranks: Ranks, factor: float, generator: np.random.Generator) -> Seen:
    """A random sub-corpus with one in `factor` of the pool's images, the same for all queries.

    Among the best distractors of each query it is known which are drawn; of those further down as many are
    drawn as a hypergeometric number says.
    """
    pool = np.flatnonzero(ranks.pooled)
    kept = np.zeros(ranks.images, dtype=bool)
    kept[generator.choice(pool, round(len(pool) / factor), replace=False)] = True
    own = ranks.query_rows[kept[ranks.image_rows]]
    drawn = int(kept.sum()) - np.bincount(own, minlength=len(ranks.distractors))
    best = kept[ranks.top_rows] & (ranks.top_rows >= 0)
    listed = (ranks.top_rows >= 0).sum(axis=1)
    counts = np.pad(np.cumsum(best, axis=1), ((0, 0), (1, 0)))
    q = ranks.query_rows
    near = np.minimum(ranks.above_pool, listed[q])
    deep, rest = ranks.above_pool - near, (ranks.distractors - listed)[q]
    left = np.maximum(drawn - counts[:, -1], 0)[q]
    above = counts[q, near] + generator.hypergeometric(deep, rest - deep, np.minimum(left, rest))
    # The best that are left, in their order.
    order = np.argsort(~best, axis=1, kind="stable")
    top = np.take_along_axis(np.where(best, ranks.top_scores, -np.inf), order, 1)
    return Seen(q, ranks.scores, above, drawn, top.astype(np.float32))


def chances(found: Seen, model: str) -> Chances:
    """The model's probabilities for every pair. InputError for a model that is not in `MODELS`."""
    if model not in MODELS:
        raise unknown("a model of larger corpora", model, MODELS)
    return MODELS[model](found)


def _share(found: Seen) -> Float64[np.ndarray, "pair"]:
    return found.above / np.maximum(found.drawn, 1)[found.query]


def _plain(chance: Float64[np.ndarray, "pair"]) -> Chances:
    return Chances(np.arange(len(chance)), chance, np.ones(len(chance)))


def _rate(found: Seen) -> Chances:
    return _plain(_share(found))


def _tail(found: Seen) -> Chances:
    threshold, scale, shape, count = _pareto(found.top)
    q, share = found.query, _share(found)
    known = (count[q] >= _FEWEST) & (scale[q] > 0) & (found.scores > threshold[q])
    beyond = (found.scores[known] - threshold[q][known]) / scale[q][known]
    tail = count[q][known] / found.drawn[q][known] * _survival(beyond, shape)
    share[known] = np.minimum(tail, 1.0)
    return _plain(share)


def _survival(z: Float64[np.ndarray, "pair"], shape: float) -> Float64[np.ndarray, "pair"]:
    """The share of a generalised Pareto distribution of scale 1 beyond z."""
    if abs(shape) < 1e-6:  # noqa: PLR2004  its limit
        return np.exp(-z)
    return np.maximum(1.0 + shape * z, 0.0) ** (-1.0 / shape)


def _pareto(
    top: Float32[np.ndarray, "query depth"],
) -> tuple[Float64[np.ndarray, "query"], Float64[np.ndarray, "query"], float, Int64[np.ndarray, "query"]]:
    """Threshold, scale, common shape, and number of exceedances of every query."""
    listed = np.isfinite(top).sum(axis=1)
    count = np.clip(listed - 1, 0, DEEPEST)
    threshold = top[np.arange(len(top)), np.minimum(count, top.shape[1] - 1)].astype(np.float64)
    inside = np.arange(top.shape[1]) < count[:, None]
    with np.errstate(invalid="ignore"):
        over = np.where(inside, top - threshold[:, None], 0.0)
    mean = over.sum(axis=1) / np.maximum(count, 1)
    usable = (count >= _FEWEST) & (mean > 0)
    if not usable.any():
        return threshold, mean, 0.0, np.zeros_like(count)
    z = np.sort((over[usable] / mean[usable, None])[inside[usable]])
    # Hosking and Wallis: with b = E[Z (1 - F(Z))] and E[Z] = 1 the shape is 2 - 1 / (1 - 2 b).
    b = float(((1 - (np.arange(1, len(z) + 1) - 0.35) / len(z)) * z).mean())
    shape = float(np.clip(2 - 1 / (1 - 2 * b), -0.9, 0.9)) if b < 0.5 else -0.9  # noqa: PLR2004
    return threshold, mean * (1 - shape), shape, np.where(usable, count, 0)


def _counts(found: Seen) -> Chances:
    drawn = np.maximum(found.drawn, 1)[found.query]
    # Each query has the same say in the distribution, however many relevant images it has.
    says = 1.0 / np.bincount(found.query, minlength=len(found.drawn))[found.query]
    close = found.above <= 4 * _COUNTED
    totals = np.bincount(found.above[close], weights=says[close], minlength=4 * _COUNTED + 1)
    table = _mixture(totals)[: _COUNTED + 1]
    table = _normal(np.where(table < _LEAST, 0.0, table))
    # A count that no rate explains has its share, as many images above have.
    known = np.append(table.any(axis=1), False)[np.minimum(found.above, _COUNTED + 1)]
    rare, rest = np.flatnonzero(known), np.flatnonzero(~known)
    posterior = table[found.above[rare]]
    at, rate = np.nonzero(posterior)
    return Chances(
        np.concatenate([rare[at], rest]),
        np.minimum(np.concatenate([_RATES[rate] / drawn[rare[at]], _share(found)[rest]]), 1.0),
        np.concatenate([posterior[at, rate], np.ones(len(rest))]),
    )


def _mixture(totals: Float64[np.ndarray, "count"]) -> Float64[np.ndarray, "count rate"]:
    """The posterior over the rates for each count, given how often each count came."""
    count = np.arange(len(totals))[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.where(_RATES > 0, count * np.log(_RATES) - _RATES, np.where(count == 0, 0.0, -np.inf))
    likelihood = np.exp(log - gammaln(count + 1.0))
    weights = np.full(len(_RATES), 1.0 / len(_RATES))
    # Where all images are far down there is nothing to learn from, and nothing that asks.
    for _ in range(_ROUNDS if totals.any() else 0):
        weights = totals @ _normal(likelihood * weights) / totals.sum()
    return _normal(likelihood * weights)


def _normal(joint: Float64[np.ndarray, "count rate"]) -> Float64[np.ndarray, "count rate"]:
    total = joint.sum(axis=1, keepdims=True)
    # A count that never came may fit no rate that is left: it has no weight in what follows.
    return np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)


def _mixed(found: Seen) -> Chances:
    parts = _tail(found), _counts(found)
    joined = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("pair", "chance", "weight")
    )
    pair, chance, weight = joined
    return Chances(pair, chance, weight / len(parts))


MODELS: dict[str, Callable[[Seen], Chances]] = {
    "mixed": _mixed, "tail": _tail, "counts": _counts, "rate": _rate,
}  # fmt: skip
"""By name; the first is the default."""
