"""imgbench.runfile: a plain TREC file is read by columns, any other line by line, with the same result."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from imgbench import runfile
from imgbench.errors import InputError
from imgbench.run import Run

PLAIN = "q2 Q0 b 1 0.9 t\nq2 Q0 a 2 0.5 t\nq1 Q0 c 1 -1e-3 t\n"


def outcome(path, **given):
    """What reading gives, or the error it raises, in words that can be compared."""
    try:
        run = Run.read_trec(path, **given)
    except InputError as error:
        return str(error)
    return run.query_ids, run.image_ids, run.rows.tolist(), run.scores.tolist()


@pytest.fixture
def both(tmp_path, monkeypatch):
    """The outcome of a content by columns and line by line, and whether the columns sufficed."""

    def read(content, **given):
        path = tmp_path / "run.trec"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        plainly, sufficed = runfile._plainly, []
        monkeypatch.setattr(runfile, "_plainly", lambda *of: sufficed.append(plainly(*of)) or sufficed[-1])
        fast = outcome(path, **given)
        monkeypatch.setattr(runfile, "_plainly", lambda *_: None)
        slow = outcome(path, **given)
        monkeypatch.setattr(runfile, "_plainly", plainly)
        return fast, slow, sufficed[0] is not None

    return read


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.rstrip("\n"),
        PLAIN.replace("0.9", "+0.9"),
        "q1 Q0 9 1 1 t\nq1 Q0 10 2 1 t\nq1 Q0 8 3 2 t\n",  # ties, and not in order
        "q1 Q0 a 1 3 t\nq2 Q0 a 1 3 t\nq1 Q0 b 2 4 t\n",  # a query in two places
        "q1 Q0 red%20car 1 0.5 t\nq1 Q0 100%25 2 0.4 t\n",
        'q"1 Q0 "a 1 0.5 t\nq"1 Q0 nan 2 0.4 t\n',  # signs that other tables give a meaning
        "null Q0 NA 1 0.5 t\n",
        "q1 Q0 a 1 0.1 t\nq1 Q0 b 2 0.10000000001 t\n",  # equal in float32
        "q1 Q0 a 1 1e-50 t\nq1 Q0 b 2 -1e-50 t\n",  # zeros in float32
    ],
)
def test_plain_files_are_read_by_columns(both, content):
    fast, slow, sufficed = both(content)
    assert sufficed
    assert fast == slow
    assert len(fast) == 4


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.replace(" ", "\t"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("q1 Q0", "q1  Q0"),
        PLAIN.replace("q1 Q0", " q1 Q0"),
        PLAIN.replace("t\n", "t \n"),
        PLAIN.replace("t\n", "t\n\n"),
        "\n" + PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.replace("q1", "größe"),
        PLAIN.replace(" b ", " b\u3000x "),
        PLAIN.replace("0.9", "1_0"),
        PLAIN.encode().replace(b"q1", b"q\xff"),
    ],
)
def test_other_files_are_read_line_by_line(both, content):
    fast, slow, sufficed = both(content)
    assert not sufficed
    assert fast == slow


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", None),
        (PLAIN + "q1 Q0 d 2 0.5\n", "Line 4 of run.trec has 5 columns."),
        (PLAIN + "q1 Q0 d  0.5 t\n", "Line 4 of run.trec has 5 columns."),
        (PLAIN + "q1 Q0 d 2 0.5 \n", "Line 4 of run.trec has 5 columns."),
        (PLAIN + " Q0 d 2 0.5 t\n", "Line 4 of run.trec has 5 columns."),
        (PLAIN + "q1 Q0 d 2 0.5 t t\n", "Line 4 of run.trec has 7 columns."),
        ("q1 Q0 d 2 0.5 t t\n", "Line 1 of run.trec has 7 columns."),
        (PLAIN + "q1 Q0 d 2 high t\n", "Line 4 of run.trec has the score 'high'."),
        (PLAIN + "q1 Q0 d 2 nan t\n", "Line 4 of run.trec has the score nan."),
        (PLAIN + "q1 Q0 d 2 inf t\n", "Line 4 of run.trec has the score inf."),
        (PLAIN + "q1 Q0 d 2 1e39 t\n", "Line 4 of run.trec has the score 1e+39."),
        (PLAIN + "q1 Q0 d 2 NA t\n", "Line 4 of run.trec has the score 'NA'."),
        (PLAIN + "q1 Q0 c 2 0.5 t\n", "Line 4 of run.trec names an image of its query for the second time."),
    ],
)
def test_errors_are_those_of_the_lines(both, content, said):
    fast, slow, _ = both(content)
    assert fast == slow
    if said is not None:
        assert fast.startswith(said)


@pytest.mark.parametrize("given", [{"image_ids": ["c", "b", "a", "x"]}, {"query_ids": ["q0", "q1", "q2"]}])
def test_given_ids_keep_their_rows(both, given):
    fast, slow, sufficed = both(PLAIN, **given)
    assert sufficed
    assert fast == slow
    assert fast[0 if "query_ids" in given else 1] == tuple(next(iter(given.values())))


def test_an_unknown_id_is_named_with_its_line(both):
    fast, slow, sufficed = both(PLAIN, image_ids=["a", "b"])
    assert not sufficed
    assert fast == slow
    assert fast.startswith("Line 3 of run.trec: The image 'c' is unknown.")


def test_many_lines_from_several_blocks(both, monkeypatch):
    monkeypatch.setattr(runfile, "_BLOCK", 4096)
    rng = np.random.default_rng(0)
    lines = [
        f"q{query} Q0 image_{image} {rank} {score:.6g} t\n"
        for query in rng.permutation(300)
        for rank, (image, score) in enumerate(
            zip(rng.permutation(500)[:20], rng.standard_normal(20), strict=True), start=1
        )
    ]
    fast, slow, sufficed = both("".join(lines))
    assert sufficed
    assert fast == slow
    assert len(fast[0]) == 300


def test_gzip_is_unpacked(both):
    fast, slow, sufficed = both(gzip.compress(PLAIN.encode()))
    assert sufficed
    assert fast == slow == both(PLAIN)[0]
