"""The race: which points are cheap and likely to hold, with as few searches as decide it.

Points are numbers in the order of their cost, 0 the cheapest. A ladder lists the points of one index that
differ in one search parameter, so that quality rises with the number. Rounds look at nested sets of clusters,
each twice the last (successive halving: Jamieson and Talwalkar, AISTATS 2016; races: Maron and Moore, NIPS
1993). In each round and ladder the cheapest rung that is likely to hold is sought, by halving the ladder
first and from the last rung found later. A rung that is as good as lost is dropped with all cheaper ones of
its ladder. A point that costs more than a likely one waits, and is mostly never searched.

Nothing here knows of indexes: `Look` is any function that scores a point on the first so many clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from imgbench.tuning.chance import Changes, Deltas, Forecast, Groups, Outlook

LIKELY, SAFE, LOST = 0.5, 0.95, 0.02
"""Shares of the best possible chance: the cheapest likely and the cheapest safe point are finalists."""
FIRST = 64
"""Clusters of the first round."""

Look: TypeAlias = Callable[[int, int], tuple[Deltas, Groups]]
"""(point, clusters) -> differences to exact search of the queries of the first so many clusters, and the
clusters, numbered from 0 as they come."""

Ladder: TypeAlias = tuple[int, ...]


@dataclass
class Race:
    """The state of a race; `run` it once, then ask for the `finalists`.

    >>> import numpy as np
    >>> losses = np.array([-0.10, -0.02, -0.001, 0.0])  # of every query, from the cheapest rung on
    >>> def look(point, clusters):
    ...     return np.full(clusters, losses[point]), np.arange(clusters)
    >>> race = Race([(0, 1, 2, 3)], look, Forecast(0.005, 1000, 0.0037), clusters=1000)
    >>> race.run()
    >>> race.finalists(), sorted(race.lost), race.outlooks[2].clusters
    ([3, 2], [0, 1], 1000)
    """

    ladders: Sequence[Ladder]
    look: Look
    forecast: Forecast
    clusters: int
    first: int = FIRST
    outlooks: dict[int, Outlook] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)
    """Each point that was dropped, and the rung that was searched for it: itself or a dearer one."""
    rounds: int = 0
    _guess: dict[Ladder, int] = field(default_factory=dict)
    _changes: Changes = field(default_factory=Changes)
    _seen: int = 0
    _cap: int = 0

    def run(self) -> None:
        """Rounds until nothing is open below a safe point, or all clusters were looked at."""
        for size in self._sizes():
            self._seen = size
            self.rounds += 1
            self._cap = 1 + max(max(ladder) for ladder in self.ladders)
            for ladder in sorted(self.ladders, key=self._turn):
                self._seek(ladder)
            if self._settled():
                return

    def finalists(self) -> list[int]:
        """At most three, the safest first: the cheapest likely point, the cheapest safe one, and the rung
        above that as an insurance, because the safest of many is partly the luckiest.

        Where no point is even likely: the one that comes closest.
        """
        likely, safe = self._cheapest(LIKELY), self._cheapest(SAFE)
        chosen = {point for point in (likely, safe) if point is not None}
        if not chosen:
            return [self._closest()]
        ladder = next(ladder for ladder in self.ladders if max(chosen) in ladder)
        above = ladder[ladder.index(max(chosen)) + 1 :][:1]
        return sorted({*chosen, *above}, reverse=True)

    def _closest(self) -> int:
        """Of the points that may yet hold the likeliest; if all are lost, the one that loses least."""
        open_ = [point for point in self.outlooks if point not in self.lost]
        if open_:
            return max(open_, key=lambda point: self.outlooks[point].share)
        return max(self.outlooks, key=lambda point: self.outlooks[point].mean)

    def _sizes(self) -> Iterator[int]:
        size = self.first
        while size < self.clusters:
            yield size
            size *= 2
        yield self.clusters

    def _turn(self, ladder: Ladder) -> tuple[bool, int]:
        """Ladders with a likely rung come first: what they find spares others their turn."""
        guess = self._guess.get(ladder, ladder[0])
        known = self.outlooks.get(guess)
        return known is None or known.share < LIKELY, guess

    def _open(self, ladder: Ladder) -> list[int]:
        return [point for point in ladder if point not in self.lost and point < self._cap]

    def _seek(self, ladder: Ladder) -> None:
        """The cheapest rung that is likely to hold; all but the last two or three are left alone."""
        rungs = self._open(ladder)
        low, high, guess = 0, len(rungs), self._guess.get(ladder)
        at = None if guess is None else sum(rung < guess for rung in rungs)
        while low < high:
            probe = (low + high) // 2 if at is None else min(max(at, low), high - 1)
            if self._share(ladder, rungs[probe]) >= LIKELY:
                high, step = probe, -1
            else:
                low, step = probe + 1, 1
            at = None if guess is None else probe + step
        if rungs:
            self._guess[ladder] = rungs[min(high, len(rungs) - 1)]

    def _share(self, ladder: Ladder, point: int) -> float:
        """The share of the best chance that a point has on this round's clusters."""
        known = self.outlooks.get(point)
        if known is None or known.clusters < self._seen:
            deltas, groups = self.look(point, self._seen)
            self._changes.note(point, deltas, groups)
            known = self.outlooks[point] = self.forecast.outlook(deltas, groups, self._changes.typical)
        if known.share < LOST:
            self.lost |= {rung: point for rung in ladder if rung <= point and rung not in self.lost}
        if known.share >= LIKELY:
            self._cap = min(self._cap, point)
        return known.share

    def _settled(self) -> bool:
        """Whether a point is safe, not only as far as so few clusters can tell, and all cheaper ones lost."""
        safe = [point for point, found in self.outlooks.items() if self._now(found) and found.chance >= SAFE]
        return bool(safe) and all(point in self.lost for point in range(min(safe)))

    def _now(self, found: Outlook) -> bool:
        return found.clusters == self._seen

    def _cheapest(self, level: float) -> int | None:
        """The cheapest point with that share, looked for from each ladder's guess on upwards."""
        best: int | None = None
        for ladder in sorted(self.ladders, key=self._turn):
            for rung in ladder[ladder.index(self._guess[ladder]) :] if ladder in self._guess else ():
                if rung in self.lost:
                    continue
                if best is not None and rung >= best:
                    break
                if self._share(ladder, rung) >= level:
                    best = rung
                    break
        return best
