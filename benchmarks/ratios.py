"""Prints how fast imgbench is beside what a user would otherwise run, from pytest-benchmark's JSON.

pytest benchmarks --benchmark-enable --benchmark-only --benchmark-json speed.json
python benchmarks/ratios.py speed.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OURS = "imgbench"
HEADINGS = ("what", "imgbench", "instead", "takes", "times as fast")


def rows(benchmarks: list[dict[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """A line for each alternative of each group: medians, and theirs divided by ours.

    >>> made = [{"group": "sort", "params": {"side": side}, "stats": {"median": seconds}}
    ...         for side, seconds in (("imgbench", 0.02), ("a loop", 0.5))]
    >>> rows(made)
    [('sort', '20 ms', 'a loop', '500 ms', '25')]
    """
    groups: dict[str, dict[str, float]] = {}
    for each in benchmarks:
        if "side" in (each["params"] or {}):
            groups.setdefault(each["group"], {})[each["params"]["side"]] = each["stats"]["median"]
    return [
        (group, duration(sides[OURS]), side, duration(seconds), ratio(seconds / sides[OURS]))
        for group, sides in groups.items()
        for side, seconds in sides.items()
        if side != OURS and OURS in sides
    ]


def ratio(times: float) -> str:
    """Two or three digits.

    >>> ratio(0.914), ratio(5.4), ratio(61.3)
    ('0.91', '5.4', '61')
    """
    return f"{times:.0f}" if times >= 10 else f"{times:.2g}"


def duration(seconds: float) -> str:
    """Two or three digits in a unit that suits them.

    >>> duration(0.00123), duration(0.0456), duration(1.234)
    ('1.23 ms', '45.6 ms', '1.23 s')
    """
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def markdown(table: list[tuple[str, ...]]) -> str:
    """The table in Markdown, its columns padded so that it reads well as plain text too."""
    lines = [HEADINGS, *table]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADINGS))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def main(path: str) -> None:
    measured = json.loads(Path(path).read_text(encoding="utf-8"))
    machine = measured["machine_info"]
    cpu = machine.get("cpu", {})
    print("Speed beside what one would otherwise run (medians; above 1, imgbench is faster)")
    print(f"{cpu.get('brand_raw', machine.get('machine'))}, {cpu.get('count', '?')} cores, "
          f"Python {machine['python_version']}, {measured['datetime'][:10]}\n")  # fmt: skip
    print(markdown(rows(measured["benchmarks"])))


if __name__ == "__main__":
    main(*sys.argv[1:])
