"""A funnel blames the step that lost, and its steps add up."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from photographs import ready

from imgbench import environment
from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.evaluator import Evaluator
from imgbench.funnel import Funnel, exact_steps, funnel, funnel_of, funnels_of, index_steps
from imgbench.index import Index, IndexSpec
from imgbench.run import Run
from imgbench.significance import Verdict

DIM, IMAGES = 32, 1500


@cache
def planted() -> tuple[Embeddings, Embeddings, Evaluator]:
    """1,500 unit vectors of 32 dimensions and two noisy queries for each of 500 of them, in clusters of two.

    Three quarters of the variance lie in the first 16 dimensions, so that some, not all, can go.
    """
    rng = np.random.default_rng(3)
    spread = np.where(np.arange(DIM) < 16, 1.7, 1.0)
    x = rng.normal(size=(IMAGES, DIM)) * spread
    asked = np.repeat(np.arange(500), 2)
    q = x[asked] + 0.8 * rng.normal(size=(1000, DIM)) * spread
    images = Embeddings.normalised([f"{row}.jpg" for row in range(IMAGES)], x.astype(np.float32))
    queries = Embeddings.normalised([f"q{row}" for row in range(1000)], q.astype(np.float32))
    qrels = {f"q{row}": {f"{image}.jpg": 1} for row, image in enumerate(asked)}
    return images, queries, Evaluator(qrels, ["nDCG@10", "Success@1"])


@cache
def built(spec: str) -> Index:
    return Index.build(spec, planted()[0])


@cache
def whole() -> Funnel:
    """Every step that there is."""
    return funnel("PCA12,IVF16,PQ4,RFlat?nprobe=2&k_factor=3", *planted(), stored="float16", dim=24)


def run_of(spec: str, **params: float) -> Run:
    return built(spec).search(planted()[1], 10, **params)


def test_every_step_stands_in_order():
    assert [step.name for step in whole().steps] == [
        "fp32",
        "stored precision (float16)",
        "dimensions (24 of 32)",
        "transform (PCA12)",
        "quantiser (PQ4, k_factor=3)",
        "search (nprobe=2)",
    ]
    assert [step.kind for step in whole().steps][1:4] == ["stored precision", "dimensions", "transform"]


@pytest.mark.parametrize("measure", ["nDCG@10", "Success@1"])
def test_the_steps_add_up_to_the_total(measure):
    first, *others = whole().steps
    changes = [step.delta[measure].mean for step in others]
    assert sum(changes) == pytest.approx(whole().total[measure].mean, abs=1e-12)
    assert sum(changes) == pytest.approx(others[-1].mean[measure] - first.mean[measure], abs=1e-12)
    assert np.abs(changes).max() > 0.02
    for before, after in zip(whole().steps, others, strict=False):
        change = after.mean[measure] - before.mean[measure]
        assert change == pytest.approx(after.delta[measure].mean, abs=1e-12)


@pytest.mark.parametrize(
    ("spec", "dim", "kind"),
    [
        ("IVF16,Flat?nprobe=1", None, "search"),
        ("HNSW4?efSearch=1", None, "search"),
        ("RR32,IVF16,SQ8?nprobe=1", None, "search"),
        ("RR32,IVF16,PQ4?nprobe=16", None, "quantiser"),
        ("HNSW16,SQtqmse1?efSearch=400", None, "quantiser"),
        ("IVF16_HNSW8,PQ4?nprobe=16&quantizer_efSearch=64", None, "quantiser"),
        ("RaBitQ?qb=8", None, "quantiser"),
        ("PCA8,IVF16,Flat?nprobe=16", None, "transform"),
        ("PCA8,SQ8", None, "transform"),
        ("RR12,IVF16,SQ8?nprobe=16", 12, "dimensions"),
    ],
)
def test_where_one_step_loses_it_gets_all_the_blame(spec, dim, kind):
    found = funnel(spec, *planted(), stored="float16", dim=dim)
    lost = {step.kind: step.delta["nDCG@10"] for step in found.steps[1:]}
    assert lost[kind].verdict is Verdict.DEGRADES
    assert lost[kind].mean < -0.1
    others = [change.mean for name, change in lost.items() if name != kind]
    assert np.abs(others).max() < 0.004
    assert found.total["nDCG@10"].verdict is Verdict.DEGRADES


def test_a_refinement_belongs_to_the_quantiser():
    lossy = funnel("PQ4", *planted()).steps[-1]
    refined = funnel("PQ4,RFlat?k_factor=150", *planted()).steps[-1]
    assert lossy.delta["nDCG@10"].mean < -0.1
    assert (refined.name, refined.delta["nDCG@10"].changed) == ("quantiser (PQ4, k_factor=150)", 0)
    assert refined.overlap == 1.0


def test_the_steps_are_the_searches_made_by_hand():
    images, queries, judge = planted()
    found = funnel("HNSW8,SQ4?efSearch=4", images, queries, judge, margin=0.01)
    by_hand = [run_of("Flat"), run_of("SQ4"), run_of("HNSW8,SQ4", efSearch=4)]
    for step, run in zip(found.steps, by_hand, strict=True):
        assert step.mean == pytest.approx(judge.score(run), abs=1e-9)
        assert step.run.overlap(run, 10) > 0.999
    after = judge.compare(found.steps[2].run, found.steps[1].run, margin=0.01)["nDCG@10"]
    step = found.steps[2].delta["nDCG@10"]
    assert (step.mean, step.changed, step.margin) == (after.mean, after.changed, 0.01)
    assert step.low < after.low  # three limits hold at once here, one there
    assert found.steps[2].overlap == found.steps[2].run.overlap(found.steps[1].run, 10)


def test_an_index_and_its_text_give_the_same_funnel():
    text = funnel("IVF16,SQ4?nprobe=2", *planted())
    assert text.to_dict() == funnel(built("IVF16,SQ4"), *planted(), params={"nprobe": 2}).to_dict()
    assert text.to_dict() == funnel(IndexSpec.parse("IVF16,SQ4"), *planted(), params={"nprobe": 2}).to_dict()
    with environment.threads(4):
        assert text.to_dict() == funnel("IVF16,SQ4?nprobe=2", *planted()).to_dict()


def test_the_pieces_of_a_benchmark_give_the_same_funnel():
    """The runs that a benchmark has are not searched again, and shared steps stand in all its funnels."""
    images, queries, judge = planted()
    index, grid = built("IVF16,SQ4"), [{"nprobe": 1}, {"nprobe": 4}]
    runs = [index.search(queries, 10, **params) for params in grid]
    exact = run_of("Flat")
    before = exact_steps(images, queries, 10, exact=exact)
    after = index_steps(index, images, queries, 10, grid, found=runs)
    assert before == [("fp32", exact)]
    assert [point[-1][1] for point in after] == runs
    many = funnels_of([[*before, *point] for point in after], judge)
    for found, params in zip(many, grid, strict=True):
        alone = funnel(index, images, queries, judge, params=params)
        assert [step.mean for step in found.steps] == [step.mean for step in alone.steps]
        ours, its = (each.total["nDCG@10"] for each in (found, alone))
        assert ours.mean == its.mean
        assert ours.low <= its.low  # the limits hold for both points together
    assert many[0].steps[1].delta == many[1].steps[1].delta


def test_a_change_in_several_funnels_is_counted_once():
    steps = [("exact", run_of("Flat")), ("less", run_of("SQ4")), ("least", run_of("IVF16,SQ4", nprobe=2))]
    one = funnel_of(steps, planted()[2])
    assert [each.to_dict() for each in funnels_of([steps] * 3, planted()[2])] == [one.to_dict()] * 3


def test_where_nothing_changed_the_step_says_so():
    same = funnel_of([("one", run_of("Flat")), ("same", run_of("Flat"))], planted()[2])
    change = same.total["nDCG@10"]
    assert (change.mean, change.changed) == (0.0, 0)
    assert change.low < 0 < change.high
    assert "no query changed" in str(same)


def test_exact_search_has_one_step():
    found = funnel("Flat", *planted())
    assert [(step.name, step.delta, step.overlap) for step in found.steps] == [("fp32", {}, None)]
    assert found.total == {}
    assert "total" not in str(found)
    assert repr(found) == "Funnel(fp32)"


def test_what_the_vectors_were_comes_as_a_reference():
    images, queries, judge = planted()
    half = images.astype("float16"), queries.astype("float16")
    short = half[0].truncated(20), half[1].truncated(20)

    def names(*pair: Embeddings, **options) -> list[str]:
        return [name for name, _ in exact_steps(*pair, 10, **options)]

    both = images, queries
    precision = "stored precision (float16)"
    assert names(*half) == ["exact (float16)"]
    assert names(*half, reference=both) == ["fp32", precision]
    rounded = (side.astype("float32") for side in half)
    assert names(*rounded, reference=both) == ["fp32", "stored precision (float32)"]
    assert names(*short, reference=both) == ["fp32", precision, "dimensions (20 of 32)"]
    assert names(*short, reference=half) == ["exact (float16)", "dimensions (20 of 32)"]
    assert names(*half, reference=both, dim=8) == ["fp32", precision, "dimensions (8 of 32)"]
    assert names(*short, reference=both, dim=8) == ["fp32", precision, "dimensions (8 of 32)"]
    asked = funnel("IVF16,Flat", images, queries, judge, stored="float16", dim=20).to_dict()
    assert asked == funnel("IVF16,Flat", *half, judge, reference=both, dim=20).to_dict()
    assert (
        asked == funnel(Index.build("IVF16,Flat", short[0]), *half, judge, reference=both, dim=20).to_dict()
    )


def test_a_relative_margin_is_a_share_of_the_first_step():
    found = funnel("SQ4", *planted(), margin="1%")
    assert found.total["nDCG@10"].margin == pytest.approx(0.01 * found.steps[0].mean["nDCG@10"])


def test_depth_is_that_of_the_measures():
    images, queries, _ = planted()
    judge = Evaluator({"q0": {"0.jpg": 1}} | {f"q{row}": {"1.jpg": 1} for row in range(1, 40)}, "nDCG@20",
                      clusters=np.arange(40))  # fmt: skip
    found = funnel("SQ8", images, queries, judge)
    assert ([step.run.depth for step in found.steps], found.overlap_at) == ([20, 20], 10)
    assert funnel("SQ8", images, queries, judge, k=25).steps[0].run.depth == 25


def test_plain_values_are_json_and_say_all():
    plain = json.loads(json.dumps(whole().to_dict(), allow_nan=False))
    assert plain["confidence"] == 0.95
    assert plain["steps"][0] == {
        "step": "fp32",
        "mean": whole().steps[0].mean,
        "delta": {},
        "overlap@10": None,
    }
    change = whole().steps[-1].delta["nDCG@10"]
    assert plain["steps"][-1]["delta"]["nDCG@10"] == {
        "mean": change.mean,
        "low": change.low,
        "high": change.high,
        "verdict": change.verdict.value,
        "clusters_needed": change.clusters_needed,
        "changed": change.changed,
    }
    assert set(plain["total"]) == {"nDCG@10", "Success@1"}


def test_the_frame_has_a_row_for_each_step_and_measure():
    frame = whole().frame()
    assert frame.shape == (14, 8)
    assert list(frame.columns) == [
        "step", "measure", "mean", "overlap@10", "delta", "low", "high", "verdict",
    ]  # fmt: skip
    changes = frame[frame.measure == "nDCG@10"].set_index("step").delta
    assert changes.drop("total").sum() == pytest.approx(changes["total"])


def test_the_table_reads():
    judge = Evaluator({f"q{row}": {"a": 1} for row in range(1000)}, "Success@1", clusters=np.arange(1000))
    ids = [f"q{row}" for row in range(1000)]

    def run(wrong: int) -> Run:
        rows = np.where(np.arange(1000)[:, None] < wrong, [[1, 0]], [[0, 1]])
        return Run.from_search(ids, ["a", "b"], np.tile([1.0, 0.5], (1000, 1)), rows)

    found = funnel_of([("fp32", run(0)), ("search (nprobe=1)", run(400))], judge)
    change = found.total["Success@1"]
    limits = f"[{change.low:+.4f}, {change.high:+.4f}]"
    assert str(found).splitlines() == [
        "Success@1          mean    change   95% limits          verdict   overlap@2",
        "fp32               1.0000",
        f"search (nprobe=1)  0.6000  -0.4000  {limits}  degrades  1.000",
        f"total                      -0.4000  {limits}  degrades",
    ]
    with pytest.raises(InputError, match="'AP' is not a measure of this funnel"):
        found.table("AP")


def test_bad_input_says_what_to_do():
    images, queries, judge = planted()
    half = images.astype("float16"), queries.astype("float16")
    others = Run(
        tuple(f"x{row}" for row in range(1000)), images.ids, run_of("Flat").rows, run_of("Flat").scores
    )
    few = queries.select(range(800))

    def call(index="SQ4", x=images, y=queries, by=judge, **options) -> object:
        return lambda: funnel(index, x, y, by, **options)

    wrong = {
        "'IVF16,SQ4?nprobe=1,2' names 2 points. A funnel is that of one point. "
        "Write 'IVF16,SQ4?nprobe=1'.": call("IVF16,SQ4?nprobe=1,2"),
        "'IVF16,SQ4?nprobe=1' names 1 points, and params {'nprobe': 2}.": call(
            "IVF16,SQ4?nprobe=1", params={"nprobe": 2}
        ),
        "The judge came as dict. Wanted an Evaluator.": call(by={"q": {"a": 1}}),
        "The images came as ndarray. Wanted Embeddings,": call(x=images.vectors),
        "The images have 8 dimensions and the queries 32.": call(x=images.truncated(8)),
        "dim is 33. The vectors have 32 values. Pass 1 to 32.": call(dim=33),
        "'int8' is not a dtype of embeddings.": call(stored="int8"),
        "The images are float32 already. What they were before is not in them.": call(stored="float32"),
        "stored and reference came together.": call(stored="float16", reference=(images, queries)),
        "The reference came as Embeddings. Wanted a pair of embeddings.": call(reference=images),
        "The queries of the reference are 800 x 32. Those that are stored are 1,000 x 32,": call(
            x=half[0], y=half[1], reference=(images, few)
        ),
        "The images of the reference are 1,500 x 8.": call(
            reference=(images.truncated(8), queries.truncated(8))
        ),
        "k is 5. The measures look at 10 images. Choose k from 10, or leave it out.": call(k=5),
        "1,500 images x 24 and queries x 24 came. SQ4 holds 1,500 x 32,": call(built("SQ4"), dim=24),
        "The margin is -1.": call(margin=-1),
        "The margin for nDCG@10 is 2 and exact search scores": call(margin=2),
        "A funnel without steps came.": lambda: funnel_of([], judge),
        "None of the 1000 queries is judged. The judgements name queries such as 'q0'.": lambda: funnel_of(
            [("a", others)], judge
        ),
        "'b' answers other queries (200, such as ": lambda: funnel_of(
            [("a", run_of("Flat")), ("b", built("Flat").search(few, 10))], judge
        ),
    }
    for text, made in wrong.items():
        with pytest.raises(InputError) as error:
            made()
        assert str(error.value).startswith(text)


@pytest.mark.data
def test_photographs_lose_where_they_must(data):
    """Real vectors: float16 costs nothing that matters, PQ much, and a refinement sets it right."""
    lines, vectors = ready(data, "flickr8k_images")
    captions, asked = ready(data, "test_captions")
    keep = [row for row, line in enumerate(lines) if line["split"] == "test"]
    images = Embeddings.normalised([lines[row]["file"] for row in keep], vectors[keep].astype(np.float32))
    queries = Embeddings.normalised([str(row) for row in range(len(captions))], asked.astype(np.float32))
    judge = Evaluator({str(row): {line["file"]: 1} for row, line in enumerate(captions)}, "nDCG@10")

    found = funnel("IVF16,PQ32x4fs?nprobe=4", images, queries, judge, stored="float16", dim=128, margin=0.01)
    lost = {step.kind: step.delta["nDCG@10"] for step in found.steps[1:]}
    assert list(lost) == ["stored precision", "dimensions", "quantiser", "search"]
    assert lost["stored precision"].verdict is Verdict.HOLDS
    assert abs(lost["stored precision"].mean) < 5e-4
    assert lost["quantiser"].verdict is Verdict.DEGRADES
    assert found.total["nDCG@10"].mean == pytest.approx(sum(change.mean for change in lost.values()))
    refined = funnel(
        "IVF16,PQ32x4fs,RFlat?nprobe=16&k_factor=20", images, queries, judge, stored="float16", dim=128
    )
    assert abs(refined.steps[-2].delta["nDCG@10"].mean) < 0.002
    assert refined.steps[-1].delta["nDCG@10"].changed == 0
