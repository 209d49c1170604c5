"""From a search to its figures: ordering, TREC files, measures."""

from __future__ import annotations

from pathlib import Path

import ir_measures
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from speed_inputs import CAPTIONS, PHOTOS, Sides, image_names, query_names, search_result, timed

from imgbench.evaluator import DEFAULT_MEASURES, Evaluator
from imgbench.qrels import Qrels
from imgbench.run import Run


@pytest.fixture(scope="module")
def found() -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows as a search may return them, in no order."""
    return search_result()


@pytest.fixture(scope="module")
def run(found: tuple[np.ndarray, np.ndarray]) -> Run:
    """The same search, in order."""
    return Run.from_search(query_names(), image_names(), *found)


@pytest.fixture(scope="module")
def qrels() -> Qrels:
    """The photo of each query is its one relevant image."""
    photos = [name for name in image_names()[:PHOTOS] for _ in range(CAPTIONS)]
    return Qrels.from_rows(query_names(), photos, np.ones(len(photos), int))


@pytest.fixture(scope="module")
def scoring(run: Run, qrels: Qrels) -> Sides:
    """Means and per-query scores; what ir_measures takes is built beforehand."""
    judge = Evaluator(qrels)
    measures = [ir_measures.parse_measure(name) for name in DEFAULT_MEASURES]
    plain_qrels, plain_run = qrels.to_dict(), run.to_dict()
    means = ir_measures.calc_aggregate(measures, plain_qrels, plain_run)
    assert judge.score(run) == pytest.approx({str(key): mean for key, mean in means.items()}, abs=1e-9)
    each = judge.score_each(run)
    place = {name: number for number, name in enumerate(judge.query_ids)}
    expected = np.full(each.shape, np.nan)
    for metric in ir_measures.iter_calc(measures, plain_qrels, plain_run):
        expected[place[metric.query_id], DEFAULT_MEASURES.index(str(metric.measure))] = metric.value
    assert np.abs(each.to_numpy() - expected).max() < 1e-9
    assert 0.05 < means[measures[0]] < 0.5  # figures that a wrong scorer could miss
    return {
        "imgbench": lambda: (judge.score(run), judge.score_each(run)),
        "ir_measures.calc_aggregate (means only)": lambda: ir_measures.calc_aggregate(
            measures, plain_qrels, plain_run
        ),
        "ir_measures.calc (means and queries)": lambda: ir_measures.calc(measures, plain_qrels, plain_run),
    }


@pytest.mark.benchmark(group="score 10,725 queries x 100, four measures")
@pytest.mark.parametrize(
    "side",
    ["imgbench", "ir_measures.calc_aggregate (means only)", "ir_measures.calc (means and queries)"],
)
def test_scoring(side: str, scoring: Sides, benchmark: BenchmarkFixture) -> None:
    wanted = 50 if "calc_aggregate" in side else None
    timed(benchmark, scoring[side], items=PHOTOS * CAPTIONS, unit="queries", threads=1, wanted=wanted)


def loop_order(scores: np.ndarray, rows: np.ndarray) -> dict[str, list[tuple[str, float]]]:
    """What people write: a list a query, sorted."""
    names, ordered = image_names(), {}
    for query, similarities, hits in zip(query_names(), scores.tolist(), rows.tolist(), strict=True):
        best = sorted(zip(similarities, hits, strict=True), key=lambda hit: (-hit[0], hit[1]))
        ordered[query] = [(names[row], score) for score, row in best]
    return ordered


@pytest.fixture(scope="module")
def ordering(found: tuple[np.ndarray, np.ndarray], run: Run) -> Sides:
    expected = loop_order(*found)
    for query in run.query_ids[::100]:
        assert run.hits(query, run.depth) == expected[query]
    return {
        "imgbench": lambda: Run.from_search(query_names(), image_names(), *found),
        "a loop over queries": lambda: loop_order(*found),
    }


@pytest.mark.benchmark(group="order 10,725 queries x 100, ties by row")
@pytest.mark.parametrize("side", ["imgbench", "a loop over queries"])
def test_ordering(side: str, ordering: Sides, benchmark: BenchmarkFixture) -> None:
    timed(benchmark, ordering[side])


def loop_write(ordered: dict[str, list[tuple[str, float]]], path: Path) -> None:
    """What people write: a line a hit. Scores by rank, as imgbench does, so that no tool reorders ties."""
    with path.open("w", encoding="utf-8") as file:
        for query, hits in ordered.items():
            for rank, (image, _) in enumerate(hits, start=1):
                file.write(f"{query} Q0 {image} {rank} {len(hits) + 1 - rank} imgbench\n")


@pytest.fixture(scope="module")
def writing(
    found: tuple[np.ndarray, np.ndarray], run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Sides:
    ordered, folder = loop_order(*found), tmp_path_factory.mktemp("trec")
    mine, loop = folder / "imgbench.trec", folder / "loop.trec"
    run.write_trec(mine)
    loop_write(ordered, loop)
    assert mine.read_bytes() == loop.read_bytes()
    return {"imgbench": lambda: run.write_trec(mine), "a loop over hits": lambda: loop_write(ordered, loop)}


@pytest.mark.benchmark(group="write a TREC file of 1,072,500 hits")
@pytest.mark.parametrize("side", ["imgbench", "a loop over hits"])
def test_writing(side: str, writing: Sides, benchmark: BenchmarkFixture) -> None:
    timed(benchmark, writing[side])
