"""How often the limits and verdicts of imgbench.significance are wrong, in worlds whose true loss is known.

    python benchmarks/calibration/calibrate.py --worlds 500 --out benchmarks/calibration

writes table.csv, one line a cell of the grid, and prints the worst cells. `--quick` runs a tenth of the
worlds, `--only family` one study, `--jobs 2` two processes. The same seed gives the same table.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from studies import CHUNK, METHODS, STUDIES, Row
from worlds import LAYOUTS

COSTLY = "family", "needed", "power"
"""Studies whose worlds are judged one by one: half as many."""


def grid(study: str, **values: tuple[Any, ...]) -> list[Row]:
    return [
        {"study": study, **dict(zip(values, each, strict=True))}
        for each in itertools.product(*values.values())
    ]


def cells() -> list[Row]:
    """Every cell, the same in each run."""
    iccs, one_shape, shapes = (0.0, 0.3, 0.6), ("skewed",), ("whole", "skewed", "mixed")
    one = grid(
        "single",
        clusters=(100, 300, 1000),
        size=(1, 2, 5, 10, 0),
        icc=iccs,
        share=(0.001, 0.01, 0.05, 0.2),
        shape=shapes,
    )
    five: dict[str, Any] = {"size": (5,), "icc": (0.3,)}
    unseen = {"share": (0.005, 0.02, 0.1), "shape": ("two scales",)}
    ladder = {
        "shape": ("whole", "skewed", "mixed"),
        "share": (0.2,),
        "points": (8, 40),
        "nested": (True, False),
    }
    seeds = {"shape": one_shape, "share": (0.1,), "builds": (2, 3, 5, 10), "build_sd": (0.0, 0.5, 2.0)}
    small = {"shape": ("ranks", "flips"), "share": (0.02,), "points": (1, 8), "margin": (0.005, 0.01)}
    asked = {"share": (0.02, 0.05), "shape": ("ranks", "skewed"), "margin": (0.01,)}
    return [
        *(cell for cell in one if cell["size"] != 1 or cell["icc"] == 0),
        *grid("two scales", clusters=(300, 1000), size=(1, 5), icc=(0.0, 0.6), **unseen),
        *grid(
            "unseen",
            clusters=(100, 300, 1000),
            layout=tuple(LAYOUTS),
            lost=(0.001, 0.003, 0.01, 0.05),
            noise=(0.01, 0.1),
        ),
        *grid("family", clusters=(300, 1000), **five, **ladder),
        *grid("builds", clusters=(300,), **five, **seeds),
        *grid("relative", clusters=(100, 300, 1000), size=(1, 5), icc=(0.0, 0.6)),
        *grid("unchanged", clusters=(100, 200, 500, 1000, 2000, 5000, 10000), points=(1, 8, 40)),
        *grid("needed", clusters=(100, 300), size=(5,), icc=(0.1,), **asked),
        *grid("power", clusters=(1000,), size=(5,), icc=(0.0, 0.1, 0.3, 0.6), **small),
    ]


def run(task: tuple[int, Row, int, int]) -> Row:
    at, cell, worlds, seed = task
    found = STUDIES[cell["study"]](cell, worlds, np.random.default_rng([seed, at]))
    digits = {name: float(f"{value:.4g}") for name, value in found.items()}
    return {**cell, "worlds": worlds, **digits}


def written(path: Path, rows: list[Row]) -> None:
    """A table with every column that any row has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def worst(rows: list[Row]) -> Iterator[str]:
    """For each study and method the cell with the most false `holds` and the one with the least coverage."""
    for study in dict.fromkeys(row["study"] for row in rows):
        of_study = [row for row in rows if row["study"] == study]
        yield f"{study}: {len(of_study)} cells"
        for name in (*METHODS, "queries_only"):
            for column, extreme in (("false_holds", max), ("false_degrades", max), ("coverage", min)):
                with_it = [row for row in of_study if f"{name} {column}" in row]
                if with_it:
                    row = extreme(with_it, key=lambda row: row[f"{name} {column}"])
                    where = ", ".join(f"{key} {row[key]}" for key in WHERE if key in row)
                    yield f"  {name} {column} {extreme.__name__} {row[f'{name} {column}']:.3f} ({where})"


WHERE = (
    "clusters",
    "size",
    "icc",
    "share",
    "shape",
    "layout",
    "lost",
    "noise",
    "points",
    "nested",
    "builds",
    "build_sd",
    "worlds",
)


def main() -> None:
    options = _options()
    worlds = max(options.worlds // 10, CHUNK) if options.quick else options.worlds
    tasks = [(at, cell, worlds // 2 if cell["study"] in COSTLY else worlds, options.seed)
             for at, cell in enumerate(cells()) if options.only in ("", cell["study"])]  # fmt: skip
    start, rows = time.perf_counter(), []
    options.out.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for row in pool.imap(run, tasks):
            rows.append(row)
            written(options.out / "table.csv", rows)  # what is finished is kept
    print(*worst(rows), f"{time.perf_counter() - start:.0f} s", sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--worlds", type=int, default=500, help="simulated corpora a cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a tenth of the worlds")
    parser.add_argument("--only", default="", choices=("", *STUDIES), help="one study")
    parser.add_argument("--out", type=Path, default=Path("calibration"), help="folder of table.csv")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
