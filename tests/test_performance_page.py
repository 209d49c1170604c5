"""benchmarks/performance.py and the comparison with other libraries: what is made of measured figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import performance_page

    return performance_page


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS / "peers")
    import peer_processes

    return peer_processes


PACKAGES = {"torch": "2.14.1", "pandas": "3.1.1"}
STAMP = {
    "date": "2026-11-21T05:00:00+00:00",
    "command": "a command",
    "environment": {"cpu": "A processor", "cores": 2, "gpu": None, "python": "3.11.7", "packages": PACKAGES},
}


def side(name: str, median: float, **more: object) -> dict[str, object]:
    return {"name": name, "median": median, "iqr": 0.0, "rounds": 3, **more}


def stages(theirs: float, **more: object) -> dict[str, object]:
    return {**STAMP, "groups": {"sort cards": [side("imgbench", 1.0), side("a loop", theirs, **more)]}}


def figure(ours: list[float], theirs: list[float], **more: object) -> dict[str, object]:
    plain = {"peer": "ranx", "figure": "read", "unit": "s", "better": "lower", "why": "", "runs": 3}
    return plain | {"ours": ours, "theirs": theirs} | more


def test_a_part_states_its_machine_and_versions(page):
    said = page.page({"stages": stages(2.0)})
    assert "`a command`, 21 November 2026: A processor, 2 cores, no GPU; Python 3.11.7, torch 2.14.1." in said
    assert "pandas" not in said


def test_each_peer_has_its_own_date_machine_and_number_of_runs(page):
    told = {**STAMP, "versions": "ranx 0.3.21", "threads": 2, "runs": 3}
    later = told | {"date": "2026-12-01T05:00:00+00:00", "versions": "autofaiss 2.18.0", "runs": 1}
    lines = page.machine(
        {"command": "x", "peers": {"ranx": told, "autofaiss": later}, "rows": []}
    ).splitlines()
    where = "A processor, 2 cores, no GPU; Python 3.11.7, torch 2.14.1."
    runs = "median of 3 processes (lowest to highest)"
    assert lines[-2:] == [
        f"- *ranx*: {runs}, 2 threads, 21 November 2026: {where} Peer: ranx 0.3.21.",
        f"- *autofaiss*: one run, 2 threads, 1 December 2026: {where} Peer: autofaiss 2.18.0.",
    ]


def test_figures_that_are_kept_keep_their_date(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.syspath_prepend(BENCHMARKS / "peers")
    import compare_peers

    new = figure([2, 1, 3], [5, 4, 6], versions="ranx 0.3.21")
    old = figure([1, 1, 1], [2, 2, 2], peer="autofaiss", family="autofaiss", runs=1)
    stale = figure([9, 9, 9], [9, 9, 9], family="ranx")
    stamp = {**STAMP, "versions": "autofaiss 2.18.0", "threads": 4, "runs": 1}
    saved = tmp_path / "peers.json"
    saved.write_text(json.dumps({"command": "x", "peers": {"autofaiss": stamp}, "rows": [stale, old]}))
    monkeypatch.setitem(compare_peers.PEERS, "ranx", lambda *_: [new])
    monkeypatch.setattr(compare_peers, "environment", lambda *_: Path("python"))
    asked = ["compare_peers.py", "--peer", "ranx", "--json", str(saved), "--times", "3", "--threads", "2"]
    monkeypatch.setattr(sys, "argv", asked)
    compare_peers.main()
    part = json.loads(saved.read_text("utf-8"))
    assert part["rows"] == [new | {"family": "ranx"}, old]
    assert list(part["peers"]) == ["ranx", "autofaiss"]
    assert part["peers"]["autofaiss"] == stamp
    assert part["peers"]["ranx"]["date"] > STAMP["date"][:10]
    assert (part["peers"]["ranx"]["runs"], part["peers"]["ranx"]["threads"]) == (3, 2)


def test_parts_that_were_not_measured_are_named(page):
    missing = page.page({"stages": stages(2.0)}).partition("## Not measured yet")[2]
    assert page.TITLES["peers"] in missing
    assert page.TITLES["stages"] not in missing
    assert page.TITLES["gpu"] not in missing  # few have one
    assert "Not measured yet" not in page.page(dict.fromkeys(page.TITLES, stages(2.0)))


@pytest.mark.parametrize(
    ("theirs", "wanted", "said"),
    [
        (2.0, None, None),
        (0.5, None, "*sort cards*: 0.50 times as fast as a loop: the other is faster. Not explained yet."),
        (2.0, 1.5, None),
        (2.0, 3.5, "*sort cards*: 2.0 times as fast as a loop instead of 3.5. Not explained yet."),
        (0.96, 0.95, None),  # beside what nothing can beat, a little less is what was asked for
    ],
)
def test_what_loses_or_misses_its_target_is_said(page, theirs, wanted, said):
    remarks = page.shown(stages(theirs, wanted=wanted))[1]
    assert remarks == ([said] if said else [])


def test_a_reason_is_given_where_there_is_one(page, monkeypatch):
    monkeypatch.setitem(page.WHY, "sort .* / a loop", "It has less to do.")
    assert page.shown(stages(0.5))[1][0].endswith("the other is faster. It has less to do.")


def test_our_own_network_is_no_rival(page):
    part = stages(2.0)
    part["groups"]["sort cards"].append(side("imgbench's network alone", 0.9))
    assert page.shown(part)[1] == []
    part["groups"]["sort cards"].append(side("the network alone", 0.9))
    assert len(page.shown(part)[1]) == 1


def test_what_is_known_to_lose_has_its_reason(page, monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import performance
    import study_size

    for what in ("the process", "imgbench.benchmark"):
        study_size.tell(what, 90.0, 81.0, 45.0)
    printed = capsys.readouterr().out
    rows = performance.whole_rows(printed) + performance.cached_rows(
        "first run 60.0 s, second run 10.0 s: 16.7%"
    )
    remarks = page.shown({**STAMP, "rows": rows})[1]
    assert len(remarks) == 3
    name = "search IVF128,Flat?nprobe=8: 2,000 queries, 20,000 x 256"
    remarks += page.shown({**STAMP, "groups": {name: [side("imgbench", 1.0), side("faiss", 0.8)]}})[1]
    reasons = [remark.partition("misses its target. ")[2] or remark for remark in remarks]
    words = ["Imports take", "Writing indexes", "The encoder of `scenes` is tiny", "Python"]
    assert all(word in reason for word, reason in zip(words, reasons, strict=True)), reasons


@pytest.mark.parametrize(
    ("ours", "theirs", "better", "winner"),
    [
        ([2, 1, 3], [5, 4, 6], "lower", "imgbench"),
        ([2, 1, 3], [5, 4, 6], "higher", "the peer"),
        ([5, 4, 6], [2, 1, 3], "lower", "the peer"),
        ([5, 4, 6], [2, 1, 3], "higher", "imgbench"),
        ([2, 1, 4], [5, 4, 6], "lower", "neither"),
        ([1, 1, 1], [1, 1, 1], "lower", "neither"),
    ],
)
def test_who_is_better(page, ours, theirs, better, winner):
    assert page.winner(figure(ours, theirs, better=better)) == winner


@pytest.mark.parametrize(
    ("unit", "theirs", "winner"),
    [("s", 2.9, "neither"), ("s", 3.0, "imgbench"), ("ms", 1.4, "neither"), ("ms", 1.3, "the peer"),
     ("MB", 2.1, "imgbench")],
)  # fmt: skip
def test_one_run_decides_about_times_only_beyond_its_rule(page, unit, theirs, winner):
    assert page.winner(figure([2, 2, 2], [theirs] * 3, unit=unit, runs=1)) == winner


def test_how_close_the_answers_are_is_said(page):
    rows = [figure([1, 1, 1], [2, 2, 2], differs=0.0), figure([1, 1, 1], [2, 2, 2], differs=0.00156)]
    part = {"command": "x", "peers": {}, "rows": rows}
    assert page.shown(part)[1] == [
        "*ranx, read*: both sides give the same values.",
        "*ranx, read*: the values of both sides differ by at most .0016.",
    ]


def test_scores_whose_paired_interval_holds_zero_have_no_winner(page):
    row = figure([0.925] * 3, [0.942] * 3, unit="", better="higher")
    assert page.winner(row) == "the peer"
    assert page.winner(row | {"even": "yes"}) == "neither"


def test_a_figure_that_the_peer_wins_is_marked(page):
    rows = [figure([2, 1, 3], [0.5, 0.4, 0.6]), figure([2, 1, 3], [5, 4, 6], figure="score")]
    table, remarks = page.shown({**STAMP, "peers": ["ranx 0.3.21"], "rows": rows})
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert cells[2] == [
        "ranx",
        "read",
        "2.00 s (1.00 s to 3.00 s)",
        "500 ms (400 ms to 600 ms)",
        "0.25",
        "the peer",
    ]
    assert cells[3][-1] == "imgbench"
    assert remarks == ["**ranx wins** *read*. Not explained yet."]


def test_scores_are_compared_by_their_difference(page):
    row = figure([0.925, 0.925, 0.925], [0.942, 0.942, 0.942], unit="", better="higher")
    assert page.peer_line(row)[2:] == (".9250", ".9420", "-0.0170", "the peer")


def test_what_a_script_printed_is_shown(page):
    assert "```\nrun 1: 20 s\n```" in page.section(
        "cached", {**STAMP, "rows": [], "printed": "run 1: 20 s\n"}
    )


def test_rows_with_a_target_say_what_misses_it(page):
    rows = [
        {"what": "outside FAISS", "reached": "3.1 %", "wanted": "at most 5 %", "misses": False},
        {"what": "whole run", "reached": "3.0 times", "wanted": "at most 2.5 times", "misses": True},
    ]
    table, remarks = page.shown({**STAMP, "rows": rows})
    assert "3.1 %" in table
    assert remarks == ["*whole run*: misses its target. Not explained yet."]


def test_the_page_in_the_repository_is_that_of_the_kept_figures(page):
    kept = {
        path.stem: json.loads(path.read_text("utf-8")) for path in (BENCHMARKS / "measured").glob("*.json")
    }
    written = (BENCHMARKS.parent / "docs" / "performance.md").read_text("utf-8")
    assert written == page.page(kept)


def test_figures_with_a_target_are_found_in_what_the_scripts_print(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import performance

    printed = (
        "wall\nthe process: 90.0 s, 4.6 s (5.1%) outside of searching, training and adding, "
        "2.40 times the bare sum"
    )
    outside, times = performance.whole_rows(printed)
    assert (outside["reached"], outside["misses"]) == ("5.1 % of 90.0 s", True)
    assert (times["reached"], times["misses"]) == ("2.40 times", False)
    (row,) = performance.cached_rows("run 1: 80 s\nfirst run 80.0 s, second run 6.0 s: 7.5%\n")
    assert (row["reached"], row["misses"]) == ("7.5 % (6.0 s of 80.0 s)", False)
    assert performance.whole_rows("other words") == performance.cached_rows("other words") == []


def test_the_last_line_is_what_a_script_says(processes):
    assert processes.said('loading weights\n{"figures": {}}\n') == {"figures": {}}


def test_a_script_runs_with_the_threads_it_is_told(processes, monkeypatch, tmp_path):
    script = tmp_path / "says.py"
    script.write_text(
        "import json, os\n"
        "print(json.dumps([os.environ[name] for name in ('PEER_THREADS', 'OMP_NUM_THREADS', 'X')]))"
    )
    monkeypatch.setattr(processes, "HERE", tmp_path)
    side = processes.Side(Path(sys.executable), "says.py", settings=(("X", "set"),))
    assert side.run(3) == ["3", "3", "set"]


def test_a_script_that_fails_is_shown(processes, monkeypatch, tmp_path):
    (tmp_path / "fails.py").write_text("raise ValueError('no such file')")
    monkeypatch.setattr(processes, "HERE", tmp_path)
    with pytest.raises(SystemExit, match=r"fails\.py a failed") as failed:
        processes.Side(Path(sys.executable), "fails.py", ("a",)).run(1)
    assert "no such file" in str(failed.value)


def test_sides_take_turns(processes, monkeypatch, tmp_path):
    log = tmp_path / "log"
    (tmp_path / "logs.py").write_text(
        f"import sys; open({str(log)!r}, 'a').write(sys.argv[1]); print('{{\"figures\": {{}}}}')"
    )
    monkeypatch.setattr(processes, "HERE", tmp_path)
    sides = {name: processes.Side(Path(sys.executable), "logs.py", (name,)) for name in "AB"}
    found = processes.alternate(sides, times=3, threads=1)
    assert log.read_text() == "ABABAB"
    assert found == {"A": [{"figures": {}}] * 3, "B": [{"figures": {}}] * 3}


@pytest.mark.parametrize("name", ["autofaiss", "clip-benchmark", "ir-measures", "ranx"])
def test_requirements_are_exact_versions(name):
    lines = (BENCHMARKS / "peers" / f"requirements-{name}.txt").read_text("utf-8").splitlines()
    assert all(line.count("==") == 1 and " " not in line for line in lines)
    assert len({line.partition("==")[0].lower() for line in lines}) == len(lines) > 0
