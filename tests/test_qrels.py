"""Judgements: the same facts through every door, and an error for what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imgbench import tables
from imgbench.errors import InputError
from imgbench.qrels import Qrels

JUDGED = {"q1": {"a.jpg": 2, "b.jpg": 0}, "q2": {"b.jpg": 1}, "q3": {"c.jpg": -1}}


def _csv(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_dict_there_and_back():
    assert Qrels.from_dict(JUDGED).to_dict() == JUDGED


def test_rows_are_numbered_in_the_order_in_which_they_come():
    qrels = Qrels.from_rows(["q2", "q1", "q2"], ["b", "b", "a"], [1, 1, 3])
    assert qrels.query_ids == ("q2", "q1")
    assert qrels.image_ids == ("b", "a")
    assert qrels.query_rows.tolist() == [0, 1, 0]
    assert qrels.image_rows.tolist() == [0, 0, 1]
    assert qrels.grades.dtype == np.int32
    assert len(qrels) == 3


@pytest.mark.parametrize("name", ["qrels.trec", "qrels.trec.gz"])
def test_trec_there_and_back_with_strange_ids(tmp_path, name):
    judged = {"red car": {"a b.jpg": 1, "100%.jpg": 2}, "größe": {"a b.jpg": 0}}
    Qrels.from_dict(judged).write_trec(tmp_path / name)
    assert Qrels.read_trec(tmp_path / name).to_dict() == judged
    assert Qrels.coerce(tmp_path / name).to_dict() == judged


def test_trec_lines_are_those_that_trec_eval_reads(tmp_path):
    Qrels.from_dict(JUDGED).write_trec(tmp_path / "q")
    assert (tmp_path / "q").read_text().splitlines() == [
        "q1 0 a.jpg 2", "q1 0 b.jpg 0", "q2 0 b.jpg 1", "q3 0 c.jpg -1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "query_id,document_id,relevance\nq1,a.jpg,2\nq1,b.jpg,0\nq2,b.jpg,1\nq3,c.jpg,-1\n",
        "\ufeffquery_id,document_id,relevance\r\nq1,a.jpg,2\r\nq1,b.jpg,0\r\nq2,b.jpg,1\r\nq3,c.jpg,-1",
        'relevance,n,query_id,document_id\n2,x,q1,"a.jpg"\n 0,"x,",q1,b.jpg\n\n1,"\n",q2,b.jpg\n-1,,q3,c.jpg',
    ],
    ids=["plain", "bom and crlf", "other columns and order"],
)
def test_csv(tmp_path, text):
    path = _csv(tmp_path / "qrels.csv", text)
    assert Qrels.read_csv(path).to_dict() == JUDGED
    assert Qrels.coerce(str(path)).to_dict() == JUDGED


def test_coerce_leaves_qrels_and_takes_dicts():
    qrels = Qrels.from_dict(JUDGED)
    assert Qrels.coerce(qrels) is qrels
    assert Qrels.coerce(JUDGED).to_dict() == JUDGED


def test_fingerprint_is_of_the_facts_not_of_their_order():
    one = Qrels.from_rows(["q1", "q2"], ["a", "b"], [1, 2]).fingerprint
    assert one.startswith("sha256:")
    assert Qrels.from_rows(["q2", "q1"], ["b", "a"], [2, 1]).fingerprint == one
    for other in ([1, 1], [2, 1]):
        assert Qrels.from_rows(["q1", "q2"], ["a", "b"], other).fingerprint != one
    assert Qrels.from_rows(["q1", "q2"], ["b", "a"], [1, 2]).fingerprint != one


def test_twice_judged_is_an_error():
    with pytest.raises(InputError, match=r"Query 'q' and image 'a' are judged twice \(1 such judgements\)\."):
        Qrels.from_rows(["q", "q", "q"], ["a", "b", "a"], [1, 1, 0])


def test_twice_judged_in_a_file_names_the_file(tmp_path):
    path = _csv(tmp_path / "q.csv", "query_id,document_id,relevance\nq,a,1\nq,a,1\n")
    with pytest.raises(InputError, match=r"q\.csv: Query 'q' and image 'a' are judged twice"):
        Qrels.read_csv(path)


@pytest.mark.parametrize("value", ["1.0", "", "yes", "1e3", "99999999999"])
def test_relevance_that_is_no_integer_names_its_line(tmp_path, value):
    text = f'query_id,document_id,relevance\nq1,"a\nb",1\nq2,a,{value}\n'
    with pytest.raises(
        InputError, match=r"Line 4 of .*q\.csv has the relevance .* A relevance is an integer\."
    ):
        Qrels.read_csv(_csv(tmp_path / "q.csv", text))


def test_float_grades_are_an_error():
    with pytest.raises(InputError, match=r"The grades have the type float64\. A grade is an integer\."):
        Qrels.from_rows(["q"], ["a"], [0.5])  # type: ignore[list-item]


def test_a_grade_beyond_32_bits_does_not_become_another():
    with pytest.raises(InputError, match=r"Grade 1 is 1099511627779\. A grade fits 32 bits\."):
        Qrels.from_rows(["q", "q"], ["a", "b"], [1, 2**40 + 3])


def test_trec_line_with_other_fields_is_an_error(tmp_path):
    path = _csv(tmp_path / "q", "q1 0 a.jpg 1\nq1 0 b.jpg\n")
    with pytest.raises(
        InputError, match=r"Line 2 of .* has 3 fields\. A line of TREC qrels is 'query 0 image grade'"
    ):
        Qrels.read_trec(path)


def test_rows_that_do_not_fit_are_an_error():
    rows = np.zeros(2, np.int32)
    with pytest.raises(InputError, match=r"The columns have \[1, 2\] rows\."):
        Qrels(("q",), ("a", "b"), rows, rows[:1], rows)
    with pytest.raises(InputError, match=r"Row numbers from 0 to 3 came for 2 ids\."):
        Qrels(("q",), ("a", "b"), rows, np.array([0, 3], np.int32), rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "query,document_id,relevance\n",
            r"lacks the column query_id; it has \['query', 'document_id', 'relevance'\]",
        ),
        (
            "query_id;document_id;relevance\n",
            r"lacks the columns .* it has \['query_id;document_id;relevance'\]",
        ),
        ("", r"lacks the columns query_id, document_id, relevance; it has \[\]"),
        ("query_id,document_id,relevance\nq,a\n", r"Line 2 of .* has 2 fields\. The header has 3"),
        ("query_id,document_id,relevance\nq,a,1,2\n", r"Line 2 of .* has 4 fields\."),
        ('query_id,document_id,relevance\nq,"a,1\n', r"Line 2 of .* is not CSV: unexpected end of data"),
        ("query_id,document_id,relevance,relevance\n", r"names a column twice"),
    ],
)
def test_bad_csv(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        Qrels.read_csv(_csv(tmp_path / "q.csv", text))


def test_other_encodings_and_absent_files_are_errors(tmp_path):
    (tmp_path / "latin.csv").write_bytes("query_id\nü\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.csv is not UTF-8"):
        tables.read(tmp_path / "latin.csv", required=("query_id",))
    with pytest.raises(InputError, match=r"none\.csv cannot be read: No such file or directory\."):
        tables.read(tmp_path / "none.csv", required=("query_id",))


@pytest.mark.data
def test_the_study(data):
    qrels = Qrels.read_csv(data / "vehicle-search" / "qrels.csv")
    assert (len(qrels), len(qrels.query_ids), len(qrels.image_ids)) == (10_725, 10_725, 2_145)
