"""The picture: what is drawn, that labels are readable, and that its bytes are the same each time."""

from __future__ import annotations

import copy
import itertools
import sys
from pathlib import Path

import pytest
from fake_report import POINTS, fake
from matplotlib.text import Text

from imgbench.errors import InputError
from imgbench.report import plots
from imgbench.report.labels import Spot

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def report():
    return fake(queries=60)


def boxes(figure):
    figure.draw_without_rendering()
    axes = figure.axes[0]
    return {text.get_text(): Text.get_window_extent(text) for text in axes.texts}, axes


def test_every_point_is_drawn_where_it_belongs(report):
    axes = report.pareto().axes[0]
    drawn = {(bar.lines[0].get_xdata()[0], bar.lines[0].get_ydata()[0]) for bar in axes.containers}
    wanted = {
        (p["throughput_qps"]["value"], p["quality"]["nDCG@10"]["mean"]) for p in report.results["points"]
    }
    assert drawn == wanted
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "queries per second, one batch (log scale)"
    assert axes.get_ylabel() == "nDCG@10 with 95% interval"


def test_no_label_covers_another_and_none_leaves_the_axes(report):
    found, axes = boxes(fake(("scenes",), queries=60).pareto())
    assert len(found) == len(POINTS)
    for first, second in itertools.combinations(found.values(), 2):
        assert not first.overlaps(second)
    for box in found.values():
        assert box.x0 >= axes.bbox.x0
        assert box.x1 <= axes.bbox.x1


def test_labels_of_crowded_points_find_room():
    crowd = tuple((f"IVF256,Flat?nprobe={n}", 0.01, 9_000.0 + 40 * n, 0.3, 2000.0) for n in range(1, 8))
    found, _ = boxes(fake(("scenes",), queries=60, points=(POINTS[0], *crowd)).pareto())
    assert len(found) == 8
    for first, second in itertools.combinations(found.values(), 2):
        assert not first.overlaps(second)


def test_a_label_far_from_its_point_has_a_line_to_it():
    crowd = tuple((f"IVF256,Flat?nprobe={n}", 0.01, 9_000.0 + n, 0.3, 2000.0) for n in range(1, 12))
    texts = fake(("scenes",), queries=60, points=(POINTS[0], *crowd)).pareto().axes[0].texts
    for text in texts:
        far = max(abs(each) for each in text.get_position()) > 9.0
        assert (text.arrow_patch is not None) == far
    assert any(text.arrow_patch is not None for text in texts)


def test_the_front_holds_the_points_that_nothing_beats():
    spots = [
        Spot(x, y, y, y, str(x), "IVF", "k") for x, y in [(1, 0.9), (2, 0.8), (3, 0.85), (4, 0.2), (4, 0.3)]
    ]
    assert [s.x for s in plots.front(spots, more_is_better=True)] == [4, 3, 1]
    assert [(s.x, s.y) for s in plots.front(spots, more_is_better=False)] == [(1, 0.9)]


def test_colours_can_be_told_apart_and_every_family_has_its_marker(report):
    labels = {text.get_text() for text in report.pareto().legends[0].get_texts()}
    assert {"scenes", "open_clip:ViT-H-14/metaclip_altogether", "IVF", "HNSW", "Flat (exact)"} <= labels
    assert len(set(plots.COLOURS)) == 7
    assert len(set(plots.MARKERS.values())) == len(plots.MARKERS)


@pytest.mark.parametrize("cost", sorted(plots.COSTS))
def test_every_cost_can_be_drawn(report, cost):
    assert report.pareto("AP@10", cost).axes[0].get_xlabel() == plots.COSTS[cost].label


def test_unknown_names_are_refused(report):
    with pytest.raises(
        InputError, match=r"^'nDGC@10' is not a measure of this report\. .* Did you mean 'nDCG@10'\?"
    ):
        report.pareto("nDGC@10")
    with pytest.raises(InputError, match=r"^'qsp' is not a cost\. .* Did you mean 'qps'\?"):
        report.pareto(cost="qsp")


def test_a_cost_that_nobody_measured_is_said(report):
    results = copy.deepcopy(report.results)
    for point in results["points"]:
        point["distance_computations_per_query"] = None
    with pytest.raises(InputError, match=r"^No point has a figure for the cost 'distances'\."):
        plots.pareto(results, cost="distances")


def test_the_svg_is_the_same_each_time_without_date_or_address(report):
    first, second = plots.svg(report.pareto()), plots.svg(fake(queries=60).pareto())
    assert first == second
    assert "<dc:date>" not in first
    assert "metadata" not in plots.inline(first)
    assert plots.inline(first).startswith("<svg")


def test_no_global_state_of_matplotlib_is_touched():
    import subprocess

    code = (
        f"import sys; sys.path[:0] = {[str(HERE), str(HERE.parent)]!r}; from fake_report import fake;"
        "fake(('a',), queries=30).pareto();"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
