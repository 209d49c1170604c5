from __future__ import annotations

import numpy as np
import pytest

from imgbench import significance
from imgbench.errors import InputError
from imgbench.strata import by_cluster_size, by_length, compared, labelled, read, unlabelled


def test_queries_are_parted_by_their_words() -> None:
    few = by_length(["red car", "blue car", "a dog", "three dogs run"])
    assert few.labels == ("2 words", "3 words")
    assert few.codes.tolist() == [0, 0, 0, 1]
    many = by_length([" ".join(["word"] * count) for count in range(1, 13)])
    assert many.labels == ("1 to 4 words", "5 to 8 words", "9 to 12 words")
    assert np.bincount(many.codes).tolist() == [4, 4, 4]
    skewed = by_length([" ".join(["word"] * count) for count in [1] * 8 + [2, 3, 4, 5]])
    assert skewed.labels == ("1 word", "2 to 5 words")  # equal lengths stay together


def test_queries_are_parted_by_the_size_of_their_cluster() -> None:
    found = by_cluster_size(np.array([0, 0, 1, 2, 2]))
    assert found.labels == ("1 query", "2 queries")
    assert found.codes.tolist() == [1, 1, 0, 1, 1]


def test_labels_of_a_user() -> None:
    found = labelled("domain", {"q1": "cars", "q3": "boats", "other": "planes"}, ["q1", "q2", "q3"])
    assert found.labels == ("boats", "cars")
    assert found.codes.tolist() == [1, -1, 0]
    with pytest.raises(
        InputError, match=r"The strata 'domain' label no judged query\. Wanted labels of queries"
    ):
        labelled("domain", {"other": "planes"}, ["q1"])
    with pytest.raises(InputError, match=r"The strata 'id' have 51 labels\. At most 50"):
        labelled("id", {f"q{row}": str(row) for row in range(51)}, [f"q{row}" for row in range(51)])


def test_what_is_not_labelled_is_said() -> None:
    labels = {"q1": "cars", "other": "planes", "another": "cars"}
    found = labelled("domain", labels, ["q1", "q2", "q3"])
    assert unlabelled(found, labels, ["q1", "q2", "q3"]) == [
        "2 labels of 'domain' name no judged query (such as 'other').",
        "2 of 3 judged queries have no label in 'domain'.",
    ]
    assert unlabelled(labelled("all", {"q1": "x"}, ["q1"]), {"q1": "x"}, ["q1"]) == []


def test_strata_of_a_user_have_names_of_their_own() -> None:
    with pytest.raises(InputError, match=r"The strata 'query length' have the name of some that are always"):
        labelled("query length", {"q1": "long"}, ["q1"])


def test_labels_from_a_file(tmp_path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("domain,query_id,night\ncars,q1,yes\nboats,q2,\n")
    assert read(path) == {"domain": {"q1": "cars", "q2": "boats"}, "night": {"q1": "yes", "q2": ""}}
    assert labelled("night", read(path)["night"], ["q1", "q2"]).codes.tolist() == [0, -1]
    for text, message in (
        ("query_id,domain\nq1,a\nq1,b\n", r"labels 'q1' twice\. Each query has one row\."),
        ("query_id,domain\n", r"labels\.csv has no rows\. Each labels a query\."),
        ("query_id\nq1\n", r"has only the column query_id\. Every other column"),
        ("query,domain\nq1,a\n", r"lacks the column query_id"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read(path)


def test_each_part_has_its_own_difference() -> None:
    rng = np.random.default_rng(0)
    strata = labelled(
        "half", {str(row): "lost" if row % 2 else "kept" for row in range(2000)}, [*map(str, range(2000))]
    )
    deltas = rng.normal(0, 0.02, (1, 2000)) - 0.03 * (np.arange(2000) % 2)
    kept, lost = compared(deltas, np.arange(2000), [strata], margin=0.01)
    assert (kept.strata, kept.label, kept.queries, kept.clusters) == ("half", "kept", 1000, 1000)
    assert (kept.comparisons[0].verdict, lost.comparisons[0].verdict) == ("holds", "degrades")
    assert lost.comparisons[0].mean == pytest.approx(deltas[0, 1::2].mean())
    together = significance.paired(deltas, np.arange(2000), margin=0.01)[0]
    assert together.mean == pytest.approx((kept.comparisons[0].mean + lost.comparisons[0].mean) / 2)


def test_the_error_is_shared_by_all_strata() -> None:
    deltas = np.random.default_rng(0).normal(0, 0.05, (2, 600))
    clusters = np.arange(600)
    two = labelled("two", {str(row): str(row % 2) for row in range(600)}, [*map(str, range(600))])
    three = labelled("three", {str(row): str(row % 3) for row in range(600)}, [*map(str, range(600))])
    found = compared(deltas, clusters, [two, three], margin=0.01, confidence=0.9)
    alone = significance.paired(deltas[:, ::2], clusters[::2], margin=0.01, confidence=1 - 0.1 / 5)
    assert found[0].comparisons == alone
    assert len(found) == 5


def test_small_strata_are_counted_and_not_judged() -> None:
    rows = [*map(str, range(100))]
    strata = labelled("few", {str(row): "rare" if row < 9 else "common" for row in range(100)}, rows)
    deltas = np.random.default_rng(0).normal(0, 0.05, (1, 100))
    common, rare = compared(deltas, np.arange(100), [strata], margin=0.01)
    assert (rare.queries, rare.clusters, rare.comparisons) == (9, 9, None)
    assert common.comparisons == significance.paired(
        deltas[:, 9:], np.arange(91), margin=0.01
    )  # no share lost


def test_several_builds_are_parted_alike() -> None:
    deltas = np.random.default_rng(0).normal(0, 0.05, (1, 3, 400))
    strata = labelled("half", {str(row): str(row % 2) for row in range(400)}, [*map(str, range(400))])
    part = compared(deltas, np.arange(400), [strata], margin=0.01)[0]
    assert part.comparisons[0].builds == 3
    assert part.comparisons[0].mean == pytest.approx(deltas[:, :, ::2].mean())


def test_rare_losses_in_one_part_do_not_hide() -> None:
    # 2 % of all queries, but a fifth of the long ones, lose everything.
    deltas = np.zeros((1, 3000))
    deltas[0, :60] = -1
    strata = labelled(
        "length",
        {str(row): "long" if row < 300 else "short" for row in range(3000)},
        [*map(str, range(3000))],
    )
    long, short = compared(deltas, np.arange(3000), [strata], margin=0.05)
    assert (long.comparisons[0].verdict, short.comparisons[0].verdict) == ("degrades", "holds")
    assert significance.paired(deltas, np.arange(3000), margin=0.05)[0].verdict == "holds"
