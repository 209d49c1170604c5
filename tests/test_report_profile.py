"""Where the time went: the table of stages, in each form, of a report that was just made or saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_report import fake

from imgbench import stopwatch
from imgbench.errors import InputError
from imgbench.report import Report
from imgbench.report.profile import profile


def stage(name: str, seconds: float, depth: int = 0, **said: float | str) -> dict:
    found = {"stage": name, "depth": depth, "seconds": seconds}
    return found | {"unit": "", "items": 0, "waited": 0.0, "faiss_seconds": 0.0} | said


FOUND = {
    "seconds": 10.0,
    "faiss_seconds": 4.0,
    "stages": [
        stage("embed images", 5.0, unit="images", items=1000, waited=1.0),
        stage("encode images", 4.0, 1, unit="images", items=1000, waited=1.0),
        stage("search <Flat>", 4.0, unit="queries", items=100, faiss_seconds=3.0),
    ],
}


def cells(line: str) -> list[str]:
    return line.split()


def test_each_stage_has_its_time_share_and_rate() -> None:
    lines = profile(FOUND).splitlines()
    assert cells(lines[8]) == ["embed", "images", "5.00", "50%", "200", "images/s", "20%"]
    assert cells(lines[9]) == ["·", "encode", "images", "4.00", "40%", "250", "images/s", "25%"]
    assert cells(lines[10]) == ["search", "<Flat>", "4.00", "40%", "25", "queries/s", "75%"]
    assert cells(lines[11]) == ["everything", "else", "1.00", "10%", "100%"]  # FAISS's fourth second


def test_the_first_sentence_says_what_was_outside_faiss() -> None:
    assert profile(FOUND).splitlines()[2] == (
        "10.00 s in all: 4.00 s (40%) searching, training and adding, 6.00 s (60%) outside of these."
    )


def test_every_form_shows_the_same_stages() -> None:
    assert "| search &lt;Flat&gt; | 4.00 |" in profile(FOUND, "markdown")
    assert "<bdi>search &lt;Flat&gt;</bdi>" in profile(FOUND, "html")
    with pytest.raises(InputError, match="'pdf' is not a form of the profile"):
        profile(FOUND, "pdf")


def test_a_report_without_a_profile_says_so() -> None:
    with pytest.raises(InputError) as caught:
        fake(("scenes",)).profile()
    assert str(caught.value) == (
        "This report has no profile. An earlier version of imgbench saved it, which took none. "
        "Run the benchmark again."
    )


def test_a_wrong_profile_is_refused() -> None:
    whole = fake(("scenes",))
    wrong = whole.results | {"profile": {"seconds": 1.0, "faiss_seconds": 0.5, "stages": [{"stage": "x"}]}}
    with pytest.raises(InputError, match=r"results.profile.stages\[0\].depth is missing"):
        Report(wrong, whole.per_query, whole.runs, whole.qrels)


def test_saving_is_part_of_the_saved_profile(tmp_path: Path) -> None:
    with stopwatch.running():
        fake(("scenes",)).save(tmp_path)
    saved = json.loads((tmp_path / "results.json").read_text())["profile"]
    assert [each["stage"] for each in saved["stages"]] == ["save", "draw"]
    assert "save" in Report.load(tmp_path).profile()


def test_a_report_saved_later_keeps_its_profile(tmp_path: Path) -> None:
    whole = fake(("scenes",))
    Report(whole.results | {"profile": FOUND}, whole.per_query, whole.runs, whole.qrels).save(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["profile"] == FOUND
