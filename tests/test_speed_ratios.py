"""benchmarks/ratios.py: the table of how fast imgbench is beside the alternatives."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ratios = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "ratios.py"))


def test_the_scripts_can_be_collected_together() -> None:
    names = [path.name for path in (Path(__file__).parent.parent / "benchmarks").rglob("*.py")]
    assert len(names) > 10
    assert len(set(names)) == len(names)


def measured(group: str, side: str, median: float) -> dict[str, object]:
    return {"group": group, "params": {"side": side}, "stats": {"median": median}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """What pytest-benchmark saves, as far as the table needs it."""
    benchmarks = [
        measured("score", "imgbench", 0.004),
        measured("score", "ir_measures", 0.36),
        measured("search", "faiss", 0.5),
        measured("search", "imgbench", 1.25),
        {"group": "alone", "params": None, "stats": {"median": 1.0}},
        measured("nobody's", "a loop", 1.0),
    ]
    machine = {"python_version": "3.11.7", "cpu": {"brand_raw": "A processor", "count": 2}}
    said = {"benchmarks": benchmarks, "machine_info": machine, "datetime": "2026-11-20T22:00:00+00:00"}
    path = tmp_path / "speed.json"
    path.write_text(json.dumps(said))
    return path


def test_the_table_divides_their_median_by_ours(saved, capsys):
    ratios["main"](str(saved))
    said = capsys.readouterr().out
    assert "A processor, 2 cores, Python 3.11.7, 2026-11-20" in said
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in said.splitlines()[3:]]
    assert lines[0] == ["what", "imgbench", "instead", "takes", "times as fast"]
    assert set("".join(lines[1])) == {"-"}
    assert lines[2:] == [
        ["score", "4 ms", "ir_measures", "360 ms", "90"],
        ["search", "1.25 s", "faiss", "500 ms", "0.4"],
    ]
