"""A benchmark under load: what was asked for is measured for every point, saved, and read again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgbench import Embeddings, InputError, Qrels, Report, benchmark, cli, extras, options
from imgbench.cli import inputs
from imgbench.index import IndexSpec
from imgbench.loads import Loads
from imgbench.points import Protocol, measure
from imgbench.spaces import Space

QUICK = Protocol(latency_calls=20, throughput_repeats=1, threads=2)
INDEXES = ("IVF8,Flat?nprobe=1,8", "HNSW16?efSearch=16")


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    images = Embeddings.normalised([f"i{row}" for row in range(400)], rng.normal(size=(400, 16)))
    queries = Embeddings.normalised([f"q{row}" for row in range(60)], images.vectors[:60] + 0.1)
    return Qrels.from_dict({f"q{row}": {f"i{row}": 1} for row in range(60)}), images, queries


def measured(vectors, **asked) -> Report:
    qrels, images, queries = vectors
    settings = {"indexes": INDEXES, "protocol": QUICK, "cache": None} | asked
    return benchmark(qrels, {"made": (images, queries)}, **settings)


@pytest.fixture(scope="module")
def report(vectors) -> Report:
    return measured(vectors, clients=[2, 3], batches=[1, 16, 512], client_threads=2)


def test_every_point_is_measured_with_every_load_and_alone(report):
    assert len(report.results["points"]) == 4
    for point in report.results["points"]:
        loads = point["concurrency"]
        assert [load["clients"] for load in loads] == [1, 2, 3]
        assert [load["threads"] for load in loads] == [[2], [2, 2], [2, 2, 2]]
        assert all(load["latency_ms"]["queries"] >= 5 * load["clients"] for load in loads)
        assert loads[0]["efficiency"] == 1.0
        assert [each["batch"] for each in point["batches"]] == [1, 16, 60]
        assert {each["threads"] for each in point["batches"]} == {2}


def test_only_timed_calls_count_as_searching(report):
    (loads,) = [each for each in report.results["profile"]["stages"] if each["stage"] == "loads"]
    assert 0 < loads["faiss_seconds"] < loads["seconds"]


def test_all_queries_in_one_batch_are_the_throughput_of_the_table(report):
    for point in report.results["points"]:
        whole = dict(point["batches"][-1])
        assert whole.pop("ms_per_batch") == pytest.approx(1000 * 60 / whole["value"])
        assert whole == point["throughput_qps"]


def test_a_batch_beyond_the_queries_is_said(report):
    said = "Batches of 512 were asked for; there are 60 queries, which were searched in one batch instead."
    assert report.results["corpus"]["notices"].count(said) == 1


def test_the_threads_that_were_asked_for_are_written(report):
    assert report.results["environment"]["threads"] == {
        "latency": 1, "throughput": 2, "build": 2, "client": 2,
    }  # fmt: skip


def test_loads_change_nothing_else(report, vectors):
    bare = measured(vectors)
    assert "client" not in bare.results["environment"]["threads"]
    for with_loads, without in zip(report.results["points"], bare.results["points"], strict=True):
        assert set(with_loads) - set(without) == {"concurrency", "batches"}
        assert with_loads["quality"] == without["quality"]
        assert with_loads["delta"] == without["delta"]


def test_saved_and_read_again(report, tmp_path):
    again = Report.load(report.save(tmp_path / "out"))
    assert again.verify() == []
    assert again.results["points"] == report.results["points"]
    assert "Clients at once" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_batches_alone(vectors):
    points = measured(vectors, batches=["all"]).results["points"]
    assert all("concurrency" not in point and len(point["batches"]) == 1 for point in points)


def test_an_index_on_a_gpu_serves_one_at_a_time(vectors, monkeypatch):
    _, images, queries = vectors
    points = measure([IndexSpec.parse("Flat")], images, queries, k=5, protocol=QUICK)
    points = replace(points, points=(points.points[0], replace(points.points[0], key="gpu:Flat")))
    found = extras.loads(
        Space({}, images, queries), points, Loads(clients=[1], batches=["all"]), QUICK, 5, seed=0, say=print
    )
    assert set(found.loads["Flat"]) == {"concurrency", "batches"}
    assert set(found.loads["gpu:Flat"]) == {"batches"}
    assert found.notes == ("No clients at once for gpu:Flat: an index on a GPU answers one at a time.",)


@pytest.mark.parametrize(
    "wrong", [{"clients": [0]}, {"batches": [2.5]}, {"clients": [1], "client_threads": 0}]
)
def test_wrong_loads_are_refused_before_any_work(wrong):
    with pytest.raises(InputError, match=r"^(clients|batches|client_threads) has "):
        benchmark("no such corpus", **wrong)


class TestCommandLine:
    def test_numbers_between_commas(self):
        assert inputs.loads({"clients": "1,2, 4"}) == {"clients": [1, 2, 4]}
        assert inputs.loads({"batches": "-1,1.5,all,x"}) == {"batches": [-1, "1.5", "all", "x"]}
        assert inputs.loads({"clients": "", "batches": None}) == {}

    def test_a_file_holds_lists_or_texts(self, tmp_path: Path):
        kinds = {"clients": str, "batches": str, "client_threads": int}
        path = tmp_path / "bench.toml"
        path.write_text('clients = [1, 2]\nbatches = [1, "all"]\nclient-threads = 2', encoding="utf-8")
        assert options.read(path, kinds) == {"clients": "1,2", "batches": "1,all", "client_threads": 2}
        path.write_text('clients = "1,2"\nbatches = 32', encoding="utf-8")
        assert options.read(path, kinds) == {"clients": "1,2", "batches": "32"}
        path.write_text("clients = [1, 2.5]", encoding="utf-8")
        with pytest.raises(InputError) as error:
            options.read(path, kinds)
        assert str(error.value) == (
            f'clients in {path} is [1, 2.5]. Wanted whole numbers, such as [1, 2, 4] or "1,2,4". '
            "See 'imgbench run --help'."
        )

    def test_wrong_loads_are_three_sentences(self, capsys, monkeypatch):
        monkeypatch.setattr("sys.argv", ["imgbench", "run", "--clients", "1,two"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == cli.WRONG
        assert capsys.readouterr().err == (
            "imgbench: clients has 'two'. It takes whole numbers from 1 to 256. Pass clients=[1, 2, 4].\n"
        )

    def test_from_the_options_to_the_results(self, vectors, tmp_path: Path, capsys, monkeypatch):
        qrels, images, queries = vectors
        for name, each in (("images", images), ("queries", queries)):
            np.save(tmp_path / f"{name}.npy", each.vectors)
            (tmp_path / f"{name}.ids.txt").write_text("\n".join(each.ids), encoding="utf-8")
        qrels.write_trec(tmp_path / "qrels.trec")
        files = [f"--{name}={tmp_path / file}" for name, file in
                 (("images", "images.npy"), ("queries", "queries.npy"), ("qrels", "qrels.trec"))]  # fmt: skip
        asked = ["--clients", "2", "--batches", "16,all", "--client-threads", "2", "--latency-calls", "20"]
        out = ["--index", "SQ8", "--cache", str(tmp_path), "--out", str(tmp_path / "out")]
        monkeypatch.setattr("sys.argv", ["imgbench", "run", *files, *asked, *out])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        assert "Clients at once: up to 2 Python threads" in capsys.readouterr().out
        results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
        assert [load["threads"] for load in results["points"][1]["concurrency"]] == [[2], [2, 2]]
        assert [each["batch"] for each in results["points"][1]["batches"]] == [16, 60]
        monkeypatch.setattr("sys.argv", ["imgbench", "report", "--details", str(tmp_path / "out")])
        with pytest.raises(SystemExit):
            cli.main()
        told = capsys.readouterr().out
        assert "Clients at once" in told
        assert "batches of 16" in told
