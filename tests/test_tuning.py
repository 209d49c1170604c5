"""Tuning with real indexes on small made vectors: what is chosen, what is searched, what is counted."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import imgbench as ib
from imgbench import significance
from imgbench.grids import default_grid
from imgbench.index import Index
from imgbench.points import Protocol
from imgbench.tuning import GOALS, summary, tune, work
from imgbench.tuning.candidates import ladders, parse
from imgbench.tuning.goals import Bench
from imgbench.tuning.halves import Half, split
from imgbench.tuning.provable import check_provable, provable

IMAGES, DIM, PHOTOS = 3000, 32, 600
GRID = ["IVF16,Flat?nprobe=1,2,4,8,16", "HNSW16?efSearch=16,64,256", "SQ8", "SQ4", "SQfp16"]
QUICK = Protocol(latency_calls=40, throughput_repeats=2, threads=1)


@pytest.fixture(scope="module")
def vectors():
    """3,000 images around 60 centres, two queries for each of 600 of them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, DIM))
    x = centres[rng.integers(60, size=IMAGES)] + 0.5 * rng.standard_normal((IMAGES, DIM))
    target = np.repeat(np.arange(PHOTOS), 2)
    asked = x[target] + 0.5 * rng.standard_normal((len(target), DIM))
    names = [f"q{row}" for row in range(len(target))]
    images = ib.Embeddings.normalised([f"i{row}" for row in range(IMAGES)], x)
    queries = ib.Embeddings.normalised(names, asked)
    return {name: {f"i{row}": 1} for name, row in zip(names, target, strict=True)}, images, queries


@pytest.fixture(scope="module")
def by_distances(vectors):
    return tuned(vectors)


def tuned(vectors, **options):
    qrels, images, queries = vectors
    settings = {"indexes": GRID, "goal": "distances", "margin": 0.02, "protocol": QUICK} | options
    return tune(qrels, {"made": (images, queries)}, **settings)


class Spy:
    """Notes the queries of every search, by what asked for it."""

    def __init__(self, monkeypatch):
        self.searched, self.at_choice = [], None
        search, searcher, count = Index.search, Index.searcher, Index.distance_computations
        choose = work.Work.choose

        def seen_search(index, queries, k, **params):
            self.searched.append((index.spec, params, queries.vectors.copy()))
            return search(index, queries, k, **params)

        def seen_searcher(index, k, **params):
            call = searcher(index, k, **params)

            def seen(rows):
                self.searched.append((index.spec, params, rows.copy()))
                return call(rows)

            return seen

        def seen_count(index, queries, k, **params):
            if "IVF" in index.spec or "HNSW" in index.spec:
                self.searched.append((index.spec, params, queries.vectors.copy()))
            return count(index, queries, k, **params)

        def seen_choose(self_):
            found = choose(self_)
            self.at_choice = len(self.searched)
            return found

        monkeypatch.setattr(Index, "search", seen_search)
        monkeypatch.setattr(Index, "searcher", seen_searcher)
        monkeypatch.setattr(Index, "distance_computations", seen_count)
        monkeypatch.setattr(work.Work, "choose", seen_choose)


def test_the_best_holds_and_costs_least_of_what_was_confirmed(by_distances):
    found = by_distances
    assert found.comparison.verdict.value == "holds"
    assert found.comparison.low > -0.02
    held = [each for each in found.finalists if each.comparison.verdict.value == "holds"]
    assert found.best.key == held[-1].key
    assert found.cost == min(each.cost for each in held)
    assert found.exact_cost == IMAGES
    assert found.gain == pytest.approx(IMAGES / found.cost)


def test_the_full_grid_agrees(by_distances, vectors):
    qrels, images, queries = vectors
    judge = ib.Evaluator(qrels, ["nDCG@10"])
    truth = Index.build("Flat", images).search(queries, 10)
    costs, runs = {}, {}
    for spec in parse(GRID):
        index = Index.build(spec, images)
        for params in spec.grid:
            runs[spec.key(params)] = index.search(queries, 10, **params)
            costs[spec.key(params)] = index.distance_computations(queries, 10, **params)
    compared = judge.compare_many(list(runs.values()), truth, margin=0.02)
    holds = [key for key, found in zip(runs, compared, strict=True) if found["nDCG@10"].verdict == "holds"]
    cheapest = min(costs[key] for key in holds)
    assert by_distances.cost < 1.5 * cheapest
    chosen = judge.compare(runs[by_distances.best.key], truth, margin=0.02)["nDCG@10"]
    assert chosen.verdict != "degrades"


@pytest.fixture
def steady(monkeypatch):
    """A clock that is looked at and not believed: in so small a world the machine decides the prices."""
    prices = {"Flat": 1.0}

    def steadied(measured):
        def timed(bench, points, *, thoroughly):
            measured(bench, points, thoroughly=thoroughly)
            return {point.key: prices.setdefault(point.key, 0.01 * len(prices)) for point in points}

        return timed

    for name in ("_latencies", "_rates"):
        monkeypatch.setattr(Bench, name, steadied(getattr(Bench, name)))


@pytest.mark.usefixtures("steady")
def test_nobody_looks_at_the_other_half_before_the_choice(vectors, monkeypatch):
    spy = Spy(monkeypatch)
    qrels, _, queries = vectors
    found = tuned(vectors, goal="latency")
    first, second = split(ib.Evaluator(qrels).clusters, seed=0)
    held_back = {row.tobytes() for row in queries.vectors[second.rows]}
    before = {row.tobytes() for _, _, rows in spy.searched[: spy.at_choice] for row in rows}
    after = {row.tobytes() for _, _, rows in spy.searched[spy.at_choice :] for row in rows}
    assert not before & held_back
    assert after == held_back
    assert {queries.ids[row] for row in first.rows}.isdisjoint(queries.ids[row] for row in second.rows)
    assert found.tune_queries + found.confirm_queries == len(queries)


def test_images_are_not_shared_by_the_halves():
    clusters = np.random.default_rng(0).integers(0, 50, 300)
    first, second = split(clusters, seed=3)
    assert set(clusters[first.rows]).isdisjoint(clusters[second.rows])
    assert sorted([*first.rows, *second.rows]) == list(range(300))
    assert first.count == second.count == 25
    assert (np.diff(first.clusters) >= 0).all()
    assert list(split(clusters, seed=4)[0].rows) != list(first.rows)


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("goal", GOALS)
def test_what_is_counted_was_searched(goal, vectors, monkeypatch):
    spy = Spy(monkeypatch)
    found = tuned(vectors, goal=goal)
    assert found.searched_queries == sum(len(rows) for _, _, rows in spy.searched)
    by_point = Counter()
    for spec, _, rows in spy.searched[spy.at_choice :]:
        by_point[spec] += len(rows)
    assert found.distances.confirm > 0
    assert sum(by_point.values()) == found.confirm_queries * (1 + len(found.finalists))
    assert found.distances.exact >= found.confirm_queries * IMAGES
    assert found.unit == GOALS[goal]


def test_each_query_is_searched_once_a_point(vectors, monkeypatch):
    spy = Spy(monkeypatch)
    searcher_only = tuned(vectors, goal="bytes")
    asked = Counter()
    for spec, params, rows in spy.searched:
        if len(rows) != 64 or not ("IVF" in spec or "HNSW" in spec):  # the count of distance computations
            asked.update((spec, str(params), row.tobytes()) for row in rows)
    assert max(asked.values()) == 1
    assert searcher_only.best.key in {"SQ4", "SQ8", "SQfp16"}


def test_a_rich_grid_is_searched_for_a_fifth_or_less(vectors):
    found = tuned(vectors, indexes=None)
    assert len(found.trail) > 30
    assert found.distances.share < 0.2
    assert found.distances.total == pytest.approx(
        found.distances.exact + found.distances.race + found.distances.cost + found.distances.confirm
    )


def test_a_full_grid_would_time_every_point(by_distances, vectors):
    timed, untimed = tuned(vectors, goal="latency").distances.full_grid, by_distances.distances.full_grid
    assert timed == pytest.approx(untimed * (1 + QUICK.latency_calls / (2 * PHOTOS)))


@pytest.mark.parametrize("goal", ["distances", "bytes"])
def test_the_same_seed_gives_the_same_answer(goal, vectors):
    one, two = tuned(vectors, goal=goal, seed=5), tuned(vectors, goal=goal, seed=5)
    assert one.to_dict() == two.to_dict()


def test_bytes_are_those_of_the_index(vectors):
    found = tuned(vectors, goal="bytes")
    assert found.cost == found.index.bytes
    assert found.exact_cost == Index.build("Flat", vectors[1]).bytes
    assert {trial.key for trial in found.trail if "exact search" in trial.fate} >= {
        "HNSW16?efSearch=16",
        "IVF16,Flat?nprobe=1",
    }


def test_a_relative_margin_is_a_share_of_exact_search_on_the_tune_half(vectors):
    qrels, images, queries = vectors
    found = tuned(vectors, margin="3%")
    judge = ib.Evaluator(qrels, ["nDCG@10"])
    exact = judge.matrix(Index.build("Flat", images).search(queries, 10))[0]
    first, _ = split(judge.clusters, seed=0)
    assert found.margin == pytest.approx(0.03 * exact[first.rows].mean())
    assert found.margin_asked == "3%"


def test_nothing_is_recommended_that_loses_too_much(vectors):
    found = tuned(vectors, indexes=["IVF16,Flat?nprobe=1", "IVF64,Flat?nprobe=1"], margin=0.013)
    assert found.best is None
    assert found.cost is None
    assert found.gain is None
    assert found.index is None
    assert found.comparison.verdict.value != "holds"
    assert "Flat" in str(found) or "No recommendation" in str(found)


def test_nothing_is_cheaper_than_exact_search(vectors):
    found = tuned(vectors, goal="bytes", indexes=["HNSW16?efSearch=16,64"])
    assert found.comparison is None
    assert str(found).startswith("No candidate costs less than exact search: stay with Flat.")
    assert str(found).endswith(
        f"No candidate was raced. Counting and exact search took {found.distances.share:.1%} of the distance "
        "computations of the full grid."
    )


def test_the_result_is_told_and_saved(by_distances, tmp_path, vectors):
    found = by_distances
    lines = str(found).splitlines()
    assert lines[0].startswith(f"{found.best.key}: ")
    assert f"times fewer distance computations ({found.cost:.0f} instead of 3000 distance" in lines[0]
    assert "so within the margin of 0.02, on 300 clusters of queries that did not choose it." in lines[0]
    assert "difference in nDCG@10" in lines[2]
    assert any(line.split()[:3] == ["Flat", "(exact)", "3000"] for line in lines)
    raced = sum(trial.queries > 0 for trial in found.trail)
    assert lines[-1].startswith(f"{raced} of 11 candidates were raced. All searches took ")
    spent = found.distances
    assert f": exact search {spent.exact / spent.full_grid:.1%}, the race " in lines[-1]
    found.save(tmp_path / "tuning.json")
    saved = json.loads((tmp_path / "tuning.json").read_text(encoding="utf-8"))
    assert saved == json.loads(json.dumps(found.to_dict()))
    assert saved["best"]["key"] == found.best.key
    assert saved["comparison"]["verdict"] == "holds"
    assert len(found.frame()) == len(saved["trail"]) == 11
    assert found.index.search(vectors[2].select([0]), 10, **found.best.params).depth == 10


def test_ladders_rise_along_the_longest_axis():
    found = ladders(parse(["IVF8,PQ4x4fs,RFlat?nprobe=4,1,2&k_factor=4,1", "SQ8"]))
    assert [[point.key for point in ladder] for ladder in found] == [
        [f"IVF8,PQ4x4fs,RFlat?nprobe={nprobe}&k_factor=4" for nprobe in (1, 2, 4)],
        [f"IVF8,PQ4x4fs,RFlat?nprobe={nprobe}&k_factor=1" for nprobe in (1, 2, 4)],
        ["SQ8"],
    ]
    unlimited = ladders(parse(["IVF8,Flat?max_codes=0,100"]))
    assert [point.params["max_codes"] for point in unlimited[0]] == [100, 0]


@pytest.mark.parametrize(("images", "dim"), [(40, 8), (700, 27), (20_000, 128), (68_154, 1024)])
def test_the_default_grid_can_be_built(images, dim):
    grid = default_grid(images, dim)
    for spec in parse(grid):
        Index.check(spec, dim=dim, images=images)
    assert len(parse(grid)) >= 6


def error(vectors, **options):
    with pytest.raises(ib.InputError) as caught:
        tuned(vectors, **options)
    return str(caught.value)


def test_bad_input_is_three_short_sentences(vectors):
    qrels, images, queries = vectors
    assert error(vectors, goal="latencie") == (
        "'latencie' is not a goal of tuning. Known: bytes, distances, latency, throughput. "
        "Did you mean 'latency'?"
    )
    assert error(vectors, indexes=["Flat", "SQ8"]) == (
        "The grid has 1 point besides exact search. Tuning chooses among several. "
        "Add values, such as IVF64,Flat?nprobe=1,2,4,8."
    )
    assert error(vectors, indexes=["SQ8", "SQ8"]) == (
        "The point 'SQ8' came twice. Each is a candidate once. Remove one of them."
    )
    assert error(vectors, margin=-1) == (
        'The margin is -1. It is a loss of 0 or more. Pass for example 0.005, or "1%" of exact.'
    )
    assert error(vectors, margin=2.0).startswith("The margin for nDCG@10 is 2 and exact search scores")
    assert error(vectors, confidence=2.0).startswith("The confidence is 2.0.")
    assert error(vectors, k=5).startswith("k is 5. The measures look at 10 images.")
    assert error((dict(list(qrels.items())[:38]), images, queries)) == (
        "There are 19 clusters of queries. Two halves need 10 each. Ask about more images."
    )
    two = "2 measures came. Tuning is about one. Pass one."
    assert error(vectors, measure=["nDCG@10", "R@10"]) == two
    with pytest.raises(ib.InputError, match="2 vector spaces came"):
        tune(qrels, {"a": (images, queries), "b": (images, queries)})
    with pytest.raises(ib.InputError, match="Judgements came without images"):
        tune(qrels, "scenes")


def test_two_encoders_are_refused_before_either_is_loaded(monkeypatch):
    loaded = []
    monkeypatch.setattr(ib.Corpus, "load", loaded.append)
    monkeypatch.setattr(ib.Encoder, "load", loaded.append)
    with pytest.raises(ib.InputError) as caught:
        tune("scenes", ["scenes", "metaclip-1.2"])
    assert str(caught.value) == "2 encoders came. Tuning is about one. Pass one."
    with pytest.raises(ib.InputError, match=r"^No encoder came\."):
        tune("scenes", [])
    assert loaded == []


def test_a_margin_that_nothing_could_prove_is_refused_before_any_search(vectors, monkeypatch):
    spy = Spy(monkeypatch)
    said = error(vectors, margin=0.005)
    assert said.startswith(
        "The margin is 0.005, and 300 clusters of queries are left to confirm. They cannot"
    )
    assert "Choose a margin of 0.013 or more, or ask about 1," in said
    assert spy.searched == []
    assert error(vectors, margin="1%", indexes=GRID[:1]).startswith("The margin is 1% (0.00")
    assert {spec for spec, _, rows in spy.searched if len(rows) != 64} == {"Flat"}


def told(found, deltas, margin, asked):
    """The headline for other differences on the confirm half."""
    rows = np.arange(len(deltas))
    compared = significance.paired(np.array([deltas]), rows, margin=margin)[0]
    best = found.best if compared.verdict.value == "holds" else None
    named = {"best": best, "comparison": compared, "margin": margin, "margin_asked": asked}
    return summary.headline(replace(found, confirm_clusters=len(deltas), **named))


def test_the_headline_names_loss_proof_and_margin_in_one_sign(by_distances):
    losing = -0.3 * (np.arange(400) % 10 == 0)
    assert (
        "It loses 0.030 nDCG@10, proven to be less than 0.04 and so within the margin of 5% (0.0513), "
        "on 400 clusters of queries that did not choose it."
    ) in told(by_distances, losing, 0.05128, "5%")
    none = told(by_distances, np.zeros(400), 0.02, "0.02")
    assert (
        "It loses no nDCG@10, any loss is proven to be less than 0.0092 and so within the margin of 0.02"
        in none
    )
    assert "It gains 0.030 nDCG@10, proven to be no loss" in told(by_distances, -losing, 0.02, "0.02")
    lost = told(by_distances, 3 * losing, 0.02, "0.02")
    assert lost.startswith("Stay with Flat: the closest candidate, ")
    assert (
        "loses 0.090 nDCG@10, proven to be more than 0.063 and so beyond the margin of 0.02, on 400" in lost
    )
    open_ = told(by_distances, losing, 0.035, "0.035")
    assert open_.startswith("No recommendation: ")
    assert "where a loss of up to 0.04 cannot be ruled out, and the margin is 0.035. About " in open_


def test_a_proof_is_written_within_its_margin(by_distances):
    losing = -0.3 * (np.arange(400) % 10 == 0)
    low = significance.paired(losing[None], np.arange(400), margin=0.05)[0].low
    told_ = told(by_distances, losing, -low + 1e-5, f"{-low + 1e-5:.5f}")
    proven = float(re.search(r"less than ([\d.]+)", told_)[1])
    assert -low <= proven <= -low + 1e-5


def test_unequal_clusters_are_named_where_they_widen_the_limits():
    clusters = np.concatenate([np.zeros(60, dtype=int), np.arange(1, 41)])
    half = Half(np.arange(100), clusters)
    floor = provable(half, 0.95, 0)
    with pytest.raises(
        ib.InputError, match=re.escape("and 41 clusters of queries (one of 60 among 100 queries)")
    ):
        check_provable(0.005, floor, half, 0.95, 0, name="0.005")
