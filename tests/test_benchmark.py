"""The whole experiment: what goes in is checked, what comes out is true, repeatable, and saved whole."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import pytrec_eval

import imgbench as ib
from imgbench import Corpus, Embeddings, Encoder, InputError, Qrels, Report, benchmark, extras
from imgbench.grids import default_indexes
from imgbench.index import Index, IndexSpec, kept
from imgbench.points import Protocol

QUICK = Protocol(latency_calls=20, throughput_repeats=1, threads=2)
INDEXES = ("IVF8,Flat?nprobe=1,8", "HNSW16?efSearch=16,256")
MEASURES = ("nDCG@10", "AP@10", "R@10", "P@10", "Success@1")


class Colours(Encoder):
    """Knows a picture by the mean colour of nine tiles, a text by the picture of that caption."""

    name, dim = "colours", 27

    def __init__(self, captions: dict[str, np.ndarray], noise: float = 0.0) -> None:
        self.captions, self.noise = captions, noise

    def _images(self, images: list) -> np.ndarray:
        return np.array([tiles(image) for image in images])

    def _texts(self, texts: list[str]) -> np.ndarray:
        dice = np.random.default_rng(0)
        return np.array([self.captions[text] + self.noise * dice.normal(size=27) for text in texts])

    def identity(self) -> dict[str, object]:
        return {"name": self.name, "noise": self.noise}


def tiles(image) -> np.ndarray:
    small = np.asarray(image.resize((3, 3)), dtype=np.float64) - 127.5
    return small.reshape(-1)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.load("scenes:400", queries=120)


def encoder_of(corpus: Corpus, noise: float) -> Colours:
    captions = {text: tiles(corpus.images[row // 2]) for row, text in enumerate(corpus.query_texts)}
    return Colours(captions, noise)


@pytest.fixture(scope="module")
def report(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Report:
    cache = tmp_path_factory.mktemp("cache")
    model = encoder_of(corpus, 20.0)
    return benchmark(corpus, model, indexes=INDEXES, measures=MEASURES, protocol=QUICK, cache=cache)


def point(report: Report, key: str) -> dict:
    return next(each for each in report.results["points"] if each["key"] == key)


def test_exact_search_comes_first_and_is_compared_with_nothing(report: Report) -> None:
    keys = [each["key"] for each in report.results["points"]]
    assert keys == [
        "Flat", "IVF8,Flat?nprobe=1", "IVF8,Flat?nprobe=8", "HNSW16?efSearch=16", "HNSW16?efSearch=256",
    ]  # fmt: skip
    assert report.results["points"][0]["delta"] == {}
    assert report.results["points"][0]["overlap@10"] == 1.0


def test_probing_every_list_loses_nothing(report: Report) -> None:
    found = point(report, "IVF8,Flat?nprobe=8")
    assert found["overlap@10"] == 1.0
    for measure in MEASURES:
        assert found["delta"][measure]["mean"] == 0.0
        assert found["quality"][measure]["mean"] == point(report, "Flat")["quality"][measure]["mean"]


def test_a_large_ef_search_loses_nothing(report: Report) -> None:
    assert point(report, "HNSW16?efSearch=256")["overlap@10"] == 1.0


def test_probing_one_list_of_eight_loses_and_costs_less(report: Report) -> None:
    one, all_lists = point(report, "IVF8,Flat?nprobe=1"), point(report, "IVF8,Flat?nprobe=8")
    assert one["delta"]["nDCG@10"]["mean"] < -0.02
    assert one["overlap@10"] < 0.95
    assert one["distance_computations_per_query"] < all_lists["distance_computations_per_query"] / 2
    assert all_lists["distance_computations_per_query"] == 400 + 8


def test_saved_runs_scored_by_pytrec_eval_give_the_figures(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    qrels = Qrels.read_trec(tmp_path / "qrels.trec").to_dict()
    judge = pytrec_eval.RelevanceEvaluator(
        qrels, {"ndcg_cut_10", "map_cut_10", "recall_10", "P_10", "success_1"}
    )
    names = dict(zip(MEASURES, ("ndcg_cut_10", "map_cut_10", "recall_10", "P_10", "success_1"), strict=True))
    for each in results["points"]:
        scored = judge.evaluate(ib.Run.read_trec(tmp_path / each["run"]).to_dict())
        for ours, theirs in names.items():
            mean = sum(scored[query][theirs] if query in scored else 0.0 for query in qrels) / len(qrels)
            assert each["quality"][ours]["mean"] == pytest.approx(mean, abs=1e-9)


def test_the_saved_report_verifies_and_a_changed_figure_does_not(report: Report, tmp_path: Path) -> None:
    assert Report.load(report.save(tmp_path)).verify() == []
    path = tmp_path / "results.json"
    results = json.loads(path.read_text())
    results["points"][1]["quality"]["nDCG@10"]["mean"] += 1e-6
    path.write_text(json.dumps(results))
    assert any("nDCG@10" in sentence for sentence in Report.load(tmp_path).verify())


def test_deltas_are_the_differences_of_the_means(report: Report) -> None:
    exact = point(report, "Flat")["quality"]
    for each in report.results["points"][1:]:
        for measure, delta in each["delta"].items():
            assert delta["mean"] == pytest.approx(
                each["quality"][measure]["mean"] - exact[measure]["mean"], abs=1e-12
            )
            assert delta["low"] <= delta["mean"] <= delta["high"]


def test_the_means_are_those_of_the_rows_per_query(report: Report) -> None:
    frame = report.per_query
    assert len(frame) == 5 * 5 * 120
    means = frame.groupby(["point", "measure"], observed=True)["value"].mean()
    for each in report.results["points"]:
        for measure, quality in each["quality"].items():
            assert means[each["key"], measure] == pytest.approx(quality["mean"], abs=1e-12)


def timeless(results: dict) -> dict:
    """Results without what a clock decides."""
    bare = copy.deepcopy(results)
    bare.pop("baseline_drift")
    bare.pop("profile")
    bare["environment"].pop("threads")
    bare["environment"].pop("git")  # somebody may commit meanwhile
    for encoder in bare["encoders"]:
        encoder.pop("images_per_second")
        encoder.pop("cached", None)
    for each in bare["points"]:
        for name in ("latency_ms", "throughput_qps", "train_seconds", "add_seconds"):
            each.pop(name)
    return bare


def test_the_same_results_but_for_times_whatever_the_threads(corpus: Corpus, report: Report) -> None:
    one = Protocol(latency_calls=20, throughput_repeats=1, threads=1)
    again = benchmark(
        corpus, encoder_of(corpus, 20.0), indexes=INDEXES, measures=MEASURES, protocol=one, cache=None
    )
    assert timeless(again.results) == timeless(report.results)


def test_the_profile_names_every_stage_and_adds_up(report: Report) -> None:
    found = report.results["profile"]
    stages = {each["stage"]: each for each in found["stages"]}
    assert stages["search HNSW16?efSearch=16"]["items"] == 120
    assert stages["build IVF8,Flat"]["items"] == 400
    assert stages["latency"]["items"] == 0  # its seconds hold calls that are not timed
    assert stages["throughput"]["items"] == 5 * 120
    whole = sum(each["seconds"] for each in found["stages"] if each["depth"] == 0)
    assert whole <= found["seconds"]
    for each in found["stages"]:
        assert each["faiss_seconds"] <= each["seconds"]
    assert 0 < found["faiss_seconds"] < found["seconds"]
    assert "search IVF8,Flat?nprobe=1" in report.profile()


def test_several_encoders_side_by_side(corpus: Corpus) -> None:
    good, bad = encoder_of(corpus, 5.0), encoder_of(corpus, 60.0)
    good.name, bad.name = "good", "bad"
    found = benchmark(corpus, [good, bad], indexes=["IVF8,Flat?nprobe=8"], protocol=QUICK, cache=None)
    differences = {each["measure"]: each for each in found.results["encoder_differences"]}
    quality = [
        each["quality"]["nDCG@10"]["mean"] for each in found.results["points"] if each["key"] == "Flat"
    ]
    assert differences["nDCG@10"]["mean"] == pytest.approx(quality[0] - quality[1], abs=1e-12)
    assert differences["nDCG@10"]["low"] > 0
    table = found.table("markdown")
    assert "good" in table
    assert "bad" in table


def test_vectors_that_exist_already(corpus: Corpus) -> None:
    images, queries = ib.embed(corpus, encoder_of(corpus, 20.0), cache=None)
    from_vectors = benchmark(corpus.qrels, {"mine": (images, queries)}, indexes=INDEXES, protocol=QUICK)
    from_corpus = benchmark(corpus, {"mine": (images, queries)}, indexes=INDEXES, protocol=QUICK)
    for mine, theirs in zip(from_vectors.results["points"], from_corpus.results["points"], strict=True):
        for measure, quality in mine["quality"].items():
            assert quality["mean"] == pytest.approx(theirs["quality"][measure]["mean"], abs=1e-12)
    assert from_vectors.results["corpus"]["images"] == 400


def test_images_without_a_vector_are_counted(corpus: Corpus) -> None:
    images, queries = ib.embed(corpus, encoder_of(corpus, 20.0), cache=None)
    some = images.select(range(1, 400))
    found = benchmark(corpus.qrels, {"mine": (some, queries)}, indexes=[], protocol=QUICK)
    assert found.results["corpus"]["missing_images"] == 1
    assert found.results["corpus"]["judged_queries"] == 120


def test_indexes_are_not_built_twice(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    real = ib.Index.build

    def build(spec, *args, **options):
        built.append(spec.name)
        return real(spec, *args, **options)

    monkeypatch.setattr("imgbench.points.Index.build", build)
    grids = ["IVF8,Flat?nprobe=1", "Flat", "IVF8,Flat?nprobe=2"]
    benchmark(corpus, encoder_of(corpus, 20.0), indexes=grids, protocol=QUICK, cache=None)
    assert built == ["Flat", "IVF8,Flat"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"indexes": ["IVF8,Flat?nprob=1"]}, "nprob"),
        ({"indexes": ["IVF800,Flat"]}, "800"),
        ({"indexes": ["HSNW32"]}, "HSNW32"),
        (
            {"indexes": ["SQ8", "SQ8"]},
            "The point 'SQ8' came twice. Each is measured once. Remove one of them.",
        ),
        ({"measures": ["nDGC@10"]}, "Did you mean 'nDCG@10'?"),
        ({"k": 0}, "k is 0. The corpus has 400 images. Choose k from 1 to 400."),
        ({"k": "ten"}, "k is 'ten'. The corpus has 400 images."),
        ({"k": 401}, "k is 401. The corpus has 400 images. Choose k from 1 to 400."),
        (
            {"k": 5},
            "k is 5. The measures look at 10 images. Choose k from 10, or leave it out.",
        ),
        ({"seed": -1}, "The seed is -1. It is a whole number below 1,000,000,000."),
        ({"margin": -0.1}, "The margin is -0.1."),
        ({"margin": "a"}, "The margin is 'a'. It is a loss of 0 or more. Pass for example 0.005, or "),
        ({"margin": {"nDCG@10": [1]}}, "The margin is [1]."),
        ({"confidence": "0.9"}, "The confidence is '0.9'."),
        ({"confidence": 2}, "The confidence is 2."),
    ],
)
def test_wrong_settings_are_found_before_any_image_is_read(
    corpus: Corpus, options: dict, message: str
) -> None:
    class Blind(Colours):
        def _images(self, images: list) -> np.ndarray:
            raise AssertionError("an image was read")

    with pytest.raises(InputError) as error:
        benchmark(corpus, Blind({}), protocol=QUICK, cache=None, **options)
    assert message in str(error.value)


@pytest.mark.parametrize("setting", ["latency_calls", "throughput_repeats", "threads"])
def test_a_protocol_that_times_nothing_is_refused(setting: str) -> None:
    with pytest.raises(InputError, match=f"{setting} is 0. Timing needs at least 1."):
        Protocol(**{setting: 0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": "2"}, "threads is '2'. Timing needs at least 1."),
        ({"latency_calls": 1.5}, "latency_calls is 1.5. Timing needs at least 1."),
        # OpenMP ended the whole process here.
        ({"threads": 100_000}, "threads is 100000. This process may use "),
    ],
)
def test_a_protocol_that_cannot_work_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        Protocol(**settings)
    assert message in str(error.value)


def test_one_index_may_come_without_a_list(corpus: Corpus) -> None:
    found = benchmark(corpus, encoder_of(corpus, 20.0), indexes="SQ8", protocol=QUICK, cache=None)
    assert [each["key"] for each in found.results["points"]] == ["Flat", "SQ8"]


def test_a_measure_without_a_cutoff_sees_more_than_another_measures_cutoff(corpus: Corpus) -> None:
    both = {"indexes": (), "protocol": QUICK, "cache": None}
    found = benchmark(corpus, encoder_of(corpus, 20.0), measures=["R@1", "AP"], **both)
    alone = benchmark(corpus, encoder_of(corpus, 20.0), measures=["AP"], **both)
    assert point(found, "Flat")["quality"]["AP"] == point(alone, "Flat")["quality"]["AP"]


def test_an_unreadable_image_is_counted_even_where_every_image_is_asked_for() -> None:
    scenes = Corpus.load("scenes:10", queries=20)
    images = dict(zip(scenes.image_ids, scenes.images, strict=True)) | {"scene_000003": b"broken"}
    queries = dict(zip(scenes.query_ids, scenes.query_texts, strict=True))
    broken = Corpus.build(name="broken", images=images, queries=queries, qrels=scenes.qrels)
    found = benchmark(broken, encoder_of(scenes, 20.0), indexes=["SQ8"], protocol=QUICK, cache=None)
    assert found.results["encoders"][0]["unreadable_images"] == 1
    assert (
        "unreadable images: 1, without a vector in colours, so never found "
        "(scene_000003: no image format that Pillow knows)." in found.results["corpus"]["notices"]
    )
    assert "scene_000003" in found.table("markdown")


def test_judged_queries_without_a_vector_are_counted(corpus: Corpus) -> None:
    images, queries = ib.embed(corpus, encoder_of(corpus, 20.0), cache=None)
    some, fewer = queries.select(range(2, 120)), images.select(range(1, 400))
    spaces = {"whole": (images, queries), "mine": (fewer, some)}
    found = benchmark(corpus.qrels, spaces, indexes=(), protocol=QUICK)
    unasked, unseen = found.results["corpus"]["notices"]
    assert unasked.startswith("judged queries without a vector: 2, which score 0 in mine (")
    assert unseen == "relevant images without a vector: 1, so never found in mine (scene_000000)."


def test_the_report_says_where_an_index_trained_on_too_few_images(corpus: Corpus) -> None:
    grid = ["IVF32,Flat?nprobe=1,2"]
    found = benchmark(corpus, encoder_of(corpus, 20.0), indexes=grid, protocol=QUICK, cache=None)
    (notice,) = found.results["corpus"]["notices"]
    assert notice.startswith(
        "IVF32,Flat: IVF trains 32 centroids on 400 vectors: FAISS advises at least 1,248"
    )
    assert "FAISS advises at least 1,248" in found.table("markdown")


def test_wrong_subjects(corpus: Corpus) -> None:
    model = encoder_of(corpus, 20.0)
    rows = Embeddings(["a", "b"], np.eye(2, dtype=np.float32))
    wide = Embeddings(["a", "b"], np.eye(2, 3, dtype=np.float32))
    with pytest.raises(InputError, match="The encoder 'colours' came twice"):
        benchmark(corpus, [model, model])
    with pytest.raises(InputError, match=r"No vectors came\. A benchmark needs some\."):
        benchmark({"q": {"a": 1}}, {})
    with pytest.raises(InputError, match="Judgements came without images"):
        benchmark({"q": {"a": 1}}, "scenes")
    with pytest.raises(InputError, match="The images of mine came as ndarray"):
        benchmark({"a": {"a": 1}}, {"mine": (rows.vectors, rows.vectors)})
    with pytest.raises(InputError, match="A dict came"):
        ib.Evaluator({"a": {"a": 1}}).score({"a": {"a": 1.0}})
    with pytest.raises(InputError, match="have 2 dimensions and its queries 3"):
        benchmark({"a": {"a": 1}}, {"mine": (rows, wide)})
    with pytest.raises(InputError, match="among the queries of mine"):
        benchmark({"q": {"a": 1}}, {"mine": (rows, rows)})
    # Every score would be 0, and every loss too.
    with pytest.raises(InputError, match=r"No judged image \(such as 'a.jpg'\) is among the images of mine"):
        benchmark({"a": {"a.jpg": 1}}, {"mine": (rows, rows)})


@pytest.mark.parametrize("images", [100, 400, 1000, 5000, 20_000, 68_154, 1_000_000])
def test_the_default_grid_fits_every_corpus(images: int) -> None:
    for dim in (27, 31, 128, 512, 768, 1024, 1152):
        for spec in default_indexes(images, dim):
            ib.Index.check(spec, dim=dim, images=images)


def test_the_grid_has_to_fit_the_smallest_of_several_spaces(corpus: Corpus) -> None:
    images, queries = ib.embed(corpus, encoder_of(corpus, 20.0), cache=None)
    spaces = {"all": (images, queries), "few": (images.select(range(50)), queries)}
    with pytest.raises(InputError, match="50"):
        benchmark(corpus.qrels, spaces, indexes=["IVF100,Flat"], protocol=QUICK)


def test_every_point_makes_all_its_calls(report: Report) -> None:
    assert {point["latency_ms"]["queries"] for point in report.results["points"]} == {QUICK.latency_calls}
    assert {point["throughput_qps"]["repeats"] for point in report.results["points"]} == {1}
    assert "median of 1." in report.table("markdown")


def test_builds_widen_the_intervals_and_are_saved(corpus: Corpus, tmp_path: Path) -> None:
    indexes = ["IVF8,Flat?nprobe=1,8", "SQ8"]
    encoder, options = encoder_of(corpus, 20.0), {"cache": None, "protocol": QUICK, "indexes": indexes}
    one = benchmark(corpus, encoder, **options)
    found = benchmark(corpus, encoder, builds=3, **options)
    points = {point["key"]: point for point in found.results["points"]}
    assert "builds" not in points["Flat"]
    probed = points["IVF8,Flat?nprobe=1"]
    assert [each["seed"] for each in probed["builds"]] == [1, 2]
    for measure, delta in probed["delta"].items():
        means = delta["builds"]["means"]
        assert means[0] == one.results["points"][1]["delta"][measure]["mean"]
        assert delta["mean"] == pytest.approx(np.mean(means))
        assert delta["builds"]["spread"] == pytest.approx(np.std(means, ddof=1))
        assert delta["low"] < delta["builds"]["queries"]["low"] < delta["mean"]
    # Other lists are another loss; every list is every image, and SQ8 has the same codes in any order.
    assert probed["delta"]["nDCG@10"]["builds"]["spread"] > 0
    for key in ("IVF8,Flat?nprobe=8", "SQ8"):
        assert len(set(points[key]["delta"]["nDCG@10"]["builds"]["means"])) == 1
    assert points["IVF8,Flat?nprobe=8"]["delta"]["nDCG@10"]["changed"] == 0
    again = Report.load(found.save(tmp_path / "out"))
    assert again.verify() == []
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 4 + 3 * 2
    text = again.table(details=True)
    assert "mean over 3 builds" in text
    assert "Builds: what another training and order of insertion change" in text
    other = probed["builds"][1]["run"]
    (tmp_path / "out" / other).write_bytes((tmp_path / "out" / points["Flat"]["run"]).read_bytes())
    assert any("by one build" in sentence for sentence in Report.load(tmp_path / "out").verify())


def test_relative_margins_follow_exact_search(report: Report, corpus: Corpus, tmp_path: Path) -> None:
    encoder = encoder_of(corpus, 20.0)
    options = {
        "cache": None,
        "protocol": QUICK,
        "indexes": ["IVF8,Flat?nprobe=1"],
        "measures": ["nDCG@10", "P@10"],
    }
    found = benchmark(corpus, encoder, margin={"nDCG@10": "2%", "P@10": 0.01}, **options).results
    exact = found["points"][0]["quality"]["nDCG@10"]["mean"]
    assert found["margin"] == {"nDCG@10": pytest.approx(0.02 * exact), "P@10": 0.01}
    assert found["margin_given"] == {"nDCG@10": "2%", "P@10": "0.01"}
    assert found["points"][1]["delta"]["nDCG@10"]["margin"] == found["margin"]["nDCG@10"]


def test_each_space_has_its_own_relative_margin(corpus: Corpus, tmp_path: Path) -> None:
    sharp, blurred = encoder_of(corpus, 5.0), encoder_of(corpus, 60.0)
    spaces = {name: ib.embed(corpus, model, cache=None) for name, model in (("a", sharp), ("b", blurred))}
    found = benchmark(corpus, spaces, indexes="SQ8", measures=["nDCG@10"], margin="4%", protocol=QUICK)
    margins = {}
    for point in found.results["points"][1::2]:
        exact = next(
            p for p in found.results["points"] if p["key"] == "Flat" and p["encoder"] == point["encoder"]
        )
        margins[point["encoder"]] = point["delta"]["nDCG@10"]["margin"]
        assert margins[point["encoder"]] == pytest.approx(0.04 * exact["quality"]["nDCG@10"]["mean"])
    assert margins["a"] > 1.2 * margins["b"]
    assert found.results["margin"]["nDCG@10"] == margins["b"]  # the strictest
    headlines = [line for line in found.table("markdown").splitlines() if "within 4%" in line]
    assert [f"{bound:.4f}" in line for bound, line in zip(margins.values(), headlines, strict=True)] == [
        True
    ] * 2
    assert found.verify() == []
    wrong = copy.deepcopy(found.results)
    wrong["points"][1]["delta"]["nDCG@10"]["margin"] = 0.9
    said = Report(wrong, found.per_query, found.runs, found.qrels).verify()
    assert any("the margin of nDCG@10 is 0.9 in results.json" in sentence for sentence in said)


def test_a_margin_beyond_the_score_is_refused_after_exact_search(corpus: Corpus) -> None:
    message = r"The margin for nDCG@10 is 0\.99 and exact search scores 0\.\d+\. No search could lose more"
    with pytest.raises(InputError, match=message):
        benchmark(corpus, encoder_of(corpus, 20.0), margin=0.99, cache=None, protocol=QUICK)


def test_losses_by_parts_of_the_queries(corpus: Corpus, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    rows = [f"{query},{'even' if row % 2 else 'odd'}" for row, query in enumerate(corpus.query_ids)]
    labels.write_text("\n".join(["query_id,half", *rows]))
    found = benchmark(
        corpus, encoder_of(corpus, 20.0), indexes=["IVF8,Flat?nprobe=1"], measures=["nDCG@10", "P@10"],
        strata=labels, cache=None, protocol=QUICK,
    )  # fmt: skip
    parts = [part for part in found.results["strata"] if part["measure"] == "nDCG@10"]
    assert {part["strata"] for part in parts} == {"query length", "half"}  # all clusters are of one size
    delta = found.results["points"][1]["delta"]["nDCG@10"]["mean"]
    for name in ("query length", "half"):
        some = [part for part in parts if part["strata"] == name]
        assert sum(part["queries"] for part in some) == len(corpus.query_ids)
        total = sum(part["queries"] * part["points"][0]["mean"] for part in some if part["points"])
        missing = sum(part["queries"] for part in some if not part["points"])
        assert missing == 0
        assert total / len(corpus.query_ids) == pytest.approx(delta)
    html = found.table("html")
    assert "Δ nDCG@10 by half" in html
    assert "even (" in html


def test_lost_overlap_is_set_against_lost_quality(report: Report) -> None:
    for point in report.results["points"][1:]:
        found = point["overlap_quality"]["nDCG@10"]
        queries = [each["queries"] for each in found["bins"]]
        assert sum(queries) == report.results["corpus"]["judged_queries"]
        overlap = 1 - np.average([each["lost"] for each in found["bins"]], weights=queries)
        assert overlap == pytest.approx(point["overlap@10"])
        mean = np.average([each["mean"] for each in found["bins"]], weights=queries)
        assert mean == pytest.approx(point["delta"]["nDCG@10"]["mean"], abs=1e-12)
    assert report.results["points"][1]["overlap_quality"]["nDCG@10"]["pearson"] > 0


def test_funnels_end_at_the_points(corpus: Corpus, tmp_path: Path) -> None:
    found = benchmark(
        corpus, encoder_of(corpus, 20.0), indexes=["IVF8,SQ4?nprobe=1,8", "HNSW16", "PCA8,Flat"], funnel=True,
        measures=["nDCG@10"], cache=None, protocol=QUICK,
    )  # fmt: skip
    points = {point["key"]: point for point in found.results["points"]}
    assert "funnel" not in points["Flat"]
    names = {
        key: [step["step"] for step in point["funnel"]["steps"]]
        for key, point in points.items()
        if key != "Flat"
    }
    start = ["fp32", "stored precision (float16)"]
    assert names == {
        "IVF8,SQ4?nprobe=1": [*start, "quantiser (SQ4)", "search (nprobe=1)"],
        "IVF8,SQ4?nprobe=8": [*start, "quantiser (SQ4)", "search (nprobe=8)"],
        "HNSW16": [*start, "search (efSearch=16)"],
        "PCA8,Flat": [*start, "transform (PCA8)"],
    }
    for key in names:
        steps = points[key]["funnel"]["steps"]
        assert steps[1]["mean"]["nDCG@10"] == points["Flat"]["quality"]["nDCG@10"]["mean"]
        assert steps[-1]["mean"]["nDCG@10"] == pytest.approx(points[key]["quality"]["nDCG@10"]["mean"])
        changes = sum(step["delta"]["nDCG@10"]["mean"] for step in steps[2:])
        assert changes == pytest.approx(points[key]["delta"]["nDCG@10"]["mean"])
    assert points["IVF8,SQ4?nprobe=8"]["funnel"]["steps"][-1]["delta"]["nDCG@10"]["changed"] == 0
    assert "Where the loss arises" in Report.load(found.save(tmp_path / "out")).table(details=True)


def test_a_funnel_that_cannot_be_had_is_said(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InputError("Its codes are hidden.", "A funnel compares them all.", "Leave it out.")

    monkeypatch.setattr(extras, "index_steps", refuse)
    found = benchmark(
        corpus, encoder_of(corpus, 20.0), indexes="SQ8", funnel=True, cache=None, protocol=QUICK
    )
    assert "No funnel of SQ8: Its codes are hidden." in "\n".join(found.results["corpus"]["notices"])
    assert "funnel" not in found.results["points"][1]


def test_the_distractor_curve_ends_at_exact_search(corpus: Corpus, tmp_path: Path) -> None:
    found = benchmark(
        corpus, encoder_of(corpus, 20.0), indexes="SQ8", measures=["nDCG@10", "RR", "Judged@10"], curve=True,
        cache=None, protocol=QUICK,
    )  # fmt: skip
    curve = found.results["distractor_curves"]["colours"]
    at = curve["sizes"].index(400)
    assert list(curve["quality"]) == ["nDCG@10", "RR"]
    assert "No distractor curve of Judged@10." in found.results["corpus"]["notices"]
    for name, quality in curve["quality"].items():
        exact = found.results["points"][0]["quality"][name]
        assert quality["mean"][at] == pytest.approx(exact["mean"], abs=1e-9)
        assert quality["mean"] == sorted(quality["mean"], reverse=True)  # more distractors, less quality
    assert curve["sizes"][-1] > 400
    again = Report.load(found.save(tmp_path / "out"))
    assert again.curve("RR").axes[0].get_ylabel() == "expected RR of exact search, 95% interval"
    assert "Exact search by corpus size" in again.table(details=True)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "<h2>Corpus size</h2>" in page
    assert "<h2>Overlap against quality</h2>" in page
    with pytest.raises(InputError, match=r"'Judged@10' is not a measure of the distractor curve"):
        again.curve("Judged@10")


def test_what_the_corpus_can_prove_is_said_beforehand(corpus: Corpus, capsys: pytest.CaptureFixture) -> None:
    found = benchmark(
        corpus, encoder_of(corpus, 20.0), indexes="SQ8", cache=None, protocol=QUICK, progress=True
    )
    plan = found.results["corpus"]["detectable"]
    assert plan["floor"] == pytest.approx(1 - 0.025 ** (1 / 60), rel=0.01)  # 60 clusters, 1 point
    said = capsys.readouterr().err
    assert said.startswith("With 60 clusters of queries and 1 point a search that changes nothing proves")
    table = found.table()
    assert "Warning: a margin of 0.005 is hardly ever proven for nDCG@10 here" in " ".join(table.split())
    wide = benchmark(corpus, encoder_of(corpus, 20.0), indexes="SQ8", margin=0.09, cache=None, protocol=QUICK)
    assert "hardly ever" not in wide.table()


def test_a_second_run_encodes_and_builds_nothing(corpus: Corpus, tmp_path: Path) -> None:
    def run() -> Report:
        model = encoder_of(corpus, 20.0)
        return benchmark(corpus, model, indexes=INDEXES, builds=2, protocol=QUICK, cache=tmp_path, seed=3)

    first = run()
    build = mock.Mock(side_effect=Index.build)
    with mock.patch.object(kept.Index, "build", build), mock.patch.object(Colours, "_images") as encode:
        second = run()
    assert [str(call.args[0].name) for call in build.call_args_list] == ["Flat"]
    encode.assert_not_called()
    assert [run.results["encoders"][0]["cached"] for run in (first, second)] == [False, True]
    for run, built in ((first, 400), (second, 0)):  # of what was only read no rate is told
        items = {each["stage"]: each["items"] for each in run.results["profile"]["stages"]}
        assert items["build IVF8,Flat"] == 2 * built
        assert items["build Flat"] == 400
    cached = [each.pop("cached") for each in second.results["points"]]
    assert cached == [False, True, True, True, True]
    assert [each.pop("cached") for each in first.results["points"]] == [False] * 5
    assert timeless(second.results) == timeless(first.results)
    for mine, theirs in zip(second.results["points"], first.results["points"], strict=True):
        if mine["key"] != "Flat":
            assert mine["add_seconds"] == theirs["add_seconds"]


def test_the_report_says_whose_build_times_are_old(corpus: Corpus, tmp_path: Path) -> None:
    def told() -> str:
        return benchmark(
            corpus, encoder_of(corpus, 20.0), indexes=INDEXES, protocol=QUICK, cache=tmp_path
        ).table("markdown")

    assert "Read from the cache" not in told()
    again = told()
    assert (
        "Read from the cache, with the build times of an earlier run on this machine: IVF8,Flat, HNSW16."
    ) in again
    assert "Read from the cache, with the encoding rate (images/s) of an earlier run: colours." in again


def test_further_builds_are_kept_under_the_threads_that_built_them(corpus: Corpus, tmp_path: Path) -> None:
    asked: list[int | None] = []
    key = kept.Shelf.key

    def noted(self: kept.Shelf, spec: IndexSpec, *, seed: int, threads: int | None) -> str:
        asked.append(threads)
        return key(self, spec, seed=seed, threads=threads)

    three = replace(QUICK, threads=3)
    with mock.patch.object(kept.Shelf, "key", noted):
        benchmark(
            corpus, encoder_of(corpus, 20.0), indexes="IVF8,Flat", builds=2, protocol=three, cache=tmp_path
        )
    assert asked == [3, 3]
