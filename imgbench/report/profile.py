"""Where the time of a benchmark went, stage by stage, as a table in any form."""

from __future__ import annotations

from typing import Any

from imgbench.errors import InputError, unknown
from imgbench.report import readable
from imgbench.report.content import Content
from imgbench.report.grid import Column, Grid
from imgbench.report.results import Results
from imgbench.report.table import FORMS, WIDTH

_COLUMNS = (
    Column("stage", number=False),
    Column("seconds"),
    Column("share of the time", "share"),
    Column("items per second", "rate", number=False),
    Column("waiting for input", "waiting"),
    Column("searching, training, adding", "searching"),
)
_REST = "everything else"
_COUNTED = "Counted are FAISS's own calls and, in exact search, imgbench's own product where it is faster."


def profile(found: Results, form: str = "text", *, width: int = WIDTH) -> str:
    """The `profile` of results.json as 'text', 'markdown' or 'html'. InputError for {}, and unknown forms.

    >>> embed = {"stage": "embed images", "depth": 0, "seconds": 3.0, "unit": "images", "items": 600,
    ...          "waited": 0.3, "faiss_seconds": 0.0}
    >>> print(profile({"seconds": 4.0, "faiss_seconds": 0.8, "stages": [embed]}))
    Where the time went
    <BLANKLINE>
    4.00 s in all: 0.80 s (20%) searching, training and adding, 3.20 s (80%) outside of these.
    Counted are FAISS's own calls and, in exact search, imgbench's own product where it is faster.
    <BLANKLINE>
    stage            seconds  share  rate          waiting  searching
    ─────────────────────────────────────────────────────────────────
    embed images        3.00    75%  200 images/s      10%
    everything else     1.00    25%                               80%
    <BLANKLINE>
    """
    if form not in FORMS:
        raise unknown("a form of the profile", form, FORMS)
    if not found:
        raise InputError(
            "This report has no profile.",
            "An earlier version of imgbench saved it, which took none.",
            "Run the benchmark again.",
        )
    rows = tuple(_row(each, found["seconds"]) for each in [*found["stages"], _rest(found)])
    told = Content("Where the time went", (_sentence(found), _COUNTED), (Grid("", _COLUMNS, rows),), ())
    return FORMS[form](told, width).rstrip("\n") + "\n"


def _sentence(found: Results) -> str:
    whole, inside = found["seconds"], found["faiss_seconds"]
    outside = max(0.0, whole - inside)
    return (
        f"{whole:.2f} s in all: {inside:.2f} s ({_share(inside, whole)}) searching, training and "
        f"adding, {outside:.2f} s ({_share(outside, whole)}) outside of these."
    )


def _rest(found: Results) -> dict[str, Any]:
    """What no stage names."""
    named = [each for each in found["stages"] if each["depth"] == 0]
    return {
        "stage": _REST,
        "depth": 0,
        "seconds": max(0.0, found["seconds"] - sum(each["seconds"] for each in named)),
        "unit": "",
        "items": 0,
        "waited": 0.0,
        "faiss_seconds": max(0.0, found["faiss_seconds"] - sum(each["faiss_seconds"] for each in named)),
    }


def _row(stage: Results, whole: float) -> tuple[str, ...]:
    seconds = stage["seconds"]
    rate = stage["items"] / seconds if seconds > 0 else 0.0
    return (
        "· " * stage["depth"] + stage["stage"],
        f"{seconds:.2f}",
        _share(seconds, whole),
        f"{readable.short(rate)} {stage['unit']}/s" if rate else "",
        _share(stage["waited"], seconds) if stage["waited"] else "",
        _share(stage["faiss_seconds"], seconds) if stage["faiss_seconds"] else "",
    )


def _share(part: float, whole: float) -> str:
    return readable.percent(part / whole) if whole > 0 else ""
