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


def measured(group: str, side: str, median: float, **extra: object) -> dict[str, object]:
    stats = {"median": median, "iqr": median / 20, "rounds": 3}
    return {"group": group, "params": {"side": side}, "stats": stats, "extra_info": extra}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """What pytest-benchmark saves, as far as the table needs it."""
    benchmarks = [
        measured("score", "imgbench", 0.004, items=1000, unit="queries", threads=1),
        measured("score", "ir_measures", 0.36, items=1000, unit="queries", threads=1, wanted=50),
        measured("score", "another", 0.006),
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
    assert lines[0] == ["what", "who", "median", "IQR", "rate", "threads", "times as fast", "wanted"]
    assert set("".join(lines[1])) == {"-", ":"}
    assert lines[2:] == [
        ["score", "imgbench", "4.00 ms", "0.200 ms", "250,000 queries/s", "1", "", ""],
        ["", "ir_measures", "360 ms", "18.0 ms", "2,780 queries/s", "1", "90", "50"],
        ["", "another", "6.00 ms", "0.300 ms", "", "", "1.5", ""],
        ["search", "imgbench", "1.25 s", "62.5 ms", "", "", "", ""],
        ["", "faiss", "500 ms", "25.0 ms", "", "", "0.40", ""],
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0.00"),
        (0.01234, "0.0123"),
        (9.996, "10.0"),
        (99.96, "100"),
        (999.6, "1,000"),
        (12345.6, "12,300"),
    ],
)
def test_figures_have_three_digits(value, said):
    assert ratios["figure"](value) == said


def test_a_bar_in_a_name_does_not_open_a_column():
    table = ratios["markdown"](("what",), [("a | b",)])
    assert table.splitlines()[2] == "| a \\| b |"
