"""What tuning found: the recommended point, the proof, its price, and how it was found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgbench.complete import replacing
from imgbench.index import Index
from imgbench.index.spec import Number
from imgbench.significance import Comparison
from imgbench.tuning import summary

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1


@dataclass(frozen=True)
class Best:
    """The recommended point: its key, what the index is built from, the parameters of a search."""

    key: str
    index: str
    params: dict[str, Number]


@dataclass(frozen=True)
class Finalist:
    """A point that was searched on the confirm half, its comparison there, its cost in the goal's unit."""

    key: str
    comparison: Comparison
    cost: float


@dataclass(frozen=True)
class Trial:
    """What the tune half said of one candidate.

    `queries` it was searched with, its mean difference to exact search and rough limits (not corrected for
    anything, None where it was never searched), the predicted `chance` to hold on the other half, a first
    `cost`, and its `fate` in words.
    """

    key: str
    clusters: int
    queries: int
    mean: float | None
    low: float | None
    high: float | None
    chance: float | None
    cost: float
    fate: str


@dataclass(frozen=True)
class Distances:
    """Distance computations, a query's mean times the queries searched.

    `exact`: exact search on both halves. `race`, `confirm`: candidates on the tune half and finalists on the
    confirm half. `cost`: searches that were timed or counted. `full_grid`: exact search and every candidate
    once over all queries and, for latency and throughput, timed by the same protocol. `uncounted`: points
    that FAISS does not count and that are missing from all sums.
    """

    exact: float
    race: float
    cost: float
    confirm: float
    full_grid: float
    uncounted: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """All searches of this tuning."""
        return self.exact + self.race + self.cost + self.confirm

    @property
    def share(self) -> float:
        """The total as a share of the full grid's."""
        return self.total / self.full_grid


@dataclass(frozen=True, eq=False)
class Tuning:
    """The cheapest point that holds, or None, with everything that led there.

    `comparison` is that of `best` on the confirm half, which nobody had looked at; without a `best` that of
    the point that came closest (None if no candidate costs less than exact search). `cost` and `exact_cost`
    are in `unit`; `gain` is how many times cheaper `best` is. `finalists` were compared in that order, the
    safest first, until one failed. `floor`: the smallest margin that the confirm half could have proven.
    `searched_queries`: all searches, exact, timed and counted ones included. `index`: the best point's index.
    """

    goal: str
    unit: str
    measure: str
    margin: float
    margin_asked: str
    confidence: float
    seed: int
    k: int
    best: Best | None
    comparison: Comparison | None
    cost: float | None
    exact_cost: float
    gain: float | None
    finalists: tuple[Finalist, ...]
    trail: tuple[Trial, ...]
    distances: Distances
    searched_queries: int
    tune_clusters: int
    tune_queries: int
    confirm_clusters: int
    confirm_queries: int
    floor: float
    rounds: int
    notes: tuple[str, ...] = ()
    index: Index | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the index, as JSON can hold it."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "index"}
        return {"schema": SCHEMA} | {name: _plain(value) for name, value in plain.items()}

    def frame(self) -> pd.DataFrame:
        """The trail: a row for each candidate, the cheapest first."""
        import pandas as pd

        return pd.DataFrame([asdict(trial) for trial in self.trail])

    def save(self, path: str | Path) -> None:
        """Write `to_dict()` as JSON, complete or not at all."""
        with replacing(Path(path)) as part:
            part.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        """The answer in a sentence or two, and a small table of what was compared."""
        return summary.text(self)


def _plain(value: Any) -> Any:  # noqa: ANN401  whatever a field holds
    if hasattr(value, "__dataclass_fields__"):
        extra = {"total": value.total, "share": value.share} if isinstance(value, Distances) else {}
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__} | extra
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return str(value) if isinstance(value, str) else value
