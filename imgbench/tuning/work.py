"""The work of one tuning: indexes built, costs measured, the race run on one half, the proof on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from imgbench import environment, significance
from imgbench.embeddings import Embeddings
from imgbench.evaluator import Evaluator
from imgbench.index import Index, IndexSpec
from imgbench.points import Protocol
from imgbench.progress import Say
from imgbench.significance import Comparison, Verdict
from imgbench.significance.margin import Margin
from imgbench.tuning.candidates import EXACT, Candidate
from imgbench.tuning.chance import Deltas, Forecast, Groups
from imgbench.tuning.goals import Bench, Meter
from imgbench.tuning.halves import Half, Searches, own
from imgbench.tuning.provable import check_provable
from imgbench.tuning.race import Look, Race
from imgbench.tuning.summary import named

EXACTLY = Candidate(EXACT, EXACT, {})
"""Exact search as a point."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is tuned and how, complete before any work."""

    judge: Evaluator
    specs: tuple[IndexSpec, ...]
    ladders: tuple[tuple[Candidate, ...], ...]
    goal: str
    margin: Margin
    confidence: float
    k: int
    seed: int
    protocol: Protocol
    tune: Half
    confirm: Half
    floor: float


@dataclass(frozen=True)
class Choice:
    """What the tune half decided, before anybody looked at the other.

    `order`: all candidates, the cheapest first, which is how the race numbers them; those from `affordable`
    on cost as much as exact search or more and did not take part. `finalists`: the safest first.
    `first`, `prices`: costs by key, as first seen and as measured properly. `distances`: by key, a query.
    """

    order: tuple[Candidate, ...]
    affordable: int
    race: Race | None
    margin: float
    finalists: tuple[Candidate, ...]
    first: Mapping[str, float]
    prices: Mapping[str, float]
    distances: Mapping[str, float | None]


@dataclass(frozen=True)
class Work:
    """Indexes by name, all queries, and how many were searched."""

    task: Task
    indexes: Mapping[str, Index]
    queries: Embeddings
    k: int
    say: Say
    meter: Meter = field(default_factory=Meter)

    @classmethod
    def begin(cls, task: Task, images: Embeddings, queries: Embeddings, say: Say) -> Work:
        """With all indexes built, each once."""
        found: dict[str, Index] = {}
        for spec in (IndexSpec.parse(EXACT), *task.specs):
            if spec.name not in found:
                say(f"building {spec.name}")
                found[spec.name] = Index.build(spec, images, seed=task.seed, threads=task.protocol.threads)
        # Unreadable images have no vector: a small index may hold fewer images than the corpus.
        return cls(task, found, queries, min(task.k, len(images)), say)

    def choose(self) -> Choice:
        """The finalists, from the tune half alone."""
        task, searches = self.task, self._searches(self.task.tune, "race")
        bench = Bench(self.indexes, searches.vectors, self.k, task.protocol, task.seed, self.meter)
        everyone = [EXACTLY, *(point for ladder in task.ladders for point in ladder)]
        self.say(f"counting and timing {len(everyone)} points")
        distances = bench.distances(everyone)
        first = bench.prices(task.goal, everyone, distances, thoroughly=False)
        order, ladders, affordable = ranked(task.ladders, first, distances)
        with environment.threads(task.protocol.threads):
            margin = self._margin(searches)
            race = self._race(searches, order, ladders, margin) if affordable else None
            found = tuple(order[number] for number in race.finalists()) if race else ()
        self.say("timing the finalists")
        prices = bench.prices(task.goal, [EXACTLY, *found], distances, thoroughly=True)
        return Choice(
            order, affordable, race, margin, cheaper(found, prices, distances), first, prices, distances
        )

    def confirm(self, choice: Choice) -> list[tuple[Candidate, Comparison]]:
        """The finalists against exact search on the other half, in order, up to the first that fails."""
        if not choice.finalists:
            return []
        searches, found = self._searches(self.task.confirm, "confirm"), list[tuple[Candidate, Comparison]]()
        with environment.threads(self.task.protocol.threads):
            for point in choice.finalists:
                self.say(f"confirming {point.key}")
                found.append((point, self._compared(searches, point, choice.margin)))
                if found[-1][1].verdict is not Verdict.HOLDS:
                    break
        return found

    def _searches(self, half: Half, purpose: str) -> Searches:
        vectors = own(half, self.task.judge, self.queries)
        return Searches(half, self.task.judge, vectors, self.indexes, self.k, self.meter, purpose)

    def _compared(self, searches: Searches, point: Candidate, margin: float) -> Comparison:
        every = searches.half.count
        deltas = searches.scores(point, every) - searches.scores(EXACTLY, every)
        task = self.task
        return significance.paired(
            deltas[None], searches.half.clusters, margin=margin, confidence=task.confidence, seed=task.seed
        )[0]

    def _margin(self, searches: Searches) -> float:
        """In units of the measure; a relative one needs exact search's score on the whole tune half."""
        half = searches.half
        first = half.count if self.task.margin.relative else min(half.count, Race.first)
        exact = float(searches.scores(EXACTLY, first).mean())
        margin = self.task.margin.absolute(exact, self.task.judge.names[0])
        task, name = self.task, named(str(self.task.margin), margin)
        check_provable(margin, task.floor, task.confirm, task.confidence, task.seed, name=name)
        return margin

    def _race(
        self,
        searches: Searches,
        order: Sequence[Candidate],
        ladders: Sequence[tuple[int, ...]],
        margin: float,
    ) -> Race:
        task = self.task
        forecast = Forecast(margin, task.confirm.count, task.floor, task.confidence)
        race = Race(ladders, _look(searches, order, self.say), forecast, self.task.tune.count)
        race.run()
        return race


def _look(searches: Searches, order: Sequence[Candidate], say: Say) -> Look:
    """Differences of a candidate to exact search on the first so many clusters."""

    def look(point: int, clusters: int) -> tuple[Deltas, Groups]:
        say(f"{clusters} clusters: {order[point].key}")
        deltas = searches.scores(order[point], clusters) - searches.scores(EXACTLY, clusters)
        return deltas, searches.half.clusters[: len(deltas)]

    return look


def ranked(
    ladders: Sequence[Sequence[Candidate]], prices: Mapping[str, float], distances: Mapping[str, float | None]
) -> tuple[tuple[Candidate, ...], list[tuple[int, ...]], int]:
    """All candidates, the cheapest first; the ladders as numbers in that order; how many cost less than Flat.

    Along a ladder the price is made not to fall: a dearer rung that was timed as cheaper is noise. Of points
    of one price (the rungs of one index have the same bytes) the one that compares less comes first.
    """
    keyed: list[tuple[float, float, int, int]] = []
    for number, ladder in enumerate(ladders):
        price = np.maximum.accumulate([prices[point.key] for point in ladder])
        effort = np.maximum.accumulate([distances[point.key] or 0.0 for point in ladder])
        keyed += [(price[rung], effort[rung], number, rung) for rung in range(len(ladder))]
    keyed.sort()
    affordable = sum(price < prices[EXACT] for price, *_ in keyed)
    places = [
        tuple(at for at, (*_, ladder, _) in enumerate(keyed[:affordable]) if ladder == number)
        for number in range(len(ladders))
    ]
    order = tuple(ladders[number][rung] for *_, number, rung in keyed)
    return order, [place for place in places if place], affordable


def cheaper(
    finalists: Sequence[Candidate], prices: Mapping[str, float], distances: Mapping[str, float | None]
) -> tuple[Candidate, ...]:
    """The finalists, each cheaper than exact search and than the safer ones before it."""
    found: list[Candidate] = []

    def cost(point: Candidate) -> tuple[float, float]:
        return prices[point.key], distances[point.key] or 0.0

    for point in reversed(finalists):  # the least safe first: a safer one may cost less after all
        while found and not cost(found[-1]) < cost(point):
            found.pop()
        if prices[point.key] < prices[EXACT]:
            found.append(point)
    return tuple(reversed(found))
