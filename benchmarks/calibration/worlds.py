"""Simulated worlds: paired differences of queries in clusters, whose true mean is known exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Draw: TypeAlias = Callable[[np.random.Generator, int], np.ndarray]

RANKS = 1 / np.log2(np.arange(2, 12))
"""nDCG@10 of a query whose one relevant image stands at rank 1 to 10."""


def _whole(rng: np.random.Generator, count: int) -> np.ndarray:
    del rng
    return -np.ones(count)


def _skewed(rng: np.random.Generator, count: int) -> np.ndarray:
    return -rng.beta(0.5, 1.5, count)


def _mixed(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.where(rng.random(count) < 0.3, 1, -1) * rng.beta(0.5, 1.5, count)


def _flips(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], count)


def _ranks(rng: np.random.Generator, count: int) -> np.ndarray:
    """The image moves from one rank to the next, or in three of ten cases is lost or found; up or down alike.

    The root mean square is 0.3, as in IVF and HNSW over the captions of Flickr8k (0.21 to 0.45).
    """
    at = rng.integers(0, len(RANKS), count)
    below = np.where(rng.random(count) < 0.3, 0.0, np.append(RANKS[1:], 0)[at])
    return rng.choice([-1.0, 1.0], count) * (RANKS[at] - below)


def _two_scales(rng: np.random.Generator, count: int) -> np.ndarray:
    """Small gains and losses alike, and among 20 changes a whole loss: easily none of these was seen."""
    return np.where(rng.random(count) < 0.05, -1.0, rng.choice([-0.1, 0.1], count))


def _found(rng: np.random.Generator, count: int) -> np.ndarray:
    return RANKS[rng.integers(0, len(RANKS), count)]


SHAPES: dict[str, tuple[Draw, float]] = {
    "whole": (_whole, -1.0),
    "skewed": (_skewed, -0.25),
    "mixed": (_mixed, -0.1),
    "two scales": (_two_scales, -0.05),
    "ranks": (_ranks, 0.0),
    "flips": (_flips, 0.0),
    "found": (_found, float(RANKS.mean())),
}
"""What a changed query gains (below 0: loses), and the mean of that."""


LAYOUTS: dict[str, Callable[[int], np.ndarray]] = {
    "equal": lambda clusters: np.full(clusters, 5),
    "unequal": lambda clusters: np.arange(clusters) % 10 + 1,
    "some large": lambda clusters: np.where(np.arange(clusters) % 10, 2, 20),
    "one giant": lambda clusters: np.where(np.arange(clusters), 4, clusters),
}
"""Queries a cluster."""


@dataclass(frozen=True)
class Unseen:
    """Clusters that are lost whole, with the probability `lost`, while a fifth of the other queries gains or
    loses `noise`. Where a few clusters are much larger than the others, only those are ever lost.
    """

    clusters: int
    layout: str
    lost: float
    noise: float

    @property
    def sizes(self) -> np.ndarray:
        """Queries a cluster."""
        return LAYOUTS[self.layout](self.clusters)

    @property
    def groups(self) -> np.ndarray:
        """The cluster of each query."""
        return np.arange(self.clusters).repeat(self.sizes)

    @property
    def chances(self) -> np.ndarray:
        """The probability of each cluster to be lost."""
        large = self.sizes > 2 * np.median(self.sizes)
        return np.where(large | ~large.any(), self.lost, 0.0)

    @property
    def mean(self) -> float:
        """The true mean difference."""
        return -float((self.chances * self.sizes).sum() / self.sizes.sum())

    def draw(self, rng: np.random.Generator, worlds: int) -> np.ndarray:
        """(world, query) differences."""
        shape = worlds, len(self.groups)
        gone = rng.random((worlds, self.clusters)) < self.chances
        small = np.where(rng.random(shape) < 0.2, rng.choice([-self.noise, self.noise], shape), 0.0)
        return np.where(np.take(gone, self.groups, axis=1), -1.0, small)


@dataclass(frozen=True)
class World:
    """How differences arise. `size`: queries a cluster, 0 for 1 to 10 in turn; `icc`: the correlation of two
    queries of a cluster; `share`: how many queries change, one for each of several points.
    """

    clusters: int
    size: int
    icc: float
    shape: str

    @property
    def groups(self) -> np.ndarray:
        """The cluster of each query."""
        sizes = np.full(self.clusters, self.size) if self.size else np.arange(self.clusters) % 10 + 1
        return np.arange(self.clusters).repeat(sizes)

    def mean(self, share: float) -> float:
        """The true mean difference."""
        return SHAPES[self.shape][1] * share

    def draw(self, rng: np.random.Generator, worlds: int, share: float) -> np.ndarray:
        """(world, query) differences."""
        return self._drawn(rng, worlds, share)[1]

    def ladder(self, rng: np.random.Generator, shares: np.ndarray, *, nested: bool) -> np.ndarray:
        """(point, query) differences of one world.

        Nested: a query that changes in one point changes in all that change more, as at nprobe=2 and 1.
        """
        tickets, changes = self._drawn(rng, 1 if nested else len(shares), float(shares.max()))
        return np.where(tickets < shares[:, None], changes, 0.0)

    def builds(self, rng: np.random.Generator, shares: np.ndarray) -> np.ndarray:
        """(world, build, query) differences, where `shares` (world, build) change.

        In half of the clusters every build changes the same queries, but for the share.
        """
        common = self._drawn(rng, len(shares), float(shares.max()))
        same = np.take(rng.random((len(shares), self.clusters)) < 0.5, self.groups, axis=1)
        found = []
        for share in shares.T:
            own = self._drawn(rng, len(shares), float(shares.max()))
            tickets, changes = (np.where(same, *both) for both in zip(common, own, strict=True))
            found.append(np.where(tickets < share[:, None], changes, 0.0))
        return np.stack(found, axis=1)

    def _drawn(self, rng: np.random.Generator, worlds: int, most: float) -> tuple[np.ndarray, np.ndarray]:
        """For each query a ticket from 0 to 1, and how it changes, 0 if its ticket is not below `most`.

        A query takes both from its cluster with probability sqrt(icc): two do with probability icc.
        """
        groups, draw = self.groups, SHAPES[self.shape][0]
        shape, shared = (worlds, len(groups)), (worlds, self.clusters)
        copies = rng.random(shape, dtype=np.float32) < np.sqrt(self.icc)
        tickets = np.where(
            copies,
            np.take(rng.random(shared, dtype=np.float32), groups, axis=1),
            rng.random(shape, dtype=np.float32),
        )
        world, query = np.nonzero(tickets < most)
        together = draw(rng, worlds * self.clusters).reshape(shared)[world, groups[query]]
        changes = np.zeros(shape)
        changes[world, query] = np.where(copies[world, query], together, draw(rng, len(world)))
        return tickets, changes
