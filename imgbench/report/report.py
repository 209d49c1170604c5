"""The result of a benchmark: figures, per-query scores, runs and judgements, and the ways to read them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imgbench import stopwatch
from imgbench.errors import InputError
from imgbench.qrels import Qrels
from imgbench.report import curveplot, files, loadplots, lossplots, page, plots, verify
from imgbench.report import profile as timesheet
from imgbench.report import results as form
from imgbench.report.results import Results
from imgbench.report.table import WIDTH, table
from imgbench.run import Run

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What a benchmark found. In a notebook it shows itself as a table.

    `results` is what results.json holds (DESIGN 7), `per_query` has the columns encoder, point (its key),
    query, measure, value (float64), one row for each judged query; `runs` has a run for each (encoder, key).
    Raises InputError for results of another form, and for points without a run.
    """

    results: Results
    per_query: pd.DataFrame
    runs: Mapping[tuple[str, str], Run]
    qrels: Qrels

    def __post_init__(self) -> None:
        object.__setattr__(self, "results", form.checked(self.results))
        points = self.results["points"]
        names = {(point["encoder"], name) for point in points for name in form.run_files(point)}
        if lacking := names - set(self.runs):
            came = f"The point {min(lacking)} has no run."
            raise InputError(came, "Each point comes with its run.", "Pass runs[encoder, key].")
        if missing := [name for name in files.COLUMNS if name not in self.per_query.columns]:
            came = f"per_query lacks the columns {', '.join(missing)}."
            raise InputError(came, f"Wanted {', '.join(files.COLUMNS)}.", "Name the columns so.")

    def table(
        self,
        format: Literal["text", "markdown", "html"] = "text",  # noqa: A002
        *,
        width: int = WIDTH,
        details: bool = False,
    ) -> str:
        """The headline, one row a point, and the notes; `width` is the terminal's, in characters.

        `details` adds the tables behind the verdicts: strata, builds, steps, lost overlap; HTML has them.
        """
        return table(self.results, format, width=width, details=details)

    def profile(self, format: Literal["text", "markdown", "html"] = "text", *, width: int = WIDTH) -> str:  # noqa: A002
        """Where the time went: seconds and rate of each stage, waiting for input, and the part of FAISS.

        Of a saved report it covers the saving too. The figures are `results["profile"]`.
        """
        return timesheet.profile(self.results.get("profile") or {}, format, width=width)

    def pareto(self, measure: str | None = None, cost: str = "qps") -> Figure:
        """A matplotlib figure of a measure (the first, unless told) against a cost.

        Costs: 'qps' (queries per second), 'p50' and 'p95' (ms), 'bytes' (a image), 'distances' (a query).
        """
        return plots.pareto(self.results, measure or form.primary(self.results), cost)

    def overlap_quality(self, measure: str | None = None, *, encoder: str | None = None) -> Figure:
        """A matplotlib figure of lost overlap against lost quality, query by query and point by point."""
        return lossplots.overlap_quality(self.results, measure, encoder)

    def funnel(
        self, key: str | None = None, measure: str | None = None, *, encoder: str | None = None
    ) -> Figure:
        """A matplotlib figure of where a point (the one that loses most) loses it, step by step."""
        return lossplots.funnel(self.results, key, measure, encoder)

    def curve(self, measure: str | None = None) -> Figure:
        """A matplotlib figure of exact search in smaller and in larger corpora."""
        return curveplot.curve(self.results, measure)

    def concurrency(self, *, encoder: str | None = None) -> Figure:
        """A matplotlib figure of clients at once: queries per second against p95 in ms, a line a point."""
        return loadplots.concurrency(self.results, encoder)

    def batches(self, *, encoder: str | None = None) -> Figure:
        """A matplotlib figure of queries per second against the size of a batch, a line a point."""
        return loadplots.batches(self.results, encoder)

    def strata(self) -> pd.DataFrame:
        """A row for each measure, stratum and point: its difference from exact search, limits and verdict."""
        import pandas as pd

        parts: list[Results] = self.results.get("strata") or []
        rows = [
            {name: value for name, value in part.items() if name != "points"} | point
            for part in parts
            for point in part["points"]
        ]
        return pd.DataFrame(rows)

    def verify(self) -> list[str]:
        """Score the runs again by ir-measures' own providers: one sentence for each figure that differs.

        An empty list says that every mean, per-query score, difference and overlap holds to 1e-9 and that
        each verdict follows from its interval and margin.
        """
        return verify.differences(self.results, self.per_query, self.runs, self.qrels)

    def save(self, out: str | Path) -> Path:
        """The folder with results.json, per_query.parquet, runs/, qrels.trec, index.html and pareto.svg.

        Every file is complete before it gets its name. Runs of an earlier report in that folder are removed.
        Raises InputError where nothing can be written.
        """
        folder = Path(out)
        old = files.stale(folder, self.results)
        with stopwatch.stage("save"):
            with stopwatch.stage("draw"):
                pages = self._pages()
            data = files.data(self.results, self.per_query, self.runs, self.qrels)
            # Last, so that its profile says what the other files took.
            results = {form.FILE: lambda path: form.write(self.results | _watched(), path)}
            files.write(folder, pages | data | results)
        for path in old:
            path.unlink(missing_ok=True)
        return folder

    def save_pages(self, out: str | Path) -> Path:
        """Only index.html and pareto.svg, written again from the results."""
        folder = Path(out)
        files.write(folder, self._pages())
        return folder

    @classmethod
    def load(cls, out: str | Path) -> Report:
        """A saved report. Its runs are read from the folder when they are asked for.

        Raises InputError for a folder without results.json, another schema, missing keys, broken files and
        names that lead out of the folder.
        """
        folder = Path(out)
        results = form.read(folder)
        runs = files.RunFiles(folder, results)
        return cls(results, files.read_frame(folder), runs, files.read_qrels(folder))

    def __repr__(self) -> str:
        return self.table("text")

    def _repr_html_(self) -> str:
        return self.table("html")

    def _repr_markdown_(self) -> str:
        return self.table("markdown")

    def _pages(self) -> files.Pieces:
        svgs = {title: svg for title, draw in self._pictures().items() if (svg := _drawn(draw))}
        pieces: files.Pieces = {files.PAGE: files.text(page.page(self.results, svgs))}
        main = next(iter(svgs), "")
        return {files.PLOT: files.text(svgs[main])} | pieces if main == page.MAIN else pieces

    def _pictures(self) -> dict[str, Callable[[], Figure]]:
        return {
            page.MAIN: self.pareto,
            "Where the loss arises": self.funnel,
            "Overlap against quality": self.overlap_quality,
            "Corpus size": self.curve,
            "Clients at once": self.concurrency,
            "Size of a batch": self.batches,
        }


def _watched() -> Results:
    """The profile of a run that goes on, such as that of the command line."""
    found = stopwatch.so_far()
    return {"profile": found} if found else {}


def _drawn(draw: Callable[[], Figure]) -> str:
    with contextlib.suppress(InputError):  # what was not measured has no picture
        return plots.svg(draw())
    return ""
