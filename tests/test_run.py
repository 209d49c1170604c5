from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from imgbench.errors import InputError
from imgbench.run import Run
from imgbench.trec import escape, open_text, unescape

IMAGES = ["a", "b", "c", "d", "e"]


def test_a_trusted_run_is_the_same_as_a_checked_one():
    scores, rows = np.float32([[0.9, 0.5, np.nan], [0.7, -3e38, -3e38]]), np.array([[2, 0, 1], [1, -1, -1]])
    trusted = Run.trusted(("q", "r"), ("a", "b", "c"), scores, rows)
    checked = Run.from_search(["q", "r"], ["a", "b", "c"], scores, rows)
    assert (trusted.query_ids, trusted.image_ids) == (checked.query_ids, checked.image_ids)
    for mine, expected in ((trusted.rows, checked.rows), (trusted.scores, checked.scores)):
        np.testing.assert_array_equal(mine, expected)
        assert mine.dtype == expected.dtype
        assert not mine.flags.writeable


def test_order_is_by_score_then_row_and_missing_hits_end_it() -> None:
    run = Run.from_search(
        ["q", "r"],
        IMAGES,
        np.array([[0.5, 0.9, -3.4e38, 0.9, np.nan], [-0.0, 0.0, -1, 2, -np.inf]]),
        np.array([[1, 4, -1, 2, 3], [3, 2, 0, 1, 4]]),
    )
    assert run.rows.tolist() == [[2, 4, 1, -1, -1], [1, 2, 3, 0, 4]]
    assert run.scores[0].tolist() == pytest.approx([0.9, 0.9, 0.5, -np.inf, -np.inf])
    assert (run.rows.dtype, run.scores.dtype, run.depth, len(run)) == (np.int32, np.float32, 5, 2)
    assert [image for image, _ in run.hits("q")] == ["c", "e", "b"]
    assert run.hits("r", 1) == [("b", 2.0)]
    with pytest.raises(ValueError, match="read-only"):
        run.rows[0, 0] = 3


def test_the_order_does_not_depend_on_the_order_that_came() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, (20, 50)) / 3
    rows = np.argsort(rng.random((20, 50)))
    mixed = np.argsort(rng.random((20, 50)))
    ids = [str(row) for row in range(50)]
    queries = [f"q{q}" for q in range(20)]
    one = Run.from_search(queries, ids, scores, rows)
    two = Run.from_search(
        queries, ids, np.take_along_axis(scores, mixed, 1), np.take_along_axis(rows, mixed, 1)
    )
    assert (one.rows == two.rows).all()


@pytest.mark.parametrize(
    ("queries", "images", "rows", "message"),
    [
        (
            ["q"],
            IMAGES,
            [[0, 5]],
            r"Query 'q' has the image row 5\. The catalogue has the rows 0 to 4\. Pass the ids",
        ),
        (["q"], IMAGES, [[0, -2]], r"Query 'q' has the image row -2\."),
        (["q"], IMAGES, [[0, 2**32]], r"Query 'q' has the image row 4294967296\."),
        (["q"], IMAGES, [[3, 3]], r"Query 'q' has the image 'd' twice\. A ranking names an image once\."),
        (["q"], IMAGES, [[0.0, 1.0]], r"rows are float64\. They are whole numbers\."),
        (["q", "q"], IMAGES, [[0, 1], [0, 1]], r"The query id 'q' occurs twice\."),
        (["q"], ["a", "b", "a"], [[0, 1]], r"The image id 'a' occurs twice\."),
        (["q", "r"], IMAGES, [[0, 1]], r"2 queries came with rows \(1, 2\) and scores \(1, 2\)\."),
    ],
)
def test_wrong_searches_are_refused(queries, images, rows, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Run.from_search(queries, images, np.zeros(np.shape(rows)), rows)


def test_a_run_out_of_order_is_refused() -> None:
    for rows, scores in (
        ([[0, 1]], [[1, 2]]),
        ([[-1, 1]], [[-np.inf, 1]]),
        ([[0, -1]], [[1, 0]]),
        ([[0]], [[np.nan]]),
    ):
        with pytest.raises(
            InputError, match=r"The ranking of query 'q' is not in order\. Scores fall along a row"
        ):
            Run(("q",), ("a", "b"), np.array(rows), np.array(scores, dtype=np.float32))


def test_overlap_by_hand() -> None:
    truth = Run.from_search(
        ["q", "r", "s"], IMAGES, [[5, 4, 3, 2]] * 3, [[0, 1, 2, 3], [0, 1, 2, 3], [-1] * 4]
    )
    run = Run.from_search(
        ["q", "r", "s"], IMAGES, [[5, 4, 3, 2]] * 3, [[4, 3, 0, 1], [-1, -1, -1, 1], [0, 1, 2, 3]]
    )
    assert run.overlap_each(truth, 2).tolist() == [0, 0.5, 1]
    assert run.overlap_each(truth, 4).tolist() == [0.75, 0.25, 1]
    assert run.overlap(truth, 4) == pytest.approx(2 / 3)
    assert truth.overlap(truth, 3) == 1
    assert run.overlap(truth.top(4), 4) == run.overlap(truth, 4)


def test_overlap_matches_queries_and_images_by_id() -> None:
    truth = Run.from_search(["q", "r"], IMAGES, [[2, 1]] * 2, [[0, 1], [2, 3]])
    other = Run.from_search(["r", "q"], ["x", "d", "c", "a"], [[2, 1]] * 2, [[1, 2], [0, 3]])
    assert other.overlap_each(truth, 2).tolist() == [1, 0.5]
    with pytest.raises(InputError, match=r"The runs answer 1 and 2 queries that are not the same\."):
        Run.from_search(["q"], IMAGES, [[1]], [[0]]).overlap(truth, 1)
    with pytest.raises(
        InputError, match=r"The truth holds 2 images a query\. overlap@3 needs 3\. Search it with k=3"
    ):
        truth.overlap(truth, 3)
    with pytest.raises(InputError, match=r"k is 0\."):
        truth.overlap(truth, 0)


def _random_run() -> Run:
    rng = np.random.default_rng(3)
    images = [f"sub folder/{row} 100%.jpg" for row in range(300)]
    rows = np.argsort(rng.random((40, 300)))[:, :60]
    rows[rng.random(rows.shape) < 0.2] = -1
    rows[7] = -1
    scores = rng.integers(0, 4, rows.shape) * 1e-9 + 0.25  # equal in float32
    return Run.from_search([f"query {q}\u2028" for q in range(40)], images, scores, rows)


@pytest.mark.parametrize("name", ["run.trec", "run.trec.gz"])
def test_trec_files_keep_order_and_ids(tmp_path: Path, name: str) -> None:
    run = _random_run()
    path = run.write_trec(tmp_path / name)
    back = Run.read_trec(path, query_ids=run.query_ids, image_ids=run.image_ids)
    assert (back.query_ids, back.image_ids) == (run.query_ids, run.image_ids)
    assert (back.rows[:, : run.depth] == run.rows[:, : back.depth]).all()
    alone = Run.read_trec(path)
    assert alone.query_ids == run.query_ids[:7] + run.query_ids[8:]  # the query without hits has no line
    for query in alone.query_ids:
        assert [image for image, _ in alone.hits(query)] == [image for image, _ in run.hits(query)]
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")
    assert [part.name for part in tmp_path.iterdir()] == [name]


def test_written_bytes_depend_on_the_run_alone(tmp_path: Path) -> None:
    one = _random_run().write_trec(tmp_path / "one.trec.gz").read_bytes()
    two = _random_run().write_trec(tmp_path / "two.trec.gz").read_bytes()
    assert one == two
    assert gzip.decompress(one).splitlines()[0].split()[:2] == [b"query%200%E2%80%A8", b"Q0"]
    plain = Run.from_search(["q"], ["a b", "c"], [[0.9, 0.1]], [[0, 1]])
    assert (
        plain.write_trec(tmp_path / "x", tag="my run").read_text()
        == "q Q0 a%20b 1 2 my%20run\nq Q0 c 2 1 my%20run\n"
    )
    assert plain.write_trec(tmp_path / "x", depth=1).read_text() == "q Q0 a%20b 1 1 imgbench\n"


def test_foreign_files_are_ordered_as_trec_eval_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = rng.permutation([str(row) for row in range(40)] + ["a", "B", "é", "Z"])
    scores = rng.integers(0, 5, 44) / 3 + rng.integers(0, 2, 44) * 1e-9
    lines = [f"q 0 {name} 1 {score!r} tag" for name, score in zip(names, scores.tolist(), strict=True)]
    path = tmp_path / "run.trec"
    path.write_text("\r\n".join(lines) + "\n\n")
    found = [image for image, _ in Run.read_trec(path).hits("q")]
    scored = {"q": dict(zip(names.tolist(), scores.tolist(), strict=True))}
    for rank, image in enumerate(found, start=1):  # trec_eval tells each image's rank by its reciprocal rank
        judged = pytrec_eval.RelevanceEvaluator({"q": {image: 1}}, {"recip_rank"}).evaluate(scored)
        assert judged["q"]["recip_rank"] == pytest.approx(1 / rank)
    given = Run.read_trec(path, image_ids=["other", *names.tolist()])
    assert [image for image, _ in given.hits("q")] == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "q Q0 a 1 2.0 t\nq Q0 a\n",
            r"Line 2 of run\.trec has 3 columns\. A TREC run has .* here 6 columns\.",
        ),
        ("q Q0 a 1 high t\n", r"Line 1 of run\.trec has the score 'high'\..* here a number\."),
        ("q Q0 a 1 2 t\n\nq Q0 b 1 nan t\n", r"Line 3 of run\.trec has the score nan\. .* finite float32"),
        ("q Q0 a 1 1e300 t\n", r"Line 1 of run\.trec has the score 1e\+300"),
        (
            "q Q0 a 1 2 t\nr Q0 a 1 2 t\nq Q0 a 2 1 t\n",
            r"Line 3 of run\.trec names an image of its query for the sec",
        ),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.trec"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Run.read_trec(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"There is no file .*none\.trec'\. A text file is needed\. Check the path\."
    ):
        Run.read_trec(tmp_path / "none.trec")
    path = _random_run().write_trec(tmp_path / "run.trec.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"is damaged gzip data .* Copy or write it again\."):
        Run.read_trec(path)
    (tmp_path / "run.trec").write_text("q Q0 a 1 2 t\n")
    with pytest.raises(InputError, match=r"Line 1 of run\.trec: The image 'a' is unknown\."):
        Run.read_trec(tmp_path / "run.trec", image_ids=["b"])
    (tmp_path / "empty.trec").write_text("")
    assert len(Run.read_trec(tmp_path / "empty.trec")) == 0


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.trec").write_text("the old file")

    def write() -> None:
        with open_text(tmp_path / "run.trec", "w") as file:
            file.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the old file"]


def test_escaped_ids_are_one_column_and_come_back() -> None:
    for number in range(0x3100):
        name = f"{chr(number)}%20 x"
        assert len(escape(name).split()) == 1
        assert unescape(escape(name)) == name
    assert unescape("caf%C3%A9%zz") == "caf%C3%A9%zz"
    with pytest.raises(InputError, match=r"An id is empty\."):
        escape("")


def test_to_dict_falls_by_rank() -> None:
    run = Run.from_search(["q"], IMAGES, [[0.5, 0.5, 0.1]], [[1, 0, -1]])
    assert run.to_dict() == {"q": {"a": 3.0, "b": 2.0}}
    assert run.to_dict(1) == {"q": {"a": 3.0}}
