"""What the tables and the headline say, in every form."""

from __future__ import annotations

import copy

import pytest
from fake_report import POINTS, fake

from imgbench.errors import InputError
from imgbench.report import headline
from imgbench.report.content import content
from imgbench.report.table import table

A, B = "scenes", "open_clip:ViT-H-14/metaclip_altogether"


@pytest.fixture(scope="module")
def both():
    return fake()


@pytest.fixture(scope="module")
def one():
    return fake((A,), queries=60)


def with_verdicts(report, **deltas):
    """The results with the deltas of nDCG@10 replaced, by position."""
    results = copy.deepcopy(report.results)
    for at, point in enumerate(results["points"][1:]):
        mean, low, high = deltas["means"][at]
        verdict = "holds" if low > -0.005 else "degrades" if high < -0.005 else "inconclusive"
        point["delta"]["nDCG@10"] = {"mean": mean, "low": low, "high": high, "verdict": verdict}
    return results


LOST = (-0.1, -0.12, -0.08)
HELD = (-0.001, -0.0019, -0.0001)
OPEN = (-0.003, -0.009, 0.003)


def test_the_headline_names_the_cheapest_point_that_holds_and_its_gain(one):
    results = with_verdicts(one, means=[LOST, OPEN, HELD, LOST, HELD])
    assert headline.sentences(results)[0] == (
        "HNSW32?efSearch=64 keeps nDCG@10 within 0.005 of exact search (loss 0.0010, "
        "95% interval 0.0001 to 0.0019) at 8.1x its throughput; median latency 0.23 ms instead of 2.32 ms."
    )


def test_a_gain_is_called_a_gain(one):
    results = with_verdicts(one, means=[LOST, LOST, (0.0004, -0.0012, 0.002), LOST, LOST])
    assert "(gain 0.0004, 95% interval -0.0012 to 0.0020)" in headline.sentences(results)[0]


def test_a_point_that_holds_but_is_slower_is_no_success(one):
    results = with_verdicts(one, means=[LOST, LOST, HELD, LOST, LOST])
    results["points"][3]["throughput_qps"]["value"] = results["points"][0]["throughput_qps"]["value"] / 2
    assert headline.sentences(results)[0].endswith(
        "but at 0.50x its throughput: no point that holds is faster."
    )


def test_nothing_proven_is_said_plainly_with_what_would_decide_it(one):
    results = with_verdicts(one, means=[LOST, LOST, OPEN, LOST, (-0.006, -0.01, 0.0)])
    results["points"][3]["delta"]["nDCG@10"]["clusters_needed"] = 1234
    assert headline.sentences(results)[0] == (
        "No point is proven to keep nDCG@10 within 0.005 of exact search: 3 proven to lose more, "
        "2 inconclusive. The closest is IVF256,Flat?nprobe=16 (loss 0.0030, 95% interval -0.0030 to 0.0090); "
        "about 1,300 query clusters in all would decide it."
    )
    results = with_verdicts(one, means=[LOST] * 5)
    assert headline.sentences(results)[0].endswith("of exact search: 5 proven to lose more.")


def test_exact_search_alone_claims_nothing():
    (sentence,) = headline.sentences(fake((A,), queries=30, points=POINTS[:1]).results)
    assert sentence.startswith("Exact search only: nDCG@10 is 0.")
    assert sentence.endswith("No approximate point was measured.")


def test_a_report_without_exact_search_says_so(one):
    results = copy.deepcopy(one.results)
    results["baseline"] = "SQ8"
    assert headline.sentences(results) == ("There is no exact search SQ8 to compare with.",)
    assert "not compared" in table(results)


def test_the_row_of_a_point_has_every_figure(one):
    point = one.results["points"][3]
    point_grid = content(one.results).grids[-1]
    row = dict(zip([column.heading for column in point_grid.columns], point_grid.rows[3], strict=True))
    assert list(row) == [
        "index", "nDCG@10", "AP@10", "R@10", "P@10", "Δ nDCG@10", "95% interval", "verdict", "overlap@10",
        "p50 ms", "p95 ms", "queries per s", "build s", "bytes per image", "distances per query",
    ]  # fmt: skip
    assert row["index"] == "IVF256,Flat?nprobe=16"
    assert float(row["nDCG@10"]) == pytest.approx(point["quality"]["nDCG@10"]["mean"], abs=5e-5)
    assert row["verdict"] == point["delta"]["nDCG@10"]["verdict"]
    assert row["build s"] == "1.28"  # training 1.234 and adding 0.05
    assert row["bytes per image"] == "2063"
    assert point_grid.rows[0][7] == "exact"


def test_the_terminal_form_fits_120_columns_and_cuts_nothing(both):
    text = both.table()
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    for key, *_ in POINTS:
        assert sum(line.startswith(key + " ") for line in text.splitlines()) == 2
    assert text.count("inconclusive") >= 1
    assert repr(both) == text


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_terminal_gets_two_tables_instead_of_cut_cells(both, width):
    text = both.table(width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "inconclusive" in text
    assert text.count("index ") == 4


def test_a_hopeless_width_gets_longer_lines_but_whole_cells(both):
    text = both.table(width=20)
    assert "inconclusive" in text
    assert "…" not in text


def test_long_names_fold_at_their_parameters():
    points = (
        POINTS[0],
        ("OPQ64_256,IVF65536_HNSW32,PQ64x4fsr?nprobe=16&k_factor_rf=4", 0.1, 5000.0, 0.3, 32.0),
    )
    lines = fake((A,), queries=30, points=points).table().splitlines()
    assert max(map(len, lines)) <= 120
    folded = "".join(line[:18].strip() for line in lines if line[:3] in ("OPQ", "  ?") or "rf=4" in line[:20])
    assert "OPQ64_256,IVF" in folded


def test_names_are_not_broken_at_their_hyphens(both):
    notes = [both.table(width=width).split("Versions:")[1] for width in range(20, 60)]
    assert all("faiss-gpu" in each for each in notes)


def test_markdown_tables_are_whole(both):
    text = both.table("markdown")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {6, 16}
    assert (
        "| measure | scenes | open_clip:ViT-H-14/metaclip_altogether | difference (first - second) |" in text
    )
    assert text.startswith("### scenes: what approximate search costs\n\n")


def test_two_encoders_stand_side_by_side_with_their_paired_difference(both):
    grid = content(both.results).grids[0]
    assert [row[0] for row in grid.rows] == ["nDCG@10", "AP@10", "R@10", "P@10"]
    for row in grid.rows:
        assert float(row[1]) - float(row[2]) == pytest.approx(float(row[3]), abs=1.1e-4)
        low, high = map(float, row[4].strip("[]").split(","))
        assert low <= float(row[3]) <= high


def test_three_encoders_get_a_table_of_their_pairs():
    grids = content(fake((A, B, "mine"), queries=30).results).grids
    assert [column.heading for column in grids[0].columns] == ["measure", A, B, "mine"]
    assert [row[:3] for row in grids[1].rows][::4] == [
        (A, B, "nDCG@10"),
        (A, "mine", "nDCG@10"),
        (B, "mine", "nDCG@10"),
    ]
    assert len(grids) == 2 + 3


def test_counts_notices_and_machine_stand_below(both):
    text = both.table(width=200)
    assert "Corpus scenes: 400 images, 150 queries, of which 150 judged, in " in text
    assert "\n2 unreadable images: a.jpg, b.jpg.\n" in text
    assert "Machine: AMD EPYC 7B13, 2 cores; no GPU; threads: latency 1, throughput 2; seed 0." in text
    assert "Versions: Python 3.12.3, imgbench 0.1.0, faiss-gpu 1.15.1" in text


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.031, "Drift: exact search was 3% slower at the end than at the start."),
        (0.12, "Warning: exact search was 12% slower at the end than at the start: the machine changed"),
        (-0.2, "Warning: exact search was 20% faster at the end than at the start: the machine changed"),
    ],
)
def test_a_drift_of_more_than_a_tenth_is_a_warning(one, share, said):
    results = copy.deepcopy(one.results) | {"baseline_drift": {A: share}}
    assert any(note.startswith(said) for note in content(results).notes)


def test_too_few_timed_calls_are_said(one):
    results = copy.deepcopy(one.results)
    results["points"][2]["latency_ms"]["queries"] = 40
    assert "Warning: 40 timed calls are too few for a good p99." in content(results).notes


def test_an_unknown_form_is_refused(one):
    with pytest.raises(
        InputError, match=r"^'markdwon' is not a form of the table\. Known: .* Did you mean 'markdown'"
    ):
        one.table("markdwon")


def test_the_text_is_complete_in_a_notebook(one, monkeypatch):
    outside = one.table("text")
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert "IVF256,Flat?nprobe=4" in outside
    assert one.table("text") == outside
