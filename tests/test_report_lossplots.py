from __future__ import annotations

import copy

import pytest
from fake_report import fake

from imgbench import InputError, Report
from imgbench.overlaps import against_quality, lost_each
from imgbench.report import plots


@pytest.fixture(scope="module")
def report() -> Report:
    """The made-up report, with lost overlap and a funnel of its own."""
    made = fake(("scenes",))
    results = copy.deepcopy(made.results)
    from imgbench.evaluator import Evaluator

    judge = Evaluator(made.qrels, list(results["points"][0]["quality"]))
    truth = made.runs["scenes", "Flat"]
    exact = judge.matrix(truth)
    for point in results["points"][1:]:
        run = made.runs["scenes", point["key"]]
        lost = lost_each(run, truth, 10, judge.query_ids)
        deltas = dict(zip(judge.names, judge.matrix(run) - exact, strict=True))
        point["overlap_quality"] = {
            name: against_quality(lost, delta).to_dict() for name, delta in deltas.items()
        }
    means = {"nDCG@10": 0.5, "AP@10": 0.4, "R@10": 0.3, "P@10": 0.1}
    steps = [{"step": "fp32 $x$", "mean": means, "delta": {}}]
    for name, change in (("quantiser (SQ4)", -0.02), ("search (nprobe=1)", 0.01)):
        means = {measure: mean + change for measure, mean in means.items()}
        delta = {"mean": change, "low": change - 0.001, "high": change + 0.001, "verdict": "degrades"}
        steps.append({"step": name, "mean": means, "delta": dict.fromkeys(means, delta)})
    results["points"][1]["funnel"] = {"steps": steps, "total": {}}
    return Report(results, made.per_query, made.runs, made.qrels)


def test_lost_overlap_against_lost_quality(report: Report) -> None:
    figure = report.overlap_quality("AP@10")
    left, right = figure.axes
    assert left.get_xlabel() == right.get_xlabel() == "share of the exact top 10 that was lost"
    assert "AP@10" in left.get_ylabel()
    bins = sum(len(point["overlap_quality"]["AP@10"]["bins"]) for point in report.results["points"][1:])
    assert sum(len(drawn.get_offsets()) for drawn in left.collections) == bins
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"IVF256,Flat", "HNSW32"}
    assert len(right.containers) == 5  # a point with its interval for each approximate point
    assert plots.svg(figure) == plots.svg(report.overlap_quality("AP@10"))


def test_a_funnel_is_a_waterfall(report: Report) -> None:
    figure = report.funnel("IVF256,Flat?nprobe=1")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "fp32 $x$", "quantiser (SQ4)", "search (nprobe=1)",
    ]  # fmt: skip
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    assert [at for bar in bars for at in bar] == pytest.approx([0.5, -0.02, 0.48, 0.01])
    assert report.funnel().axes[0].get_title(loc="left") == "IVF256,Flat?nprobe=1"


def test_what_there_is_not_cannot_be_drawn(report: Report) -> None:
    plain = fake(("scenes",))
    with pytest.raises(InputError, match=r"No funnel was measured\. .* Run with funnel=True or --funnel\."):
        plain.funnel()
    with pytest.raises(InputError, match=r"No distractor curve was measured\. .* curve=True or --curve\."):
        plain.curve()
    with pytest.raises(InputError, match=r"No point was compared with exact search\."):
        plain.overlap_quality()
    with pytest.raises(InputError, match=r"'HNSW32' is not a point with a funnel\. Known: IVF256,Flat"):
        report.funnel("HNSW32")
    with pytest.raises(InputError, match=r"'nDCG' is not a measure of this report\."):
        report.overlap_quality("nDCG")
    with pytest.raises(InputError, match=r"'jina' is not an encoder of this report\."):
        report.funnel(encoder="jina")
