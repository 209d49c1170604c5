"""The figures of each comparison: what is run, in what turns, and how it reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peer_inputs
from peer_inputs import PHOTOS
from peer_processes import OURS, Side, alternate, spread

Runs = Mapping[str, list[dict[str, Any]]]

SCORING = {
    "whole": "start, read a TREC run of 10,725 x 100 and qrels, score four measures",
    "read": "of that, reading the files",
    "first": "of that, scoring for the first time",
    "build": "its run and qrels from the arrays of a search",
    "again": "score these, means and every query",
    "together": "both: from arrays to scores",
}
RETRIEVAL = {
    "fp32": f"{PHOTOS} JPEGs, {5 * PHOTOS} captions: encode, recall@5 both ways, ViT-B-32 fp32",
    "fp32, whole": "the same from the start of the process, fp32",
    "bf16": "likewise in bf16 (the peer: autocast, its default)",
    "bf16, whole": "the same from the start of the process, bf16",
    "vectors": "recall@5 both ways of ready vectors, 1,000 and 5,000 x 256",
}
# recall@5 may differ where two cosines differ by rounding alone: by one photograph, or its five captions.
NEAR_TIES = {"fp32": 1 / PHOTOS, "bf16": 1 / PHOTOS, "vectors": 1 / 1000}
BUDGETS = {"10": "asked for 10 ms, its default", "0.05": "asked for 0.05 ms"}
WHY: dict[tuple[str, str], str] = {
    (
        "autofaiss",
        "tune",
    ): "It builds one index and moves one parameter until a query takes the time asked for; "
    "what is lost it does not ask. imgbench builds some twenty indexes and proves the loss of its choice (of "
    "nDCG@10, at most .01) on queries that did not choose it.",
}


def row(
    peer: str, figure: str, runs: Runs, sides: tuple[str, str], keys: tuple[str, str], **more: object
) -> dict[str, Any]:
    """A line of the table: a figure of both sides over their runs."""
    ours, theirs = (runs[side] for side in sides)
    versions = ", ".join(f"{name} {version}" for name, version in theirs[0]["versions"].items())
    told = {"unit": "s", "better": "lower", "why": WHY.get((peer, keys[1]), "")} | more
    values = {"ours": spread(ours, keys[0]), "theirs": spread(theirs, keys[1])}
    return {"peer": peer, "figure": figure, "versions": versions, "runs": len(ours), **values, **told}


def apart(runs: Runs, ours: str, theirs: str) -> float:
    """The largest difference between answers that should be equal."""
    mine, other = (runs[side][0]["answers"] for side in (ours, theirs))
    return max(abs(value - other[name]) for name, value in mine.items())


def _scoring(sides: Mapping[str, Side], threads: int, times: int) -> list[dict[str, Any]]:
    made = next(iter(sides.values())).arguments[:1]
    ours = {"imgbench": Side(OURS, "ours_scoring.py", made)}
    runs = alternate(ours | sides, times=times, threads=threads)
    for each in (run["figures"] for side in runs.values() for run in side):
        each["together"] = each["build"] + each["again"]
    rows = []
    for peer in sides:
        if apart(runs, "imgbench", peer) > 1e-9:
            raise SystemExit(f"{peer} and imgbench score differently: {runs[peer][0]['answers']}")
        rows += [row(peer, text, runs, ("imgbench", peer), (key, key)) for key, text in SCORING.items()]
    return rows


def ir_measures(python: Path, folder: Path, threads: int, times: int) -> list[dict[str, Any]]:
    """ir_measures, and the library below it called directly."""
    made = str(peer_inputs.scoring(folder / "inputs" / "scoring"))
    script = "peer_ir_measures.py"
    sides = {
        "ir_measures": Side(python, script, (made,)),
        "pytrec_eval": Side(python, script, (made, "direct")),
    }
    return _scoring(sides, threads, times)


def ranx(python: Path, folder: Path, threads: int, times: int) -> list[dict[str, Any]]:
    """Ranx compiles its functions on first use and keeps them on disk."""
    made = str(peer_inputs.scoring(folder / "inputs" / "scoring"))
    side = Side(python, "peer_ranx.py", (made,))
    side.run(threads)  # compiles, if nothing was compiled before
    return _scoring({"ranx": side}, threads, times)


def clip_benchmark(python: Path, folder: Path, threads: int, times: int) -> list[dict[str, Any]]:
    """Encoding and scoring at two precisions, then scoring alone."""
    pictures = str(peer_inputs.retrieval(folder / "inputs" / "retrieval"))
    ready = str(peer_inputs.vectors(folder / "inputs" / "vectors"))
    rows = []
    for what, place in {"fp32": pictures, "bf16": pictures, "vectors": ready}.items():
        sides = {
            "imgbench": Side(OURS, "ours_retrieval.py", (place, what)),
            "clip-benchmark": Side(python, "peer_clip_benchmark.py", (place, what)),
        }
        runs = alternate(sides, times=times, threads=threads)
        differs = apart(runs, *sides)
        if differs > NEAR_TIES[what]:
            raise SystemExit(
                f"recall@5 differs by {differs:.4f} in {what}, at most {NEAR_TIES[what]:.4f} is rounding."
            )
        for key, text in RETRIEVAL.items():
            if key.partition(",")[0] == what:
                both = "imgbench", "clip-benchmark"
                told = {} if "," in key else {"differs": differs}  # of the same processes: said once
                rows.append(row(both[1], text, runs, both, (key, key), **told))
    return rows


def autofaiss(python: Path, folder: Path, threads: int, times: int) -> list[dict[str, Any]]:
    """Tuning, then the points of both sides in one measurement."""
    made, out = str(peer_inputs.gallery(folder / "inputs" / "gallery")), folder / "out"
    sides = {"imgbench": Side(OURS, "ours_tuning.py", (made, str(out)))} | {
        budget: Side(python, "peer_autofaiss.py", (made, str(out / budget), budget)) for budget in BUDGETS
    }
    runs = dict(alternate(sides, times=times, threads=threads))
    best = runs["imgbench"][-1]["best"]
    points = {f"{budget} ms": _theirs(out / budget, runs[budget][-1]["params"]) for budget in BUDGETS}
    measuring = {"points": Side(OURS, "ours_points.py", (made, json.dumps(points)))}
    runs |= alternate(measuring, times=times, threads=threads)
    return [line for budget in BUDGETS for line in _budget(runs, budget, best)]


def _theirs(out: Path, params: str) -> dict[str, Any]:
    pairs = (pair.split("=") for pair in params.split(",") if pair)
    return {"index": str(out / "autofaiss.index"), "params": {name: int(value) for name, value in pairs}}


def _budget(runs: Runs, budget: str, tuned: str) -> list[dict[str, Any]]:
    """The lines about one budget: tuning, time at the peer's quality, quality in the peer's time."""
    measured, theirs, asked = runs["points"][-1], f"{budget} ms", BUDGETS[budget]
    (equal, near), figures = measured["chosen"][theirs], measured["figures"]
    even = ["yes" if low <= 0 <= high else "" for low, high in measured["intervals"][theirs]]
    versions = row("", "", runs, ("imgbench", budget), ("tune", "tune"))["versions"]

    def line(figure: str, ours: str, key: str, **more: object) -> dict[str, Any]:
        keys = f"{ours}: {key}", f"{theirs}: {key}"
        return row(
            "autofaiss", f"{figure}, {asked}", runs, ("points", "points"), keys, versions=versions, **more
        )

    def point(name: str, key: str = "") -> str:
        """A point with its overlap and its time: neither says much without the other."""
        overlap, spent = (figures[f"{key or name}: {figure}"] for figure in ("overlap@10", "ms"))
        return f"{name} ({spent:.2g} ms, overlap@10 {overlap:.4f})"

    score, both = {"unit": "", "better": "higher"}, f"{point(near)} beside {point('the peer', theirs)}"
    better = f"{point(equal)} beside {point('the peer', theirs)}"
    chose = f"tune 11,679 x 256; chosen: {point(tuned)} beside {point('the peer', theirs)}, {asked}"
    return [
        row("autofaiss", chose, runs, ("imgbench", budget), ("tune", "tune")),
        line(f"one query at no lower overlap: {better}", equal, "ms", unit="ms"),
        line(f"nDCG@10 in no more time: {both}", near, "nDCG@10", even=even[0], **score),
        line("overlap@10 with exact search of these", near, "overlap@10", even=even[1], **score),
        line("size of these", near, "MB", unit="MB"),
    ]
