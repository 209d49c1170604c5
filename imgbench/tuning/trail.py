"""From the work to its result: who was recommended, what became of each candidate, what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imgbench.significance import Comparison, Verdict
from imgbench.tuning.candidates import EXACT, Candidate
from imgbench.tuning.goals import GOALS, natural
from imgbench.tuning.race import LIKELY
from imgbench.tuning.result import Best, Distances, Finalist, Trial, Tuning
from imgbench.tuning.work import Choice, Task, Work

Compared = Sequence[tuple[Candidate, Comparison]]


def result(work: Work, choice: Choice, compared: Compared, notes: Sequence[str]) -> Tuning:
    """Everything that was found."""
    task, held = work.task, [point for point, found in compared if found.verdict is Verdict.HOLDS]
    best = held[-1] if held else None
    distances = _distances(work, choice)
    exact, price = choice.prices[EXACT], choice.prices[best.key] if best else None
    return Tuning(
        goal=task.goal,
        unit=GOALS[task.goal],
        measure=task.judge.names[0],
        margin=choice.margin,
        margin_asked=str(task.margin),
        confidence=task.confidence,
        seed=task.seed,
        k=work.k,
        best=Best(best.key, best.index, dict(best.params)) if best else None,
        comparison=next((found for point, found in compared if point is best or best is None), None),
        cost=None if price is None else natural(task.goal, price),
        exact_cost=natural(task.goal, exact),
        gain=None if price is None else exact / price,
        finalists=tuple(
            Finalist(point.key, found, natural(task.goal, choice.prices[point.key]))
            for point, found in compared
        ),
        trail=_trail(task.goal, choice, compared, best),
        distances=distances,
        searched_queries=sum(work.meter.counted.values()),
        tune_clusters=task.tune.count,
        tune_queries=len(task.tune.rows),
        confirm_clusters=task.confirm.count,
        confirm_queries=len(task.confirm.rows),
        floor=task.floor,
        rounds=choice.race.rounds if choice.race else 0,
        notes=(*notes, *_uncounted(distances)),
        index=work.indexes[best.index] if best else None,
    )


def _distances(work: Work, choice: Choice) -> Distances:
    each = choice.distances

    def spent(purpose: str, *, exact: bool) -> float:
        found = work.meter.queries(purpose)
        return sum((each[key] or 0.0) * count for key, count in found.items() if exact == (key == EXACT))

    everyone = set(work.queries.ids).intersection(work.task.judge.query_ids)
    return Distances(
        exact=spent("race", exact=True) + spent("confirm", exact=True),
        race=spent("race", exact=False),
        cost=spent("cost", exact=False) + spent("cost", exact=True),
        confirm=spent("confirm", exact=False),
        full_grid=(len(everyone) + _timed(work.task, len(everyone)))
        * sum(value or 0.0 for value in each.values()),
        uncounted=tuple(key for key, value in each.items() if value is None),
    )


def _timed(task: Task, queries: int) -> int:
    """Queries that a full grid would time at each point, to know what it costs."""
    batches = queries * (1 + task.protocol.throughput_repeats)
    return {"latency": task.protocol.latency_calls, "throughput": batches}.get(task.goal, 0)


def _uncounted(distances: Distances) -> list[str]:
    if not distances.uncounted:
        return []
    return [f"FAISS does not count the distance computations of {', '.join(distances.uncounted)}."]


def _trail(goal: str, choice: Choice, compared: Compared, best: Candidate | None) -> tuple[Trial, ...]:
    verdicts = {point.key: found.verdict for point, found in compared}
    found: list[Trial] = []
    for number, point in enumerate(choice.order):
        seen = choice.race.outlooks.get(number) if choice.race else None
        found.append(
            Trial(
                key=point.key,
                clusters=seen.clusters if seen else 0,
                queries=seen.queries if seen else 0,
                mean=seen.mean if seen else None,
                low=seen.low if seen else None,
                high=seen.high if seen else None,
                chance=seen.chance if seen else None,
                cost=natural(goal, choice.prices.get(point.key, choice.first[point.key])),
                fate=_fate(number, choice, verdicts, best),
            )
        )
    return tuple(found)


def _fate(number: int, choice: Choice, verdicts: Mapping[str, Verdict], best: Candidate | None) -> str:
    point = choice.order[number]
    if point.key in verdicts:
        return "recommended" if point is best else f"confirm half: {verdicts[point.key].value}"
    if point in choice.finalists:
        return "finalist, after one that did not hold"
    if choice.race is None or number >= choice.affordable:
        return "costs as much as exact search, or more"
    if number in choice.race.lost:
        by = choice.race.lost[number]
        return "loses too much" if by == number else f"below {choice.order[by].key}, which loses too much"
    seen = choice.race.outlooks.get(number)
    if seen is not None and seen.share < LIKELY:
        return "unlikely to hold"
    return "costs more than a point that is likely to hold"
