"""Tuning: choose on one half of the queries with few searches, confirm on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgbench.corpus import Corpus
from imgbench.embeddings import CACHE
from imgbench.encoders.base import Encoder
from imgbench.errors import InputError, unknown
from imgbench.grids import default_grid
from imgbench.index import Index
from imgbench.points import Protocol
from imgbench.progress import telling
from imgbench.significance.margin import Margin
from imgbench.subject import Judgements, Subject, Vectors
from imgbench.tuning.candidates import ladders, parse
from imgbench.tuning.goals import GOALS
from imgbench.tuning.halves import split
from imgbench.tuning.provable import check_provable, provable
from imgbench.tuning.result import Tuning
from imgbench.tuning.trail import result
from imgbench.tuning.work import Task, Work

if TYPE_CHECKING:
    from ir_measures import Measure


def tune(
    corpus: Corpus | str | Path | Judgements,
    encoder: Encoder | str | Vectors = "scenes",
    *,
    indexes: str | Sequence[str] | None = None,
    goal: str = "latency",
    measure: str | Measure = "nDCG@10",
    margin: float | str | Margin = 0.005,
    confidence: float = 0.95,
    k: int | None = None,
    seed: int = 0,
    protocol: Protocol | None = None,
    cache: str | Path = CACHE,
    progress: bool = False,
) -> Tuning:
    """The cheapest operating point that is proven to lose less than `margin` of `measure`.

    `corpus` and `encoder` as in `imgbench.benchmark`, one vector space; `indexes` are specifications with
    grids (default: about sixty points, see `imgbench.grids`). `goal`: latency (median of single queries on
    one thread), throughput (batches on all threads), bytes of the index, or distances, the
    machine-independent count of comparisons. `margin` is in units of the measure, or "1%" of what exact
    search scores on the tune half.

    The queries are split by cluster (image) into two halves. On the first a race picks up to three finalists
    with few searches. On the second, which nobody has looked at, they are compared with exact search, the
    safest first, until one does not hold: the last that held is the recommendation. Tests in an order that
    was fixed before need no correction (Maurer, Hothorn and Lehmacher 1995), and choosing on other queries
    than those that prove leaves no bias. The limits are made for recommending a point whose true loss is the
    margin or more with a probability of (1 - confidence) / 2; benchmarks/calibration says what simulation
    shows. "True" is over more such queries, for this build of the index and this margin in units.

    InputError: several encoders or measures, fewer than 20 clusters, a margin below what the second half
    could prove even for a search that changes nothing, an unknown goal, fewer than two points, a point that
    came twice.

    >>> found = tune(
    ...     "scenes:150?queries=300", indexes=["IVF8,Flat?nprobe=1,2,4,8", "SQ8"], goal="distances",
    ...     margin=0.15, cache=getfixture("tmp_path"),
    ... )
    >>> found.best.key, found.comparison.verdict.value
    ('IVF8,Flat?nprobe=4', 'holds')
    """
    if goal not in GOALS:
        raise unknown("a goal of tuning", goal, GOALS)
    asked = Margin.parse(margin)
    encoder, measure = _alone(encoder, "encoder"), _alone(measure, "measure")
    subject = Subject.of(corpus, encoder, measures=[measure], cache=cache, progress=progress)
    judge, images, (dim,) = subject.judge, subject.about["images"], subject.dims
    specs = parse(default_grid(images, dim) if indexes is None else indexes)
    for spec in specs:
        Index.check(spec, dim=dim, images=images, seed=seed)
    halves = split(judge.clusters, seed)
    floor = provable(halves[1], confidence, seed)
    if not asked.relative:
        check_provable(asked.value, floor, halves[1], confidence, seed, name=str(asked))
    task = Task(
        judge=judge,
        specs=specs,
        ladders=tuple(map(tuple, ladders(specs))),
        goal=goal,
        margin=asked,
        confidence=confidence,
        k=judge.depth(k, images),
        seed=seed,
        protocol=protocol or Protocol(),
        tune=halves[0],
        confirm=halves[1],
        floor=floor,
    )
    with telling(progress=progress) as say:
        (space,) = subject.spaces
        work = Work.begin(task, space.images, space.queries, say)
        choice = work.choose()
        # Only now, with everything decided, is the other half looked at.
        compared = work.confirm(choice)
    return result(work, choice, compared, [str(notice) for notice in space.notices if notice.count])


def _alone(given: Any, kind: str) -> Any:  # noqa: ANN401  an encoder, vectors or a measure
    """What came, out of a list of one; InputError for several, before anything is loaded.

    >>> _alone("scenes", "encoder"), _alone(["nDCG@10"], "measure")
    ('scenes', 'nDCG@10')
    """
    several = isinstance(given, Sequence) and not isinstance(given, str)
    count = len(given) if several or isinstance(given, Mapping) else 1
    if count > 1 or (several and not count):
        what = "vector space" if isinstance(given, Mapping) else kind
        raise InputError(
            f"{count or 'No'} {what}{'s' * (count > 1)} came.", "Tuning is about one.", "Pass one."
        )
    return given[0] if several else given
