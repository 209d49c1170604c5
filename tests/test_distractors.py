"""Expectations in smaller corpora, against counting every one of them, drawing some, and the Evaluator."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy import stats

from imgbench.distractors import curve_of, laws
from imgbench.distractors.expected import VALUES
from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.evaluator import Evaluator
from imgbench.index import Index
from imgbench.qrels import Qrels
from imgbench.ranks import relevant_ranks
from imgbench.run import Run

MEASURES = [
    "nDCG@3", "nDCG", "AP@3", "AP", "R@2", "P@3", "Success@2", "RR", "RR@3",
    "AP(rel=2)@4", "R(rel=2)@4", "P(rel=2)@2", "RR(rel=2)", "Success(rel=3)@5",
]  # fmt: skip


def unit(prefix: str, rows: np.ndarray) -> Embeddings:
    return Embeddings.normalised([f"{prefix}{row}" for row in range(len(rows))], rows)


def world(images: int, queries: int, relevant: int, seed: int = 0) -> tuple[Embeddings, Embeddings, Qrels]:
    """Graded judgements, some of which are 0 and some of images and of a query without a vector."""
    rng = np.random.default_rng(seed)
    gallery, asked = rng.standard_normal((images, 4)), rng.standard_normal((queries, 4))
    judged = {}
    for query in range(queries):
        # Half of the relevant images are near the query.
        near = np.argsort(-(gallery @ asked[query]))[: relevant * 2]
        rows = {*rng.choice(near, relevant, replace=False), *rng.choice(images, relevant, replace=False)}
        judged[f"q{query}"] = {f"i{row}": int(rng.integers(0, 4)) for row in rows} | {"i0": 1}
    judged["q1"] |= {"gone": 3, "lost": 1}
    judged["nobody"] = {"i1": 1}
    return unit("i", gallery), unit("q", asked), Qrels.from_dict(judged)


def subsets(query: str, images: Embeddings, ranks, order: list[int], chosen: list[set[int]]) -> Run:
    """A run with a query for each choice of distractors: the ranking of all images without the others."""
    place = ranks.qrels.query_ids.index(query)
    kept = set(ranks.image_rows[ranks.query_rows == place].tolist()) | set(np.flatnonzero(~ranks.pooled))
    lists = [[row for row in order if row in kept or row in choice] for choice in chosen]
    rows = np.array(lists)
    names = [f"{query}/{number}" for number in range(len(chosen))]
    return Run.from_search(names, images.ids, 0 * rows - np.arange(rows.shape[1]), rows)


def scored(images, queries, ranks, query: str, chosen: list[set[int]]) -> np.ndarray:
    """Scores by the Evaluator (measure, choice) of one query in corpora with these distractors."""
    run = Index.build("Flat", images).search(queries, k=len(images))
    order = run.rows[run.query_ids.index(query)].tolist()
    judged = ranks.qrels.to_dict()[query]
    qrels = {f"{query}/{number}": judged for number in range(len(chosen))}
    return Evaluator(qrels, MEASURES).matrix(subsets(query, images, ranks, order, chosen))


def drawable(ranks, query: str) -> list[int]:
    place = ranks.qrels.query_ids.index(query)
    own = set(ranks.image_rows[ranks.query_rows == place].tolist())
    return [row for row in np.flatnonzero(ranks.pooled).tolist() if row not in own]


def test_closed_form_is_the_mean_over_every_possible_corpus():
    images, queries, qrels = world(12, 3, 2)
    ranks = relevant_ranks(images, queries, qrels, pool=np.arange(12) % 4 != 3)
    assert ranks.above_fixed.any()
    curve = curve_of(ranks, MEASURES)
    sizes = range(curve.smallest, 13)
    found = curve.scores(sizes)
    compared = 0
    for query in queries.ids:
        free, q = drawable(ranks, query), ranks.qrels.query_ids.index(query)
        for s, size in enumerate(sizes):
            chosen = [set(choice) for choice in combinations(free, size - (12 - len(free)))]
            expected = scored(images, queries, ranks, query, chosen).mean(axis=1)
            np.testing.assert_allclose(found[:, s, q], expected, atol=1e-12)
            compared += len(chosen)
    assert compared > 100


def test_closed_form_is_what_drawing_gives():
    images, queries, qrels = world(300, 6, 5)
    ranks = relevant_ranks(images, queries, qrels, pool=np.arange(300) >= 20)
    curve = curve_of(ranks, MEASURES)
    rng, size, draws = np.random.default_rng(0), 120, 400
    found, varied = curve.scores([size])[:, 0], 0
    for query in queries.ids:
        free, q = drawable(ranks, query), ranks.qrels.query_ids.index(query)
        chosen = [
            set(rng.choice(free, size - (300 - len(free)), replace=False).tolist()) for _ in range(draws)
        ]
        values = scored(images, queries, ranks, query, chosen)
        error = values.std(axis=1, ddof=1) / np.sqrt(draws)
        varied += int((error > 0).sum())
        # What happens in less than one draw of a hundred may never have happened.
        assert (np.abs(values.mean(axis=1) - found[:, q]) <= 4.5 * error + 2 / draws).all()
    assert varied > 40


@pytest.mark.parametrize("pool", [None, np.arange(800) % 3 == 0])
def test_with_all_images_it_is_the_evaluator(pool):
    images, queries, qrels = world(800, 40, 6)
    ranks = relevant_ranks(images, queries, qrels, pool=pool)
    run = Index.build("Flat", images).search(queries, k=800)
    judge = Evaluator(qrels, MEASURES)
    curve = curve_of(ranks, MEASURES)
    np.testing.assert_allclose(curve.scores([800])[:, 0], judge.matrix(run), rtol=0, atol=1e-9)
    np.testing.assert_allclose(curve.mean[:, -1], list(judge.score(run).values()), rtol=0, atol=1e-9)
    assert curve.measures == judge.names
    # The query without a vector counts, with 0.
    assert not curve.scores([800])[:, 0, ranks.qrels.query_ids.index("nobody")].any()


def test_without_distractors_only_relevant_images_compete():
    images = unit("i", np.random.default_rng(0).standard_normal((50, 4)))
    queries = unit("q", np.random.default_rng(1).standard_normal((5, 4)))
    qrels = {f"q{row}": {f"i{row}": 1, f"i{row + 9}": 2} for row in range(5)}
    curve = curve_of(relevant_ranks(images, queries, qrels), ["R@2", "RR", "AP", "P@4"])
    assert curve.smallest == 2
    assert [curve.at(2, name).mean for name in curve.measures] == pytest.approx([1, 1, 1, 0.5])


# The laws


def test_sums_agree_with_exact_fractions():
    cases = np.array(
        [
            (M, a, m, offset)
            for M in (1, 6, 33)
            for a in range(M + 1)
            for m in range(M + 1)
            for offset in (0, 4)
        ]
    )
    law = laws.hypergeometric(*cases.T[:3])
    for name, cutoff in [("reciprocal", None), ("discount", 10), ("found", 5), ("discount", None)]:
        found = laws.expected(law, cases.T[3], VALUES[name], cutoff)
        for (M, a, m, offset), value in zip(cases.tolist(), found, strict=True):
            ranks = np.arange(offset + 1.0, offset + min(a, m) + 2)
            ways = [comb(a, h) * comb(M - a, m - h) / comb(M, m) for h in range(len(ranks))]
            worth = VALUES[name](ranks) * (ranks <= (cutoff or np.inf))
            assert value == pytest.approx(float(np.dot(ways, worth)), abs=1e-12)


def test_the_first_reciprocal_moment_has_the_formula_of_the_docstring():
    rng = np.random.default_rng(0)
    M = np.full(24, 20_000)
    a, m = rng.integers(0, 20_000, (2, 24))
    a[:12] //= 2000
    found = laws.expected(laws.hypergeometric(M, a, m), np.zeros(24, dtype=int), VALUES["reciprocal"])
    for M_, a_, m_, value in zip(M.tolist(), a.tolist(), m.tolist(), found, strict=True):
        none = Fraction(comb(M_ - a_, m_ + 1), comb(M_ + 1, m_ + 1))
        assert value == pytest.approx(float(Fraction(M_ + 1, (m_ + 1) * (a_ + 1)) * (1 - none)), rel=1e-10)


@pytest.mark.parametrize(("n", "p"), [(7, 0.3), (5000, 1e-5), (50_000, 0.02), (200_000, 0.4), (10, 1.0)])
def test_binomial_expectations(n, p):
    law = laws.binomial(np.array([n]), np.array([p]))
    h = np.arange(n + 1)
    for name, cutoff in [("reciprocal", None), ("discount", 100), ("found", 10)]:
        worth = VALUES[name](h + 3.0) * (h + 3 <= (cutoff or np.inf))
        expected = float(stats.binom.pmf(h, n, p) @ worth)
        found = laws.expected(law, np.array([2]), VALUES[name], cutoff)[0]
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_nothing_to_draw_or_no_chance_is_certain():
    law = laws.binomial(np.array([9, 0]), np.array([0.0, 0.5]))
    assert laws.expected(law, np.array([1, 1]), VALUES["reciprocal"]).tolist() == [0.5, 0.5]


# Bad input


@pytest.mark.parametrize(
    ("measures", "sizes", "message"),
    [
        ("ERR@10", None, "ERR@10 has no closed form. Known: AP, P, R, RR, Success, nDCG, with rel=1 or more"),
        ("nDCG(dcg='exp-log2')@10", None, "nDCG(dcg='exp-log2')@10 has no closed form."),
        ("nDGC@10", None, "'nDGC@10' is not a measure."),
        (
            "RR",
            [9, 40],
            "A corpus of 40 images was asked for. There are 30. Use curve.extrapolate(sizes=...)",
        ),
        (
            "RR",
            [3],
            "A corpus of 3 images was asked for. The fixed images and a query's relevant ones are up",
        ),
        ("RR", [], "No size came. A curve has some."),
    ],
)
def test_bad_input_is_three_sentences(measures, sizes, message):
    images, queries, qrels = world(30, 3, 2)
    ranks = relevant_ranks(images, queries, qrels)
    with pytest.raises(InputError) as error:
        curve_of(ranks, measures, sizes)
    assert str(error.value).startswith(message)
