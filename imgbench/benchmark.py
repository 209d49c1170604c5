"""The whole experiment: embed, build, search, judge, time, report. The only file that knows every stage."""

from __future__ import annotations

import itertools
import math
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from imgbench import environment, extras, significance, stopwatch
from imgbench import strata as parts
from imgbench.corpus import Corpus
from imgbench.embeddings import CACHE
from imgbench.encoders.base import Encoder
from imgbench.errors import InputError
from imgbench.evaluator import DEFAULT_MEASURES, Evaluator
from imgbench.extras import Extras
from imgbench.grids import default_indexes
from imgbench.index import Index, IndexSpec, compile_options
from imgbench.loads import Loads
from imgbench.outcome import Outcome
from imgbench.points import Points, Protocol, measure
from imgbench.progress import Say, telling
from imgbench.report import Report
from imgbench.significance import Detectable, Margin
from imgbench.spaces import Space
from imgbench.strata import Strata
from imgbench.subject import Judgements, Subject, Vectors

if TYPE_CHECKING:
    from ir_measures import Measure

BASELINE = "Flat"
MARGIN = 0.005
CONFIDENCE = 0.95
SCHEMA = 1
_MOST_BUILDS = 100

Labels: TypeAlias = Mapping[str, Mapping[str, str]]
"""The name of a way to part the queries, and in it the label of each query id."""


@stopwatch.running()
def benchmark(
    corpus: Corpus | str | Path | Judgements,
    encoders: Encoder | str | Sequence[Encoder | str] | Vectors = "scenes",
    *,
    indexes: str | Sequence[str] | None = None,
    measures: Sequence[str | Measure] = DEFAULT_MEASURES,
    margin: float | str | Margin | Mapping[str, Any] = MARGIN,
    k: int | None = None,
    confidence: float = CONFIDENCE,
    builds: int = 1,
    strata: Labels | str | Path | None = None,
    funnel: bool = False,
    curve: bool = False,
    clients: Sequence[int] = (),
    batches: Sequence[int | str] = (),
    client_threads: int = 1,
    seed: int = 0,
    protocol: Protocol | None = None,
    cache: str | Path = CACHE,
    progress: bool = False,
) -> Report:
    """Retrieval quality beside speed, build time and size, for exact search and every operating point.

    `corpus` is a Corpus or what Corpus.load takes; `encoders` one encoder or several. Vectors that exist
    already come as {"name": (images, queries)}, and judgements alone (Qrels, or a dict of dicts) are corpus
    enough for them. Embeddings and indexes are kept in the folder `cache` (None keeps nothing), so that a
    second run encodes and builds nothing anew; every search is timed again.

    `indexes` are specifications such as "IVF256,Flat?nprobe=1,4,16"; exact search ("Flat") is always there
    and is what the others are compared with. `margin` is the loss that would be acceptable, in units of the
    measure or, as "1%", relative to exact search: one for all or one for each. `k` is the depth of every
    search (default: the largest cutoff among the measures, and at least 100 if one of them has none); fewer
    than a measure looks at is an InputError. With `builds` of 2 or more every approximate index is built that
    often, with other seeds and other orders of insertion, and the intervals cover a new build too. Losses are
    also reported by the length of the query and the size of its cluster, and by `strata`: names of your own,
    each with a label for query ids, or a CSV file of them. `funnel` splits the loss of each point into
    steps (float32, stored precision, transform, quantiser, search), which takes an exhaustive search for each
    step, and float32 embeddings. `curve` adds what exact search would score in smaller corpora, in closed
    form, and in larger ones, by a model that says how wrong it is; it takes one more exact search.
    `clients`, such as (1, 2, 4), adds queries per second and latency of every point with so many clients at
    once, each on `client_threads` threads; `batches`, such as (1, 32, 512, "all"), adds queries per second by
    the size of a batch. Both take about half a second for each number and point.

    Names, grids and sizes are checked before the first image is read: InputError for unknown encoders,
    indexes, measures and search parameters, and for more lists or hits than images; a margin beyond the score
    is refused after exact search.

    >>> report = benchmark(
    ...     "scenes:200?queries=60", indexes=["IVF4,Flat?nprobe=1,4"], cache=getfixture("tmp_path"),
    ...     protocol=Protocol(latency_calls=20, throughput_repeats=1),
    ... )
    >>> [point["key"] for point in report.results["points"]]
    ['Flat', 'IVF4,Flat?nprobe=1', 'IVF4,Flat?nprobe=4']
    """
    loads = Loads(clients=clients, batches=batches, client_threads=client_threads)
    with stopwatch.stage("read the corpus"):
        subject = Subject.of(
            corpus, encoders, measures=measures, cache=cache, progress=progress, whole=funnel, parity=True
        )
    ways, told = _strata(subject, strata)
    task = _Task(
        subject.judge,
        subject.about | {"notices": subject.about["notices"] + told},
        _specs(indexes, subject.about["images"], subject.dims),
        subject.judge.margins(margin),
        subject.judge.depth(k, subject.about["images"]),
        confidence,
        _builds(builds),
        ways,
        funnel,
        curve,
        loads,
        seed,
        protocol or Protocol(),
        cache,
        _command(),
    )
    with stopwatch.stage("check the plan"):
        task.check(subject.dims)
        plan = task.detectable(len(subject.dims))
    if progress:
        print(plan, file=sys.stderr)  # noqa: T201  before hours of work
    with telling(progress=progress) as say:
        return task.report([task.measured(space, say) for space in subject.spaces], plan)


@dataclass(frozen=True)
class _Measured:
    """What one space gave: its points, and what was measured beside them."""

    space: Space
    points: Points
    beside: tuple[Extras, ...]


@dataclass(frozen=True)
class _Task:
    """What is measured and how, complete before any work."""

    judge: Evaluator
    corpus: dict[str, Any]
    specs: tuple[IndexSpec, ...]
    margins: dict[str, Margin]
    k: int
    confidence: float
    builds: int
    strata: tuple[Strata, ...]
    funnel: bool
    curve: bool
    loads: Loads
    seed: int
    protocol: Protocol
    cache: str | Path | None
    command: str

    def check(self, dims: Iterable[int]) -> None:
        """InputError for an index, a parameter or a confidence that cannot work, and for too few clusters."""
        for spec, dim in itertools.product(self.specs, dims):
            Index.check(spec, dim=dim, images=self.corpus["images"], seed=self.seed)
        nothing = np.zeros((1, len(self.judge.query_ids)))
        significance.paired(nothing, self.judge.clusters, margin=0.0, confidence=self.confidence)

    def detectable(self, spaces: int) -> Detectable:
        """What this corpus can prove about so many points, before anything is searched."""
        points = spaces * (sum(len(spec.grid) for spec in self.specs) - 1)
        return significance.detectable(
            self.judge.clusters, points=max(points, 1), confidence=self.confidence, seed=self.seed
        )

    def measured(self, space: Space, say: Say) -> _Measured:
        """The operating points of one space, and the steps that lead to them."""
        name = space.about["name"]

        def tell(what: str) -> None:
            say(f"{name}: {what}")

        # Unreadable images have no vector: a small index may hold fewer images than the corpus.
        k = min(self.k, len(space.images))
        points = measure(
            self.specs, space.images, space.queries, k=k, seed=self.seed, builds=self.builds,
            protocol=self.protocol, say=tell,
            # A margin that no loss could reach is refused now, and not after all the work.
            exact=lambda run: self.judge.absolute(self.margins, self.judge.matrix(run)),
            cache=self.cache,
        )  # fmt: skip
        beside: list[Extras] = []
        if self.funnel:
            with stopwatch.stage("funnels"):
                beside.append(extras.funnels(space, points, k, tell))
        if self.curve:
            with stopwatch.stage("corpus sizes"):
                beside.append(
                    extras.curve(space, self.judge, confidence=self.confidence, seed=self.seed, say=tell)
                )
        if self.loads:
            with stopwatch.stage("loads"):
                beside.append(
                    extras.loads(space, points, self.loads, self.protocol, k, seed=self.seed, say=tell)
                )
        return _Measured(space, points, tuple(beside))

    def report(self, measured: Sequence[_Measured], plan: Detectable) -> Report:
        """Everything that was measured, judged."""
        with stopwatch.stage("statistics"):
            results, outcome = self._results(measured, plan)
            per_query, runs = outcome.per_query(), outcome.runs()
        results["profile"] = stopwatch.so_far()
        return Report(results, per_query, runs, self.judge.qrels)

    def _results(self, measured: Sequence[_Measured], plan: Detectable) -> tuple[dict[str, Any], Outcome]:
        """results.json, without the profile, and what it was computed by."""
        spaces = {each.space.about["name"]: each.points for each in measured}
        beside = [(each.space.about["name"], extra) for each in measured for extra in each.beside]
        steps = {name: extra.steps for name, extra in beside if extra.steps}
        loads = {name: extra.loads for name, extra in beside if extra.loads}
        outcome = Outcome(
            self.judge, spaces, self.margins, self.confidence, self.seed, self.strata, steps, loads
        )
        found = [str(notice) for each in measured for notice in each.space.notices if notice.count]
        found += dict.fromkeys([*outcome.notes(), *(note for _, extra in beside for note in extra.notes)])
        provable = {"floor": plan.floor, "typical": plan.typical, "told": str(plan)}
        results = {
            "schema": SCHEMA,
            "corpus": self.corpus | {"notices": self.corpus["notices"] + found, "detectable": provable},
            "encoders": [each.space.about for each in measured],
            "baseline": BASELINE,
            "margin": outcome.margin(),
            "margin_given": {measure: str(margin) for measure, margin in self.margins.items()},
            "confidence": self.confidence,
            "points": outcome.points(),
            "encoder_differences": outcome.encoder_differences(),
            "strata": outcome.parts(),
            "distractor_curves": {name: extra.curve for name, extra in beside if extra.curve},
            "environment": self._environment(min(points.build_threads for points in spaces.values())),
            "baseline_drift": {name: points.drift for name, points in spaces.items()},
        }
        return results, outcome

    def _environment(self, build: int) -> dict[str, Any]:
        threads = {"latency": 1, "throughput": self.protocol.threads, "build": build}  # build as read back
        threads |= {"client": self.loads.client_threads} if self.loads.clients else {}
        return {
            **environment.describe(),
            "faiss_compile_options": compile_options(),
            "threads": threads,
            "seed": self.seed,
            "command": self.command,
        }


def _builds(builds: int) -> int:
    if not isinstance(builds, int) or isinstance(builds, bool) or not 1 <= builds <= _MOST_BUILDS:  # pyright: ignore[reportUnnecessaryIsInstance]
        came = f"builds is {builds!r}."
        raise InputError(came, f"It is a whole number from 1 to {_MOST_BUILDS}.", "Pass builds=5.")
    return builds


def _strata(subject: Subject, given: Labels | str | Path | None) -> tuple[tuple[Strata, ...], list[str]]:
    """The ways to part the queries that tell them apart at all, and what is to be said of their labels."""
    judge = subject.judge
    labels = parts.read(given) if isinstance(given, str | Path) else given or {}
    found = [parts.by_length(subject.texts)] if subject.texts else []
    found.append(parts.by_cluster_size(judge.clusters))
    found = [each for each in found if len(each.labels) > 1]
    told: list[str] = []
    for name, each in labels.items():
        found.append(parts.labelled(name, each, judge.query_ids))
        told += parts.unlabelled(found[-1], each, judge.query_ids)
    return tuple(found), told


def _specs(indexes: str | Sequence[str] | None, images: int, dims: Sequence[int]) -> tuple[IndexSpec, ...]:
    """The grids, exact search first, each operating point once."""
    asked = default_indexes(images, math.gcd(*dims)) if indexes is None else indexes
    asked = [asked] if isinstance(asked, str) else asked
    parsed = [IndexSpec.parse(text) for text in asked]
    specs = [IndexSpec.parse(BASELINE), *(spec for spec in parsed if spec.text != BASELINE)]
    keys = [spec.key(params) for spec in specs for params in spec.grid]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise InputError(
            f"The point {twice[0]!r} came twice.", "Each is measured once.", "Remove one of them."
        )
    return tuple(specs)


def _command() -> str:
    """The command line that is running, or the name of the function where there is none."""
    program = Path(sys.argv[0]) if sys.argv else Path()
    ours = program.stem == "imgbench" or program.parts[-2:] == ("cli", "__main__.py")
    return shlex.join(["imgbench", *sys.argv[1:]]) if ours else "imgbench.benchmark(...)"
