"""A funnel as a value: its steps, as a table, a frame and plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imgbench.errors import unknown
from imgbench.run import Run
from imgbench.significance import Comparison

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Step:
    """One step: its run, each measure's mean over all judged queries, and the change from the step before.

    `delta` is empty and `overlap` None for the first step. `overlap` is the share of the hits of the step
    before that are still found, at the funnel's depth `overlap_at`.
    """

    name: str
    mean: dict[str, float]
    delta: dict[str, Comparison]
    overlap: float | None
    run: Run = field(repr=False)

    @property
    def kind(self) -> str:
        """The name without what is in brackets: fp32, stored precision, dimensions, transform, ..."""
        return self.name.partition(" (")[0]


@dataclass(frozen=True, eq=False)
class Funnel:
    """The steps of one operating point, in order, and the `total` change from the first to the last.

    The limits of all steps and of the total hold at once for each measure (those of all funnels, where
    several were judged together), with probability `confidence`. `total` is empty where there is one step.
    """

    steps: tuple[Step, ...]
    total: dict[str, Comparison]
    overlap_at: int
    confidence: float

    def __repr__(self) -> str:
        return f"Funnel({' -> '.join(step.name for step in self.steps)})"

    def __str__(self) -> str:
        return self.table()

    def table(self, measure: str | None = None) -> str:
        """A table as text for one measure, the first unless named. InputError for one that was not judged."""
        known = self.steps[0].mean
        measure = next(iter(known)) if measure is None else measure
        if measure not in known:
            raise unknown("a measure of this funnel", measure, known)
        rows = [
            (
                measure,
                "mean",
                "change",
                f"{self.confidence:.0%} limits",
                "verdict",
                f"overlap@{self.overlap_at}",
            )
        ]
        for step in self.steps:
            overlap = "" if step.overlap is None else f"{step.overlap:.3f}"
            rows.append((step.name, f"{step.mean[measure]:.4f}", *_cells(step.delta.get(measure)), overlap))
        if self.total:
            rows.append(("total", "", *_cells(self.total[measure]), ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
        )
        return "\n".join(line.rstrip() for line in lines)

    def frame(self) -> pd.DataFrame:
        """A row for each step and measure, and for the total: its mean, its change and the limits of that."""
        import pandas as pd

        rows = [
            {"step": step.name, "measure": name, "mean": mean, **_figures(step.delta.get(name))}
            | {f"overlap@{self.overlap_at}": step.overlap}
            for step in self.steps
            for name, mean in step.mean.items()
        ]
        rows += [{"step": "total", "measure": name, **_figures(each)} for name, each in self.total.items()]
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file; the first step has no `delta` and no overlap."""
        return {
            "confidence": self.confidence,
            "steps": [
                {
                    "step": step.name,
                    "mean": dict(step.mean),
                    "delta": {name: _plain(each) for name, each in step.delta.items()},
                    f"overlap@{self.overlap_at}": step.overlap,
                }
                for step in self.steps
            ],
            "total": {name: _plain(each) for name, each in self.total.items()},
        }


def _cells(change: Comparison | None) -> tuple[str, str, str]:
    if change is None:
        return "", "", ""
    return f"{change.mean:+.4f}", f"[{change.low:+.4f}, {change.high:+.4f}]", _verdict(change)


def _verdict(change: Comparison) -> str:
    return f"{change.verdict}{'' if change.changed else ', no query changed'}"


def _figures(change: Comparison | None) -> dict[str, Any]:
    if change is None:
        return {}
    return {"delta": change.mean, "low": change.low, "high": change.high, "verdict": str(change.verdict)}


def _plain(change: Comparison) -> dict[str, Any]:
    return {
        "mean": change.mean,
        "low": change.low,
        "high": change.high,
        "verdict": str(change.verdict),
        "clusters_needed": change.clusters_needed,
        "changed": change.changed,
    }
