"""Named runs judged as a funnel: each against the one before, the last against the first."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float64

from imgbench import significance
from imgbench.errors import InputError
from imgbench.evaluator import Evaluator
from imgbench.funnel.value import Funnel, Step
from imgbench.run import Run
from imgbench.significance import Comparison
from imgbench.significance.margin import Margin

OVERLAP_AT = 10
"""The depth of the overlap with the step before, unless a search is shallower."""

Steps: TypeAlias = Sequence[tuple[str, Run]]
"""Named runs, each giving up something that the one before it had."""

Given: TypeAlias = "float | str | Margin | Mapping[str, Any]"
"""A margin for all measures, or one for each by name."""

Change: TypeAlias = tuple[int, int, int]
"""By identity: the first run, whose score a relative margin is a share of; the run before; the run after."""


def funnel_of(
    steps: Steps, judge: Evaluator, *, margin: Given = 0.005, confidence: float = 0.95, seed: int = 0
) -> Funnel:
    """Named runs judged as a funnel, whatever made them: each against the one before.

    InputError for no steps, runs over different queries, and a margin as large as the first run's score.
    """
    return funnels_of([steps], judge, margin=margin, confidence=confidence, seed=seed)[0]


def funnels_of(
    many: Sequence[Steps],
    judge: Evaluator,
    *,
    margin: Given = 0.005,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Funnel]:
    """A funnel for each list of steps, with limits that hold for all of them at once (per measure).

    A run that stands in several funnels is judged once, and a change that does is counted once.
    """
    check_judge(judge)
    _check_runs(many, judge)
    runs = {id(run): run for steps in many for _, run in steps}
    scores = {key: judge.matrix(run) for key, run in runs.items()}
    bounds = {id(steps[0][1]): judge.absolute(margin, scores[id(steps[0][1])]) for steps in many}
    changes = {change: None for steps in many for change in _changes(steps)}
    compared = _compared(list(changes), scores, bounds, judge, confidence=confidence, seed=seed)
    return [_funnel(steps, scores, compared, judge.names, confidence) for steps in many]


def check_judge(judge: object) -> None:
    """InputError for anything but an Evaluator."""
    if not isinstance(judge, Evaluator):
        raise InputError(
            f"The judge came as {type(judge).__name__}.",
            "Wanted an Evaluator.",
            "Write imgbench.Evaluator(corpus.qrels).",
        )


def _check_runs(many: Sequence[Steps], judge: Evaluator) -> None:
    for steps in many:
        if not steps:
            raise InputError(
                "A funnel without steps came.", "It needs at least one run.", "Add exact search."
            )
        first = set(steps[0][1].query_ids)
        if first.isdisjoint(judge.query_ids):
            raise InputError(
                f"None of the {len(first)} queries is judged.",
                f"The judgements name queries such as {judge.query_ids[0]!r}.",
                "Search with the queries of these judgements.",
            )
        for name, run in steps:
            if other := first.symmetric_difference(run.query_ids):
                raise InputError(
                    f"{name!r} answers other queries ({len(other)}, such as {min(other)!r}, in only one).",
                    "The steps of a funnel answer the same queries.",
                    "Search all of them with the same queries.",
                )


def _changes(steps: Steps) -> list[Change]:
    """From each step to the next, then from the first to the last."""
    ids = [id(run) for _, run in steps]
    pairs = [*itertools.pairwise(ids), (ids[0], ids[-1])] if len(ids) > 1 else []
    return [(ids[0], before, after) for before, after in pairs]


def _compared(
    changes: Sequence[Change],
    scores: Mapping[int, Float64[np.ndarray, "measure query"]],
    bounds: Mapping[int, Mapping[str, float]],
    judge: Evaluator,
    **options: Any,  # noqa: ANN401  confidence and seed
) -> dict[Change, dict[str, Comparison]]:
    if not changes:
        return {}
    deltas = np.array([scores[after] - scores[before] for _, before, after in changes])
    columns = [
        significance.paired(
            deltas[:, at],
            judge.clusters,
            margin=np.array([bounds[first][name] for first, _, _ in changes]),
            **options,
        )
        for at, name in enumerate(judge.names)
    ]
    rows = (dict(zip(judge.names, row, strict=True)) for row in zip(*columns, strict=True))
    return dict(zip(changes, rows, strict=True))


def _funnel(
    steps: Steps,
    scores: Mapping[int, Float64[np.ndarray, "measure query"]],
    compared: Mapping[Change, dict[str, Comparison]],
    names: Sequence[str],
    confidence: float,
) -> Funnel:
    k = min(OVERLAP_AT, *(run.depth for _, run in steps))
    deltas = [compared[change] for change in _changes(steps)]
    overlaps = [after.overlap(before, k) for (_, before), (_, after) in itertools.pairwise(steps)]
    made = [
        Step(name, dict(zip(names, scores[id(run)].mean(axis=1).tolist(), strict=True)), delta, overlap, run)
        for (name, run), delta, overlap in zip(steps, [{}, *deltas[:-1]], [None, *overlaps], strict=True)
    ]
    return Funnel(tuple(made), deltas[-1] if deltas else {}, k, confidence)
