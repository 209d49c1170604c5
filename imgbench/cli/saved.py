"""Commands on a saved report: `verify`, `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imgbench.cli.inputs import OUT
from imgbench.cli.program import FAILED, say, show, width

Out = Annotated[Path, typer.Argument(help="The folder that `imgbench run --out` wrote.", show_default=False)]


def verify(out: Out = OUT) -> None:
    """Score the saved runs again, with ir-measures' own providers, and say whether results.json agrees."""
    from imgbench.report import Report

    report = Report.load(out)
    if found := report.verify():
        for sentence in found:
            say(sentence)
        raise typer.Exit(FAILED)
    points = len(report.results["points"])
    show(
        f"{out / 'results.json'} agrees: {points} points scored again give the same scores, differences, "
        "overlaps and verdicts to 1e-9. Not scored again: limits, strata, funnels, curves and times."
    )


def report_again(
    out: Out = OUT,
    details: Annotated[
        bool | None, typer.Option("--details", help="Print where the loss falls and arises as well.")
    ] = None,
) -> None:
    """Write index.html and pareto.svg again from the saved results, and print the table."""
    from imgbench.report import Report

    report = Report.load(out)
    report.save_pages(out)
    show(report.table("text", width=width(), details=bool(details)))
