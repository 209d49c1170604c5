"""What a benchmark can measure beside its points: where losses arise, other sizes of the corpus, loads."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32

from imgbench.distractors import distractor_curve
from imgbench.distractors.expected import closed_forms
from imgbench.errors import InputError
from imgbench.evaluator import Evaluator
from imgbench.funnel import Steps, exact_steps, index_steps
from imgbench.index.core import Searcher
from imgbench.loads import Loads, batches, concurrency
from imgbench.points import Points, Protocol
from imgbench.progress import Say
from imgbench.spaces import Space


@dataclass(frozen=True)
class Extras:
    """By point the runs of its funnel and its loads as results.json has them, the distractor curve, and why
    something of these is missing.
    """

    steps: dict[str, Steps] = field(default_factory=dict[str, Steps])
    loads: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    curve: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


def funnels(space: Space, points: Points, k: int, say: Say) -> Extras:
    """By point, the runs from float32 vectors to its own; an index is scanned once for all its points."""
    exact, *others = points.points
    say("exact search before the indexes")
    before = exact_steps(space.images, space.queries, k, reference=space.whole, exact=exact.run)
    found: dict[str, Steps] = {}
    notes: list[str] = []
    for name in dict.fromkeys(point.index.spec for point in others):
        of_index = [point for point in others if point.index.spec == name]
        say(f"scanning {name}")
        grid, runs = [point.params for point in of_index], [point.run for point in of_index]
        try:
            steps = index_steps(of_index[0].index, space.images, space.queries, k, grid, found=runs)
        except InputError as error:  # its codes cannot be compared exhaustively
            notes.append(f"No funnel of {name}: {error}")
            continue
        found |= {point.key: [*before, *step] for point, step in zip(of_index, steps, strict=True)}
    return Extras(steps=found, notes=tuple(notes))


def curve(space: Space, judge: Evaluator, *, confidence: float, seed: int, say: Say) -> Extras:
    """Exact search in smaller corpora and in larger ones, by the measures that have a closed form."""
    measures = closed_forms(judge.measures)
    notes = [f"No distractor curve of {name}." for name in judge.names if name not in map(str, measures)]
    if not measures:
        return Extras(notes=tuple(notes))
    say("ranks of all relevant images")
    found = distractor_curve(
        space.images, space.queries, judge.qrels,
        measures=measures, clusters=judge.clusters, confidence=confidence, seed=seed,
    )  # fmt: skip
    say("larger corpora")
    try:
        found = found.extrapolate()
    except InputError as error:  # too few distractors to predict from parts of them
        notes.append(f"No larger corpora: {error}")
    return Extras(curve=found.to_dict(), notes=tuple(notes))


def loads(
    space: Space, points: Points, asked: Loads, protocol: Protocol, k: int, *, seed: int, say: Say
) -> Extras:
    """Every point with several clients at once and with batches of several sizes, as far as was asked."""
    rows = space.queries.float32()
    search = {point.key: point.index.searcher(k, **point.params) for point in points.points}
    notes = asked.notes(len(rows))
    found: dict[str, dict[str, Any]] = {key: {} for key in search}
    if asked.clients:
        say(f"{len(search)} points with several clients at once")
        # https://github.com/facebookresearch/faiss/wiki/Threads-and-asynchronous-calls
        alone = [key for key in search if key.startswith("gpu:")]
        notes += [f"No clients at once for {key}: an index on a GPU answers one at a time." for key in alone]
        calls = {
            key: partial(_batch, call, rows, count=1) for key, call in search.items() if key not in alone
        }
        clients = concurrency(
            calls, queries=len(rows), clients=asked.clients, threads=asked.client_threads, seed=seed
        )
        for key, of in clients.items():
            found[key]["concurrency"] = [each.to_dict() for each in of]
    if asked.batches:
        say(f"{len(search)} points with batches of several sizes")
        sized = batches(
            {key: partial(_batch, call, rows) for key, call in search.items()},
            queries=len(rows), sizes=asked.sizes(len(rows)), threads=protocol.threads, seed=seed,
            whole={point.key: point.throughput for point in points.points},
        )  # fmt: skip
        for key, of in sized.items():
            found[key]["batches"] = [each.to_dict() for each in of]
    return Extras(loads=found, notes=tuple(notes))


def _batch(search: Searcher, rows: Float32[np.ndarray, "query dim"], first: int, count: int) -> object:
    return search(rows[first : first + count])
