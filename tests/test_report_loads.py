"""Tables, pictures and notes of times and loads, on figures that are made up."""

from __future__ import annotations

import copy

import pytest
from fake_report import fake

from imgbench import InputError, Report
from imgbench.report import plots

CLIENTS = "number: clients; hollow: more threads than the 2 cores; better: up and to the left"


def load(clients: int, qps: float, p95: float, threads: int = 1) -> dict:
    return {
        "clients": clients,
        "threads": [threads] * clients,
        "throughput_qps": {"value": qps, "low": 0.9 * qps, "high": 1.2 * qps, "rounds": 5},
        "latency_ms": {
            "p50": p95 / 2, "p95": p95, "p99": 2 * p95, "queries": 1500, "threads": threads,
            "intervals": {"p50": [p95 / 3, p95 / 2], "p95": [p95 / 2, p95], "p99": [p95, None]},
        },
        "efficiency": qps / (clients * 1000.0),
    }  # fmt: skip


def batch(size: int, qps: float) -> dict:
    return {
        "value": qps, "batch": size, "threads": 2, "low": 0.9 * qps, "high": 1.2 * qps, "repeats": 5,
        "ms_per_batch": 1000.0 * size / qps,
    }  # fmt: skip


@pytest.fixture(scope="module")
def bare() -> Report:
    return fake(encoders=("scenes",))


@pytest.fixture
def report(bare) -> Report:
    results = copy.deepcopy(bare.results)
    results["environment"]["cores"] = 2
    for point in results["points"]:
        point["concurrency"] = [load(1, 1000.0, 1.0), load(2, 1800.0, 1.25), load(4, 2000.0, 3.0)]
        point["batches"] = [batch(1, 900.0), batch(150, 6000.0)]
    return Report(results, bare.per_query, bare.runs, bare.qrels)


def changed(report: Report, change) -> Report:
    results = copy.deepcopy(report.results)
    change(results)
    return Report(results, report.per_query, report.runs, report.qrels)


def lines(report: Report, **options) -> list[str]:
    return report.table("text", width=200, details=True, **options).splitlines()


def cells(row: str) -> list[str]:
    """The cells of a line of Markdown, without its escapes."""
    return [cell.strip() for cell in row.replace("\\", "").strip("|").split("|")]


def texts(figure) -> list[str]:
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


class TestTables:
    def test_percentiles_stand_with_their_intervals_and_the_threads_that_were_read_back(self, bare):
        latency = {
            "p50": 1.5, "p95": 2.5, "p99": 12.5, "queries": 1234, "threads": 3,
            "intervals": {"p50": [1.4, 1.6], "p95": [2.25, 2.75], "p99": [12, None]},
        }  # fmt: skip

        def change(results):
            results["points"][0]["latency_ms"] = latency
            results["points"][0]["throughput_qps"] |= {"value": 150.0, "low": 140.0, "high": 160.0,
                                                       "repeats": 4, "threads": 7}  # fmt: skip

        found = changed(bare, change).table("markdown", details=True)
        row = next(line for line in found.splitlines() if "[1.40,1.60]" in line)
        assert cells(row) == [
            "Flat", "1.50 [1.40,1.60]", "2.50 [2.25,2.75]", "12.5 [12,∞)", "1,234", "3", "150", "140 to 160",
            "4", "7", "0", "0.050",
        ]  # fmt: skip

    def test_each_load_has_a_row_and_more_threads_than_cores_are_marked(self, report):
        found = report.table("markdown", details=True)
        assert "**Clients at once (\\*: more threads than the 2 cores)**" in found
        rows = [line for line in found.splitlines() if " client" in line and "| 1,500 |" in line]
        assert len(rows) == 3 * len(report.results["points"])
        assert cells(rows[1]) == [
            "· 2 clients", "1", "1800", "1620 to 2160", "90%", "0.62 [0.42,0.62]", "1.25 [0.62,1.25]",
            "2.50 [1.25,∞)", "1,500",
        ]  # fmt: skip
        assert rows[0].startswith("| Flat, 1 client |")
        assert rows[2].startswith("| · 4 clients \\* |")

    def test_threads_that_differ_between_clients_are_shown_as_a_range(self, report):
        def change(results):
            results["points"][0]["concurrency"][2]["threads"] = [1, 4, 2, 1]

        assert any("· 4 clients *" in line and "1 to 4" in line for line in lines(changed(report, change)))

    def test_batches_stand_side_by_side(self, report):
        found = lines(report)
        title = "Queries per second by size of the batch on 2 threads, and ms of a batch"
        start = found.index(title)
        assert "batches of 1  batches of 150" in found[start + 1]
        assert "900 (1.11 ms)" in found[start + 3]
        assert "6000 (25 ms)" in found[start + 3]

    def test_what_was_not_measured_has_no_table(self, bare):
        found = bare.table("html")
        assert "Times: one query a call" in found
        assert "Clients at once" not in found
        assert "size of the batch" not in found


class TestNotes:
    def test_clients_are_explained(self, report):
        said = report.table("markdown")
        assert (
            "- Clients at once: up to 4 Python threads, each of which sends a query when its last one came "
            "back. Efficiency: their queries per second beside those of as many times one client alone. "
            "With more threads than the 2 cores clients wait for one another.\n"
        ) in said

    def test_enough_cores_need_no_warning(self, report):
        def change(results):
            results["environment"]["cores"] = 4

        assert "wait for one another" not in changed(report, change).table("markdown")

    def test_no_clients_no_sentence(self, bare):
        assert "Clients" not in bare.table("markdown")
        assert "where" not in bare.table("markdown").split("Machine:")[0].split("Throughput")[1]

    def test_other_threads_than_were_asked_for_are_a_warning(self, report):
        def change(results):
            results["environment"]["threads"] = {"latency": 1, "throughput": 8, "build": 3, "client": 2}

        said = " ".join(changed(report, change).table("text").split())
        assert (
            "Warning: throughput ran on 2 threads where 8 were asked for, "
            "client ran on 1 thread where 2 were asked for, build ran on 3 threads where 8 were asked for. "
            "OMP_THREAD_LIMIT may hold them back."
        ) in said


class TestPictures:
    def test_a_line_a_point_from_one_client_on(self, report):
        figure = report.concurrency()
        (axes,) = figure.axes
        drawn = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
        assert len(drawn) == len(report.results["points"])
        assert list(drawn[0].get_xdata()) == [1.0, 1.25, 3.0]
        assert list(drawn[0].get_ydata()) == [1000.0, 1800.0, 2000.0]
        assert texts(figure).count("4") == len(drawn)
        assert {"nprobe=4", "efSearch=64", "Flat"} <= set(texts(figure))
        assert axes.get_xlabel() == "95th percentile of latency, ms (log scale)"
        assert axes.get_ylabel() == "queries per second of all clients (log scale)"
        assert axes.get_title(loc="right") == CLIENTS

    def test_more_threads_than_cores_are_hollow(self, report):
        (axes,) = report.concurrency().axes
        faces = [line.get_markerfacecolor() for line in axes.get_lines() if line.get_marker() == "o"]
        assert [face == "white" for face in faces[:3]] == [False, False, True]

    def test_batches_by_size(self, report):
        (axes,) = report.batches().axes
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "150"]
        assert axes.get_xlabel() == "queries in a batch (log scale)"
        assert axes.get_title(loc="right") == "on 2 threads; bars: slowest and fastest round"

    def test_several_encoders_are_drawn_one_by_one(self):
        both = fake()
        for point in both.results["points"]:
            point["batches"] = [batch(1, 900.0 if point["encoder"] == "scenes" else 450.0)]
        first, second = both.results["encoders"]
        for encoder, rate in ((first, 900.0), (second, 450.0)):
            (axes,) = both.batches(encoder=encoder["name"]).axes
            assert {line.get_ydata()[0] for line in axes.get_lines() if line.get_marker() == "o"} == {rate}
            assert axes.get_title(loc="right").startswith(encoder["name"][:20])

    def test_figures_that_no_logarithm_has_are_left_out(self, report):
        def change(results):
            results["points"][0]["concurrency"][1]["throughput_qps"]["value"] = 0.0
            results["points"][0]["batches"][1]["value"] = 0.0

        odd = changed(report, change)
        assert "Flat" not in texts(odd.concurrency())
        assert "Flat" not in texts(odd.batches())

    def test_what_was_not_measured_has_no_picture(self, bare):
        with pytest.raises(InputError) as error:
            bare.concurrency()
        assert str(error.value) == (
            "No clients at once were timed. The plot shows points under load. "
            "Run with clients=(1, 2, 4) or --clients."
        )
        with pytest.raises(InputError) as error:
            bare.batches()
        assert str(error.value) == (
            "No sizes of batches were timed. The plot shows sizes. "
            "Run with batches=(1, 32, 512) or --batches."
        )

    def test_hostile_names_stay_text(self, report):
        def change(results):
            for point in results["points"]:
                if point["index"] == "Flat":
                    continue
                point["index"] = "<b>$x$_"

        svg = plots.svg(changed(report, change).concurrency())
        assert "<b>" not in svg
        assert "&lt;b&gt;$x$_" in svg

    def test_the_page_has_them_and_a_report_without_has_not(self, report, bare, tmp_path):
        page = (report.save(tmp_path / "with") / "index.html").read_text(encoding="utf-8")
        assert '<figure aria-label="clients at once">' in page
        assert '<figure aria-label="size of a batch">' in page
        page = (bare.save(tmp_path / "without") / "index.html").read_text(encoding="utf-8")
        assert "clients at once" not in page


class TestForm:
    def test_saved_loads_are_read_again(self, report, tmp_path):
        again = Report.load(report.save(tmp_path / "out"))
        assert again.results["points"][0]["concurrency"] == report.results["points"][0]["concurrency"]
        assert again.table(details=True) == report.table(details=True)
        assert again.verify() == []

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                lambda point: point["concurrency"][0].pop("efficiency"),
                r"concurrency\[0\].efficiency is missing",
            ),
            (lambda point: point["concurrency"][1].update(threads=2), r"concurrency\[1\].threads is 2"),
            (lambda point: point["batches"][0].pop("ms_per_batch"), r"batches\[0\].ms_per_batch is missing"),
        ],
    )
    def test_other_forms_are_refused(self, report, change, said):
        with pytest.raises(InputError, match=rf"^results.points\[0\].{said}"):
            changed(report, lambda results: change(results["points"][0]))
