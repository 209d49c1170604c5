"""What the tests with real photographs share: reading the ready vectors, reading a report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import imgbench as ib

MEASURES = ["Success@1", "Success@5", "Success@10"]


def ready(data: Path, array: str) -> tuple[list[dict], np.ndarray]:
    """The lines of rows.jsonl about an array of ready vectors, and the array (float16)."""
    folder = data / "vectors" / "bow-dual-256"
    lines = map(json.loads, (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["array"] == array], np.load(folder / f"{array}.npy")


def point(report: ib.Report, key: str) -> dict:
    """The operating point of results.json with this key."""
    return next(point for point in report.results["points"] if point["key"] == key)


def means(report: ib.Report, key: str = "Flat") -> list[float]:
    """Its mean of each measure."""
    return [value["mean"] for value in point(report, key)["quality"].values()]


def note(**figures: float | list[float] | dict[str, float]) -> None:
    """Figures for the record: `pytest -s` shows them."""
    print(json.dumps(figures))  # noqa: T201
