from __future__ import annotations

import json
import runpy
from pathlib import Path

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from ir_measures import AP, RR, DefaultPipeline, nDCG

from imgbench.errors import InputError
from imgbench.evaluator import Evaluator
from imgbench.providers import ArrayProvider, sorted_run
from imgbench.qrels import Qrels
from imgbench.run import Run

OURS = [
    "nDCG@10", "nDCG@3", "nDCG", "AP@10", "AP", "AP(rel=2)@5", "R@10", "R(rel=2)@3", "P@10", "P(rel=3)@1",
    "Success@1", "Success(rel=2)@5", "RR", "RR(rel=2)",
]  # fmt: skip
TREC = {
    "nDCG@10": "ndcg_cut_10", "nDCG": "ndcg", "AP@10": "map_cut_10", "AP": "map", "R@10": "recall_10",
    "P@10": "P_10", "Success@5": "success_5", "RR": "recip_rank",
}  # fmt: skip


def world(seed: int) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Graded qrels with zeros and negatives, and a scored run with ties, gaps and unjudged images."""
    rng = np.random.default_rng(seed)
    names = [f"image {row}" if row % 3 else f"é{row}" for row in range(40)]
    qrels: dict[str, dict[str, int]] = {}
    scored: dict[str, dict[str, float]] = {}
    for q in range(30):
        judged = rng.choice(40, size=rng.integers(1, 15), replace=False)
        grades = rng.integers(-2, 1 if q % 7 == 0 else 5, size=len(judged))  # every 7th: nothing relevant
        qrels[f"q{q}"] = {names[row]: int(grade) for row, grade in zip(judged, grades, strict=True)}
        if q % 5:  # every 5th is not answered
            found = rng.choice(40, size=rng.integers(1, 25), replace=False)
            scored[f"q{q}"] = {names[row]: float(rng.integers(0, 8)) / 3 for row in found}
    scored["not judged"] = {names[0]: 1.0}
    return qrels, scored


def safe(qrels: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """The same with 0 for negative grades: below -1 pytrec_eval 0.5.11 corrupts memory, crashes or hangs."""
    return {query: {image: max(grade, 0) for image, grade in found.items()} for query, found in qrels.items()}


def per_query(results) -> dict[tuple[str, str], float]:
    return {(metric.query_id, str(metric.measure)): metric.value for metric in results}


@pytest.mark.parametrize("seed", range(12))
def test_array_provider_equals_pytrec_eval_on_any_scored_run(seed: int) -> None:
    qrels, scored = world(seed)
    measures = [ir_measures.parse_measure(name) for name in OURS]
    ours = per_query(ArrayProvider().iter_calc(measures, qrels, scored))
    theirs = per_query(DefaultPipeline.iter_calc(measures, safe(qrels), scored))
    assert ours.keys() == theirs.keys()
    assert all(abs(ours[key] - theirs[key]) < 1e-9 for key in theirs)


@pytest.mark.parametrize("seed", range(6))
def test_evaluator_equals_ir_measures_on_the_same_run(seed: int) -> None:
    qrels, scored = world(seed)
    run = sorted_run(scored)
    judge = Evaluator(qrels, [*OURS, "RR@10"])
    expected = ir_measures.calc_aggregate(judge.measures, safe(qrels), run.to_dict())
    assert judge.score(run) == pytest.approx({str(m): v for m, v in expected.items()}, abs=1e-9)


def test_written_run_scored_by_pytrec_eval_gives_our_figures(tmp_path: Path) -> None:
    # Scores that differ by less than float32 can hold, and ties: trec_eval would reorder both.
    rng = np.random.default_rng(5)
    images = [f"{row}.jpg" for row in range(200)]
    scores = 0.3 + rng.integers(0, 3, (50, 30)) * 1e-9
    rows = np.argsort(rng.random((50, 200)))[:, :30]
    queries = [f"q{q}" for q in range(50)]
    qrels = {
        q: {images[row]: 1 + n for n, row in enumerate(rng.choice(200, 20, replace=False))} for q in queries
    }
    run = Run.from_search(queries, images, scores, rows)
    with run.write_trec(tmp_path / "run.trec").open() as file:
        judged = pytrec_eval.RelevanceEvaluator(qrels, set(TREC.values())).evaluate(
            pytrec_eval.parse_run(file)
        )
    means = {name: np.mean([judged[q][theirs] for q in queries]) for name, theirs in TREC.items()}
    assert Evaluator(qrels, list(TREC)).score(run) == pytest.approx(means, abs=1e-9)
    assert 0 < means["nDCG@10"] < 1


def test_figures_anyone_can_check_by_hand() -> None:
    qrels = {"q": {"a": 3, "b": 1, "c": 2}, "unanswered": {"a": 1}, "nothing relevant": {"a": 0}}
    run = Run.from_search(["q"], ["a", "b", "x"], [[3.0, 2.0, 1.0]], [[2, 0, 1]])  # x, a, b
    judge = Evaluator(qrels, ["nDCG@3", "AP", "R@3", "P@2", "Success@1", "RR"])
    ideal = 3 + 2 / np.log2(3) + 1 / 2
    expected = [(3 / np.log2(3) + 1 / 2) / ideal, (1 / 2 + 2 / 3) / 3, 2 / 3, 1 / 2, 0, 1 / 2]
    assert judge.matrix(run)[:, 0] == pytest.approx(expected, abs=1e-15)
    assert list(judge.score(run).values()) == pytest.approx(np.array(expected) / 3, abs=1e-15)
    assert judge.matrix(run)[:, 1:].sum() == 0
    assert judge.missing(run) == 2


def test_measures_of_other_providers_come_from_them_in_the_order_asked() -> None:
    qrels, scored = world(3)
    run = sorted_run(scored)
    asked = ["Bpref", "nDCG@10", "Judged@10", "infAP", "AP@10", "RR@3", "NumRet", "nDCG(judged_only=True)@5"]
    found = Evaluator(qrels, asked).score(run)
    assert list(found) == asked
    for name in asked:
        measure = ir_measures.parse_measure(name)
        assert found[name] == pytest.approx(measure.calc_aggregate(safe(qrels), run.to_dict()), abs=1e-9), (
            name
        )


def test_gdeval_measures_work_with_ids_that_are_no_numbers() -> None:
    if not ir_measures.gdeval.is_available():
        pytest.skip("gdeval needs perl")
    run = Run.from_search(["a query"], ["an image", "b"], [[2.0, 1.0]], [[1, 0]])
    judge = Evaluator({"a query": {"an image": 1}, "other": {"b": 2}}, ["nDCG(dcg='exp-log2')@10", "ERR@10"])
    scores = judge.matrix(run)
    assert scores[:, 1].tolist() == [0, 0]
    assert scores[0, 0] == pytest.approx(1 / np.log2(3), abs=1e-5)  # gdeval prints 5 decimals
    assert scores[1, 0] == pytest.approx(0.5 / 16, abs=1e-5)  # (2^1 - 1) / 2^4 at rank 2


def test_a_users_own_measure_sees_the_real_ids() -> None:
    mine = ir_measures.define_byquery(lambda qrels, run: float("a b" in set(run["doc_id"])), name="Mine")
    run = Run.from_search(["q 1"], ["a b"], [[1.0]], [[0]])
    assert Evaluator({"q 1": {"a b": 1}, "q 2": {"a b": 1}}, [mine]).score(run) == {"Mine": 0.5}


def test_measure_objects_and_aliases_are_their_names() -> None:
    assert Evaluator({"q": {"a": 1}}, [nDCG @ 10, AP(rel=2) @ 5, RR, "NDCG@10", "Recall@5"]).names == (
        "nDCG@10",
        "AP(rel=2)@5",
        "RR",
        "R@5",
    )
    gains = Evaluator({"q": {"a": 1, "b": 2}}, "nDCG(gains={1: 0, 2: 1})@10")
    assert gains.score(Run.from_search(["q"], ["a", "b"], [[2.0, 1.0]], [[0, 1]])) == pytest.approx(
        {"nDCG(gains={1:0,2:1})@10": 1 / np.log2(3)}
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nDGC@10", "'nDGC@10' is not a measure. Known: .* Did you mean 'nDCG@10'?"),
        ("", "'' is not a measure. Known: "),
        ("nDCG@", "'nDCG@' does not parse as a measure. The form is Name(parameter=value)@cutoff. Write for"),
        ("nDCG@10; 1", "'nDCG@10; 1' does not parse as a measure."),
        ("nDCG(x)@10", "'nDCG(x)@10' does not parse as a measure."),
        ("nDCG@0", "'nDCG@0' has the cutoff 0. It needs a cutoff of 1 or more. Write for example 'nDCG@10'."),
        ("nDCG@2.5", "'nDCG@2.5' has cutoff=2.5. It needs a value of type int. Write for example 'nDCG@10'."),
        ("nDCG@True", "has cutoff=True. It needs a value of type int."),
        ("P", "'P' has no cutoff. It needs a cutoff. Write for example 'P@10'."),
        (
            "AP(rell=2)@10",
            "'rell' is not a parameter of AP. Known: cutoff, judged_only, rel. Did you mean 'rel'?",
        ),
        ("nDCG(dcg='log')@10", "has dcg='log'. It needs one of 'log2', 'exp-log2'."),
        (10, "A measure came as int. A measure is a name or an object of ir-measures. Pass 'nDCG@10'."),
    ],
)
def test_wrong_measures_are_named_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Evaluator({"q": {"a": 1}}, [name])
    head, _, tail = message.partition(".*")
    assert head in str(caught.value)
    assert tail.strip() in str(caught.value)


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(InputError, match=r"The qrels judge no query\. Scoring needs judgements\."):
        Evaluator({})
    with pytest.raises(InputError, match=r"A measure came as int\. A measure is a name"):
        Evaluator({"q": {"a": 1}}, 5)
    with pytest.raises(InputError, match=r"No measure came\. Scoring needs at least one\."):
        Evaluator({"q": {"a": 1}}, [])
    with pytest.raises(InputError, match=r"2 clusters came for 1 judged queries\."):
        Evaluator({"q": {"a": 1}}, clusters=[1, 2])
    with pytest.raises(InputError, match=r"1 queries have no cluster label"):
        Evaluator({"q": {"a": 1}}, clusters={"x": 1})
    judge = Evaluator({"q": {"a": 1}}, ["nDCG@10", "AP@10"])
    with pytest.raises(InputError, match=r"The margins lack AP@10\. Every measure needs one\."):
        judge.margins({"nDCG@10": 0.01})
    with pytest.raises(
        InputError, match=r"'R@10' is not a measure of this evaluator\. Known: AP@10, nDCG@10\."
    ):
        judge.margins({"R@10": 0.01})


def test_score_each_has_a_row_per_judged_query() -> None:
    qrels, scored = world(1)
    judge = Evaluator(qrels, ["AP", "nDCG@10"])
    frame = judge.score_each(sorted_run(scored))
    assert list(frame.columns) == ["AP", "nDCG@10"]
    assert list(frame.index) == list(qrels)
    assert frame.index.name == "query_id"
    assert frame.mean().to_dict() == pytest.approx(judge.score(sorted_run(scored)))


def test_runs_over_other_catalogues_in_turn() -> None:
    # The evaluator keeps the last catalogue's rows: another one must not be read by them.
    judge = Evaluator({"q": {"a": 1}}, ["Success@1"])
    first = Run.from_search(["q"], ["a", "b"], [[1.0]], [[0]])
    second = Run.from_search(["q"], ["b", "a"], [[1.0]], [[0]])
    assert [judge.score(run)["Success@1"] for run in (first, second, first)] == [1, 0, 1]


def test_clusters_follow_the_single_relevant_image() -> None:
    judge = Evaluator({"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 1, "b": 1}}, clusters=None)
    assert judge.clusters.tolist() == [0, 0, 1]
    given = Evaluator({"q1": {"a": 1}, "q2": {"a": 1}}, clusters={"q2": "x", "q1": "y"})
    assert given.clusters.tolist() == [0, 1]


def _compared() -> tuple[Evaluator, Run, Run, Run]:
    rng = np.random.default_rng(0)
    images = [f"i{row}" for row in range(50)]
    queries = [f"q{q}" for q in range(600)]
    scores = np.linspace(1, 0, 50)[None].repeat(600, 0)
    rows = np.argsort(rng.random((600, 50)))
    exact = Run.from_search(queries, images, scores, rows)
    near = rows.copy()
    near[::40, [0, 1]] = near[::40, [1, 0]]
    far = np.argsort(rng.random((600, 50)))
    qrels = {q: {images[rows[n, 0]]: 1} for n, q in enumerate(queries)}
    judge = Evaluator(qrels, ["nDCG@10", "R@10"], range(600))  # with the default 50 clusters, one an image
    return (
        judge,
        exact,
        Run.from_search(queries, images, scores, near),
        Run.from_search(queries, images, scores, far),
    )


def test_compare_says_what_the_scores_say() -> None:
    judge, exact, near, far = _compared()
    found = judge.compare(near, exact, margin=0.05)
    assert list(found) == ["nDCG@10", "R@10"]
    assert found["nDCG@10"].mean == pytest.approx(
        judge.score(near)["nDCG@10"] - judge.score(exact)["nDCG@10"]
    )
    assert found["nDCG@10"].verdict == "holds"
    assert judge.compare(far, exact, margin=0.05)["nDCG@10"].verdict == "degrades"
    assert (
        judge.compare(near, exact, margin={"nDCG@10": 0.01, "R@10": 0.05})["nDCG@10"].verdict
        == "inconclusive"
    )


def test_many_runs_get_wider_bounds_than_one() -> None:
    judge, exact, near, far = _compared()
    alone = judge.compare(near, exact, margin=0.05)["nDCG@10"]
    together = judge.compare_many([near, far, exact], exact, margin=0.05)
    assert together[0]["nDCG@10"].mean == alone.mean
    assert together[0]["nDCG@10"].low < alone.low
    assert together[2]["nDCG@10"].mean == 0
    assert judge.compare_many([], exact) == []


def test_a_margin_may_be_a_share_of_the_exact_score() -> None:
    judge, exact, near, _ = _compared()
    score = judge.score(exact)["nDCG@10"]
    found = judge.compare(near, exact, margin="2%")["nDCG@10"]
    assert found.margin == pytest.approx(0.02 * score)
    assert found == judge.compare(near, exact, margin=0.02 * score)["nDCG@10"]


def test_what_cannot_be_compared_is_refused() -> None:
    judge, exact, near, _ = _compared()
    with pytest.raises(
        InputError, match=r"The margin for nDCG@10 is 1 and exact search scores 1\. No search"
    ):
        judge.compare(near, exact, margin=1.0)
    fewer = Run(near.query_ids[:-2], near.image_ids, near.rows[:-2], near.scores[:-2])
    different = r"The runs answer different queries \(2, such as 'q598', in only one\)\. A paired difference"
    with pytest.raises(InputError, match=different):
        judge.compare(fewer, exact)
    with pytest.raises(InputError, match=different):
        judge.compare(exact, fewer)
    strangers = Run([f"x{q}" for q in range(600)], near.image_ids, near.rows, near.scores)
    with pytest.raises(InputError, match=r"None of the 600 queries is judged\. The judgements name queries"):
        judge.compare(strangers, strangers)
    with pytest.raises(
        InputError, match=r"A run holds 5 images a query, the truth 50\. The measures look at 10\."
    ):
        judge.compare(near.top(5), exact)
    assert judge.compare(near.top(10), exact)["nDCG@10"] == judge.compare(near, exact)["nDCG@10"]
    counts = Evaluator(judge.qrels, ["NumRet"], judge.clusters)
    with pytest.raises(InputError, match=r"NumRet of exact search is up to 50\. Verdicts are made for"):
        counts.compare(near, exact)
    few = Evaluator({f"q{q}": {"i1": 1} for q in range(9)}, ["nDCG@10"], range(9))
    with pytest.raises(
        InputError, match=r"There are 9 clusters of queries\. An interval needs at least 10\."
    ):
        few.compare(near, exact, margin=0.0)


def test_golden_files_are_what_the_script_writes(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "golden"
    runpy.run_path(str(golden / "write.py"))["main"](tmp_path)
    written = sorted(tmp_path.iterdir())
    assert len(written) == 3
    for path in written:
        assert path.read_bytes() == (golden / path.name).read_bytes(), path.name


def test_golden_scores() -> None:
    golden = Path(__file__).parent / "golden"
    expected = json.loads((golden / "scores.json").read_text())
    run = Run.read_trec(golden / "run.trec")
    assert Evaluator(golden / "qrels.trec", list(expected)).score(run) == pytest.approx(expected, abs=1e-9)


def test_a_study_sized_run_is_scored_without_dictionaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "to_dict", None)  # half a second and more for such a run
    monkeypatch.setattr(Evaluator, "_numbered_run", None)
    rng = np.random.default_rng(0)
    queries, images = [f"q{q}" for q in range(10_725)], [f"i{row}" for row in range(20_000)]
    rows = (rng.integers(0, 20_000, (10_725, 1)) + np.arange(100) * 199) % 20_000
    run = Run.from_search(queries, images, np.linspace(1, 0, 100)[None].repeat(10_725, 0), rows)
    judge = Evaluator(Qrels.from_rows(queries, [images[row] for row in rows[:, 3]], [1] * 10_725))
    scores = judge.matrix(run)
    assert scores.mean(axis=1) == pytest.approx([1 / np.log2(5), 1 / 4, 1, 0.1])


@pytest.mark.data
def test_published_hit_rates_of_the_dual_encoder(data: Path) -> None:
    folder = data / "vectors" / "bow-dual-256"
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    photos = np.load(folder / "flickr8k_images.npy").astype(np.float32)
    captions = np.load(folder / "test_captions.npy").astype(np.float32)
    test = [line for line in lines if line["array"] == "flickr8k_images" and line["split"] == "test"]
    asked = [line for line in lines if line["array"] == "test_captions"]
    gallery = [line["file"] for line in test]
    queries = [f"caption {line['row']}" for line in asked]
    qrels = Qrels.from_rows(queries, [line["file"] for line in asked], [1] * len(asked))
    judge = Evaluator(qrels, ["Success@1", "Success@5", "Success@10"])
    assert len(np.unique(judge.clusters)) == len(gallery) == 1000

    def hit_rates(ids: list[str], vectors: np.ndarray) -> list[float]:
        similarity = captions @ vectors.T
        rows = np.argpartition(-similarity, 10, axis=1)[:, :10]
        run = Run.from_search(queries, ids, np.take_along_axis(similarity, rows, axis=1), rows)
        return list(judge.score(run).values())

    shown = photos[[line["row"] for line in test]]
    assert hit_rates(gallery, shown) == pytest.approx([0.159, 0.396, 0.524], abs=0.002)
    others = np.load(folder / "distractors.npy").astype(np.float32)
    names = [f"distractor {row}" for row in range(len(others))]
    assert hit_rates(gallery + names, np.vstack([shown, others])) == pytest.approx(
        [0.138, 0.341, 0.455], abs=0.002
    )
