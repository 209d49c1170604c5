"""A report is saved, loaded, verified; what it says is checked against figures that are known."""

from __future__ import annotations

import gzip
import json
import re

import numpy as np
import pytest
from fake_report import POINTS, fake

from imgbench.errors import InputError
from imgbench.report import Report, files
from imgbench.report import results as form

A, B = "scenes", "open_clip:ViT-H-14/metaclip_altogether"


@pytest.fixture(scope="module")
def report() -> Report:
    return fake()


@pytest.fixture(scope="module")
def saved(report, tmp_path_factory):
    return report.save(tmp_path_factory.mktemp("saved") / "out")


@pytest.fixture
def out(saved, tmp_path):
    """A copy that a test may spoil."""
    import shutil

    return shutil.copytree(saved, tmp_path / "out")


def change(out, edit):
    results = json.loads((out / "results.json").read_text())
    edit(results)
    (out / "results.json").write_text(json.dumps(results))


def test_a_saved_report_comes_back_as_it_was(report, saved):
    again = Report.load(saved)
    assert again.results == report.results
    assert again.per_query.values.tolist() == report.per_query.values.tolist()
    assert again.qrels.fingerprint == report.qrels.fingerprint
    assert set(again.runs) == set(report.runs)
    for name, run in report.runs.items():
        loaded = again.runs[name]
        assert [list(hits) for hits in loaded.to_dict().values()] == [
            list(hits) for hits in run.to_dict().values()
        ]
        assert loaded.query_ids == run.query_ids
    assert again.table() == report.table()


def test_the_folder_has_the_files_of_the_contract(saved):
    names = sorted(str(path.relative_to(saved)) for path in saved.rglob("*") if path.is_file())
    runs = sorted(f"runs/{number}.trec.gz" for number in range(12))
    assert names == sorted(
        ["index.html", "pareto.svg", "per_query.parquet", "qrels.trec", "results.json", *runs]
    )


def test_the_same_report_gives_the_same_bytes(saved, tmp_path):
    again = fake().save(tmp_path / "again")
    for path in saved.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(saved)).read_bytes(), path.name


def test_a_loaded_report_saved_elsewhere_is_the_same(saved, tmp_path):
    again = Report.load(saved).save(tmp_path / "copy")
    assert (again / "results.json").read_bytes() == (saved / "results.json").read_bytes()
    assert (again / "runs/3.trec.gz").read_bytes() == (saved / "runs/3.trec.gz").read_bytes()


def test_saving_into_its_own_folder_and_writing_the_pages_again(out):
    before = (out / "index.html").read_bytes()
    Report.load(out).save(out)
    (out / "index.html").write_text("old")
    Report.load(out).save_pages(out)
    assert (out / "index.html").read_bytes() == before
    assert Report.load(out).verify() == []


def test_runs_of_an_earlier_report_are_removed_and_other_files_are_not(out):
    (out / "notes.txt").write_text("mine")
    (out / "runs" / "mine.trec.gz").write_bytes(b"")
    fake((A,), points=POINTS[:3]).save(out)
    left = sorted(path.name for path in (out / "runs").iterdir())
    assert left == ["0.trec.gz", "1.trec.gz", "2.trec.gz", "mine.trec.gz"]
    assert (out / "notes.txt").read_text() == "mine"


def test_a_query_without_any_hit_is_a_zero_after_loading_too(tmp_path):
    points = (POINTS[0], ("IVF256,Flat?nprobe=1", 0.97, 61_000.0, 0.041, 2063.0))
    made = fake((A,), queries=60, points=points)
    run = made.runs[A, points[1][0]]
    assert any(not hits for hits in run.to_dict().values())
    again = Report.load(made.save(tmp_path / "out"))
    assert again.runs[A, points[1][0]].query_ids == run.query_ids
    assert again.verify() == []


def test_a_file_is_replaced_whole_and_never_written_over(out, tmp_path):
    (tmp_path / "held").hardlink_to(out / "results.json")  # as a reader holds it open
    before = (tmp_path / "held").read_bytes()
    fake((A,), points=POINTS[:3]).save(out)
    assert (out / "results.json").read_bytes() != before
    assert (tmp_path / "held").read_bytes() == before


def test_a_failing_save_leaves_what_was_there(out, report, monkeypatch):
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def broken(results, path):
        path.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(form, "write", broken)
    with pytest.raises(
        InputError, match=r"^No report can be saved in '.*' \(disk full\)\. A folder to write"
    ):
        report.save(out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_file_is_no_folder(report, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(
        InputError, match=r"is a file\. A report is saved as a folder\. Choose another name\.$"
    ):
        report.save(tmp_path / "out")


def test_points_without_a_run_are_refused(report):
    runs = dict(report.runs)
    del runs[A, "Flat"]
    with pytest.raises(InputError, match=r"The point \('scenes', 'Flat'\) has no run\."):
        Report(report.results, report.per_query, runs, report.qrels)
    with pytest.raises(InputError, match=r"per_query lacks the columns value\."):
        Report(report.results, report.per_query.drop(columns="value"), report.runs, report.qrels)


# verify


def test_what_was_saved_holds(report, saved):
    assert report.verify() == []
    assert Report.load(saved).verify() == []


def test_verify_uses_pytrec_eval_and_not_our_own_scorer(saved, monkeypatch):
    import ir_measures
    import pytrec_eval

    from imgbench import providers

    def forbidden(*_):
        raise AssertionError("the array scorer judged itself")

    calls = []
    real = pytrec_eval.RelevanceEvaluator
    pipeline = ir_measures.DefaultPipeline
    monkeypatch.setattr(pipeline, "providers", [providers.ArrayProvider(), *pipeline.providers])
    monkeypatch.setattr(providers.ArrayProvider, "_evaluator", forbidden)
    monkeypatch.setattr(providers, "matrix", forbidden)
    monkeypatch.setattr(pytrec_eval, "RelevanceEvaluator", lambda *a, **k: calls.append(a) or real(*a, **k))
    assert Report.load(saved).verify() == []
    assert calls


def edited(key, value):
    def edit(results):
        place = results
        for step in key[:-1]:
            place = place[step]
        place[key[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            ("points", 1, "quality", "AP@10", "mean"),
            0.75,
            r"'scenes', 'IVF256,Flat\?nprobe=1': AP@10 is 0.75 in",
        ),
        (
            ("points", 1, "delta", "nDCG@10", "mean"),
            0.001,
            r"nprobe=1': the difference in nDCG@10 is 0.001 in",
        ),
        (
            ("points", 1, "delta", "nDCG@10", "verdict"),
            "holds",
            "is 'holds', but the interval .* give 'degrades'",
        ),
        (("points", 2, "overlap@10"), 1.0, "nprobe=4': overlap@10 is 1.0 in results.json, but"),
        (("corpus", "judged_queries"), 151, "says 151 judged queries, qrels.trec has 150"),
        (
            ("encoder_differences", 0, "mean"),
            0.5,
            "The difference in nDCG@10 between 'scenes' and 'open_clip",
        ),
    ],
)
def test_a_changed_figure_is_found(out, key, value, said):
    change(out, edited(key, value))
    (sentence,) = Report.load(out).verify()
    assert re.search(said, sentence)


def test_a_change_of_a_billionth_is_found_and_less_is_rounding(out):
    truth = json.loads((out / "results.json").read_text())["points"][3]["quality"]["R@10"]["mean"]
    change(out, edited(("points", 3, "quality", "R@10", "mean"), truth + 1e-13))
    assert Report.load(out).verify() == []
    change(out, edited(("points", 3, "quality", "R@10", "mean"), truth + 2e-9))
    assert len(Report.load(out).verify()) == 1


def test_a_run_without_one_query_is_found_in_every_figure_that_it_changes(out, report):
    path, run = out / "runs/3.trec.gz", report.runs[A, "IVF256,Flat?nprobe=16"]
    judged = report.qrels.to_dict()
    found = [query for query in run.query_ids if judged[query].keys() & dict(run.hits(query))]
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    kept = [line for line in lines if line.split()[0] != found[0]]
    path.write_bytes(gzip.compress("\n".join(kept).encode()))
    sentences = Report.load(out).verify()
    assert len(sentences) == 4 + 4 + 4 + 1  # means, rows, differences of four measures; the overlap
    assert all(sentence.startswith("'scenes', 'IVF256,Flat?nprobe=16': ") for sentence in sentences)


def test_changed_judgements_are_found(out):
    lines = (out / "qrels.trec").read_text().splitlines()
    (out / "qrels.trec").write_text("\n".join([lines[0][:-1] + "0", *lines[1:]]))
    assert any("another nDCG@10 for 1 of 150" in sentence for sentence in Report.load(out).verify())


def test_a_missing_and_a_changed_row_of_per_query_are_found(saved, out):
    frame = Report.load(saved).per_query
    files.write_frame(frame.iloc[1:], out / "per_query.parquet")
    (sentence,) = Report.load(out).verify()
    assert sentence == "'scenes', 'Flat': per_query.parquet has another nDCG@10 for 1 of 150 queries."
    files.write_frame(frame.iloc[np.r_[0, : len(frame)]], out / "per_query.parquet")
    (sentence,) = Report.load(out).verify()
    assert sentence == "'scenes', 'Flat': per_query.parquet does not have one nDCG@10 for each judged query."


def test_a_damaged_run_is_a_difference_and_not_a_crash(out):
    (out / "runs/3.trec.gz").write_bytes(gzip.compress(b"q0 Q0 image 1\n"))
    assert "its run cannot be scored: Line 1 of 3.trec.gz has 4 columns." in Report.load(out).verify()[0]


# load: a folder from elsewhere is not trusted


def test_a_missing_folder_says_what_to_pass(tmp_path):
    with pytest.raises(
        InputError,
        match=r"^There is no results\.json in '.*/none'\. A saved report is a folder with one\. Pass the",
    ):
        Report.load(tmp_path / "none")


@pytest.mark.parametrize("text", ["{", "", '{"schema": NaN}', "\xff\xfe", "[" * 100_000])
def test_broken_json_is_named(out, text):
    (out / "results.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"results\.json' is not JSON \("):
        Report.load(out)


@pytest.mark.parametrize("name", ["per_query.parquet", "qrels.trec"])
def test_a_missing_or_broken_file_is_named(out, name):
    (out / name).write_bytes(b"not what it says")
    with pytest.raises(InputError, match=name):
        Report.load(out)
    (out / name).unlink()
    with pytest.raises(InputError, match=rf"^There is no {name} in '.*'\. A saved report has this file\."):
        Report.load(out)


@pytest.mark.parametrize(
    "run",
    ["../secret.trec.gz", "/etc/passwd", "runs/../../x.trec.gz", "runs/..trec.gz/../x.trec.gz",
     "runs\\x.trec.gz", "runs/x.trec", "results.json", "runs/a b.trec.gz", ""],
)  # fmt: skip
def test_a_run_cannot_leave_the_folder(out, run):
    change(out, edited(("points", 0, "run"), run))
    with pytest.raises(InputError, match=r"Wanted a file name like runs/3\.trec\.gz\."):
        Report.load(out)


def test_a_link_cannot_leave_the_folder(out, tmp_path):
    (tmp_path / "secret.trec.gz").write_bytes((out / "runs/0.trec.gz").read_bytes())
    (out / "runs/0.trec.gz").unlink()
    (out / "runs/0.trec.gz").symlink_to(tmp_path / "secret.trec.gz")
    with pytest.raises(InputError, match="is a link that leaves the folder"):
        Report.load(out).runs[A, "Flat"]
