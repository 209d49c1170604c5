"""Prints how fast imgbench is beside what a user would otherwise run, from pytest-benchmark's JSON.

pytest benchmarks --benchmark-enable --benchmark-only --benchmark-json speed.json
python benchmarks/ratios.py speed.json
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS = "imgbench"
HEADINGS = ("what", "who", "median", "IQR", "rate", "threads", "times as fast", "wanted")
RIGHT = frozenset(HEADINGS[2:])  # columns of numbers


@dataclass(frozen=True)
class Side:
    """One way to do the work of a group: the median and the interquartile range of its rounds, in seconds.

    `items` of `unit` done in one round make a rate. `wanted`: how many times as fast imgbench should be.
    """

    name: str
    median: float
    iqr: float
    rounds: int
    items: int | None = None
    unit: str = ""
    threads: int | None = None
    wanted: float | None = None

    @classmethod
    def read(cls, measured: dict[str, Any]) -> Side:
        """What pytest-benchmark saved, with what `speed_inputs.timed` added."""
        stats, said = measured["stats"], measured.get("extra_info", {})
        told = {name: said[name] for name in ("items", "unit", "threads", "wanted") if name in said}
        return cls(measured["params"]["side"], stats["median"], stats["iqr"], stats["rounds"], **told)

    def cells(self, ours: Side) -> tuple[str, ...]:
        """From the column `who` on; beside an alternative stands how many times as fast imgbench is."""
        rate = f"{figure(self.items / self.median)} {self.unit}/s" if self.items else ""
        threads = "" if self.threads is None else str(self.threads)
        alone = self is ours
        times = "" if alone else ratio(self.median / ours.median)
        wanted = "" if alone or self.wanted is None else f"{self.wanted:g}"
        return self.name, duration(self.median), duration(self.iqr), rate, threads, times, wanted


def groups(benchmarks: list[dict[str, Any]]) -> dict[str, list[Side]]:
    """The sides of each group, imgbench first. Groups in which imgbench has no part are left out."""
    found: dict[str, list[Side]] = {}
    for each in benchmarks:
        if "side" in (each["params"] or {}):
            found.setdefault(each["group"], []).append(Side.read(each))
    ours = {group for group, sides in found.items() if any(side.name == OURS for side in sides)}
    return {
        group: sorted(sides, key=lambda side: side.name != OURS)
        for group, sides in found.items()
        if group in ours
    }


def rows(found: dict[str, list[Side]]) -> list[tuple[str, ...]]:
    """A line for each side.

    >>> ours = Side("imgbench", 0.02, 0.001, 9, items=50, unit="cards")
    >>> found = rows({"sort": [ours, Side("a loop", 0.5, 0.01, 3, wanted=4)]})
    >>> found[0]
    ('sort', 'imgbench', '20.0 ms', '1.00 ms', '2,500 cards/s', '', '', '')
    >>> found[1]
    ('', 'a loop', '500 ms', '10.0 ms', '', '', '25', '4')
    """
    return [
        ("" if number else group, *side.cells(sides[0]))
        for group, sides in found.items()
        for number, side in enumerate(sides)
    ]


def ratio(times: float) -> str:
    """Two or three digits.

    >>> ratio(0.914), ratio(5.4), ratio(61.3)
    ('0.91', '5.4', '61')
    """
    return f"{times:.0f}" if times >= 9.95 else f"{times:.1f}" if times >= 0.995 else f"{times:.2f}"


def figure(value: float) -> str:
    """Three digits, thousands parted.

    >>> figure(0.12345), figure(61.26), figure(12345.6)
    ('0.123', '61.3', '12,300')
    """
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 999.5 else f"{value:#.3g}".removesuffix(".")


def duration(seconds: float) -> str:
    """Three digits in a unit that suits them.

    >>> duration(0.00123), duration(0.0456), duration(1.234), duration(0.0000314)
    ('1.23 ms', '45.6 ms', '1.23 s', '31.4 µs')
    """
    value, unit = (seconds, "s") if seconds >= 1 else (1e3 * seconds, "ms")
    return f"{figure(value)} {unit}" if value >= 0.1 or not value else f"{figure(1e6 * seconds)} µs"


def markdown(headings: tuple[str, ...], table: list[tuple[str, ...]], right: frozenset[str] = RIGHT) -> str:
    """The table in Markdown, its columns padded so that it reads well as plain text too."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (headings, *table)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    aligned = [name in right for name in headings]
    padded = [
        [
            cell.rjust(width) if end else cell.ljust(width)
            for cell, width, end in zip(line, widths, aligned, strict=True)
        ]
        for line in cells
    ]
    padded.insert(1, ["-" * (width - end) + ":" * end for width, end in zip(widths, aligned, strict=True)])
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def main(path: str) -> None:
    measured = json.loads(Path(path).read_text(encoding="utf-8"))
    machine = measured["machine_info"]
    cpu = machine.get("cpu", {})
    print("Speed beside what one would otherwise run (above 1, imgbench is faster)")
    print(f"{cpu.get('brand_raw', machine.get('machine'))}, {cpu.get('count', '?')} cores, "
          f"Python {machine['python_version']}, {measured['datetime'][:10]}\n")  # fmt: skip
    print(markdown(HEADINGS, rows(groups(measured["benchmarks"]))))


if __name__ == "__main__":
    main(*sys.argv[1:])
