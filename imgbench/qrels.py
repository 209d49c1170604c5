"""Relevance judgements: which image answers which query, and how well.

A grade above 0 is relevant, and the greater the better; a grade of 0 or less is "judged, not relevant".

>>> qrels = Qrels.from_dict({"a red car": {"1.jpg": 2, "7.jpg": 1}, "a boat": {"3.jpg": 1}})
>>> qrels
Qrels(3 judgements of 2 queries over 3 images)
>>> qrels.to_dict()["a red car"]
{'1.jpg': 2, '7.jpg': 1}
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from imgbench import tables
from imgbench.errors import InputError

_CSV_COLUMNS = ("query_id", "document_id", "relevance")
_GRADE = re.compile(r"\s*[+-]?[0-9]{1,9}\s*")  # fits int32
_TREC_FIELDS = 4


@dataclass(frozen=True, eq=False)
class Qrels:
    """Judgements as row numbers into `query_ids` and `image_ids`, in the order in which they came.

    `image_ids` may name images that a corpus lacks: they count as never found. InputError for a
    (query, image) pair that is judged twice and for arrays that do not fit together.
    """

    query_ids: tuple[str, ...]
    image_ids: tuple[str, ...]
    query_rows: Int32[np.ndarray, "judgement"]
    image_rows: Int32[np.ndarray, "judgement"]
    grades: Int32[np.ndarray, "judgement"]

    def __post_init__(self) -> None:
        for name in ("query_rows", "image_rows", "grades"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=np.int32))
        _check_rows(self)
        _check_pairs(self)

    def __len__(self) -> int:
        return len(self.grades)

    def __repr__(self) -> str:
        counts = f"{len(self)} judgements of {len(self.query_ids)} queries over {len(self.image_ids)} images"
        return f"Qrels({counts})"

    @classmethod
    def coerce(cls, value: Qrels | Mapping[str, Mapping[str, int]] | str | Path) -> Qrels:
        """Judgements from a Qrels, a dict of dicts, a CSV file (by its ending) or a TREC file."""
        if isinstance(value, Qrels):
            return value
        if isinstance(value, Mapping):
            return cls.from_dict(value)
        path = Path(value)
        return cls.read_csv(path) if path.suffix.lower() == ".csv" else cls.read_trec(path)

    @classmethod
    def from_dict(cls, judgements: Mapping[str, Mapping[str, int]]) -> Qrels:
        """Judgements from `{query_id: {image_id: grade}}`, the form of pytrec_eval and ir-measures."""
        return cls.from_rows(
            chain.from_iterable(repeat(query, len(images)) for query, images in judgements.items()),
            chain.from_iterable(judgements.values()),
            list(chain.from_iterable(images.values() for images in judgements.values())),
        )

    @classmethod
    def from_rows(cls, query_ids: Iterable[str], image_ids: Iterable[str], grades: Sequence[int]) -> Qrels:
        """One judgement per position of three equally long columns.

        >>> Qrels.from_rows(["q1", "q1"], ["a.jpg", "b.jpg"], [1, 2]).grades
        array([1, 2], dtype=int32)
        """
        queries, query_rows = _numbered(query_ids)
        images, image_rows = _numbered(image_ids)
        return cls(queries, images, query_rows, image_rows, _integers(grades))

    @classmethod
    def read_csv(cls, path: str | Path) -> Qrels:
        """Judgements of a CSV file with the columns query_id, document_id and relevance (an integer)."""
        table = tables.read(path, required=_CSV_COLUMNS)
        queries, images, texts = (table.columns[name] for name in _CSV_COLUMNS)
        grades = [_grade(text, table.path, line) for text, line in zip(texts, table.lines, strict=True)]
        return _named(table.path, queries, images, grades)

    @classmethod
    def read_trec(cls, path: str | Path) -> Qrels:
        """Judgements of a TREC file, `query iteration image grade` a line; .gz is unpacked."""
        from imgbench.trec import open_text, unescape

        queries: list[str] = []
        images: list[str] = []
        grades: list[int] = []
        with open_text(Path(path), "r") as file:
            for line, text in enumerate(file, start=1):
                if fields := text.split():
                    query, image, grade = _trec_fields(fields, Path(path), line)
                    queries.append(unescape(query))
                    images.append(unescape(image))
                    grades.append(grade)
        return _named(Path(path), queries, images, grades)

    def write_trec(self, path: str | Path) -> None:
        """The judgements as a TREC file, in their order; gzip where the name ends in .gz."""
        from imgbench.trec import escape, open_text

        queries = [escape(name) for name in self.query_ids]
        images = [escape(name) for name in self.image_ids]
        rows = zip(self.query_rows.tolist(), self.image_rows.tolist(), self.grades.tolist(), strict=True)
        with open_text(Path(path), "w") as file:
            file.writelines(f"{queries[query]} 0 {images[image]} {grade}\n" for query, image, grade in rows)

    def to_dict(self) -> dict[str, dict[str, int]]:
        """`{query_id: {image_id: grade}}`."""
        found: dict[str, dict[str, int]] = {query: {} for query in self.query_ids}
        rows = zip(self.query_rows.tolist(), self.image_rows.tolist(), self.grades.tolist(), strict=True)
        for query, image, grade in rows:
            found[self.query_ids[query]][self.image_ids[image]] = grade
        return found

    @cached_property
    def fingerprint(self) -> str:
        """`sha256:...` of the judgements, whatever their order."""
        queries, query_ranks = _ranked(self.query_ids)
        images, image_ranks = _ranked(self.image_ids)
        columns = query_ranks[self.query_rows], image_ranks[self.image_rows], self.grades
        order = np.lexsort(columns[1::-1])
        digest = hashlib.sha256(json.dumps([queries, images]).encode())
        for column in columns:
            digest.update(column[order].astype("<i4").tobytes())
        return f"sha256:{digest.hexdigest()}"


def _numbered(names: Iterable[str]) -> tuple[tuple[str, ...], Int32[np.ndarray, "name"]]:
    """The distinct names in first-seen order, and each name's row among them."""
    rows: dict[str, int] = {}
    numbers = [rows.setdefault(name, len(rows)) for name in names]
    return tuple(rows), np.array(numbers, dtype=np.int32)


def _ranked(names: Sequence[str]) -> tuple[list[str], Int32[np.ndarray, "name"]]:
    """The names sorted, and each name's place in that order."""
    order = sorted(range(len(names)), key=names.__getitem__)
    ranks = np.empty(len(names), dtype=np.int32)
    ranks[order] = np.arange(len(names), dtype=np.int32)
    return [names[row] for row in order], ranks


def _integers(grades: Sequence[int]) -> Int32[np.ndarray, "judgement"]:
    found = np.asarray(grades)
    if found.size and found.dtype.kind not in "iub":
        raise InputError(
            f"The grades have the type {found.dtype}.",
            "A grade is an integer.",
            "Pass 0 or 1, or 0 to 3 for graded.",
        )
    small = found.astype(np.int32)
    if (small != found).any():
        at = int(np.argmax(small != found))
        raise InputError(
            f"Grade {at} is {found[at]}.", "A grade fits 32 bits.", "Pass 0 or 1, or 0 to 3 for graded."
        )
    return small


def _grade(text: str, path: Path, line: int) -> int:
    if not _GRADE.fullmatch(text):
        raise InputError(
            f"Line {line} of {path} has the relevance {text!r}.",
            "A relevance is an integer.",
            "Write 1 for relevant and 0 for not.",
        )
    return int(text)


def _trec_fields(fields: list[str], path: Path, line: int) -> tuple[str, str, int]:
    if len(fields) != _TREC_FIELDS:
        raise InputError(
            f"Line {line} of {path} has {len(fields)} fields.",
            "A line of TREC qrels is 'query 0 image grade'.",
            "For CSV let the name end in .csv.",
        )
    return fields[0], fields[2], _grade(fields[3], path, line)


def _named(path: Path, queries: list[str], images: list[str], grades: list[int]) -> Qrels:
    """The judgements, or the error with the file's name before it."""
    try:
        return Qrels.from_rows(queries, images, grades)
    except InputError as error:
        raise InputError(f"{path}: {error.came}", error.wanted, error.do) from None


def _check_rows(qrels: Qrels) -> None:
    lengths = {len(qrels.query_rows), len(qrels.image_rows), len(qrels.grades)}
    if len(lengths) != 1:
        raise InputError(
            f"The columns have {sorted(lengths)} rows.",
            "A judgement has a query, an image and a grade.",
            "Align them.",
        )
    for rows, names in ((qrels.query_rows, qrels.query_ids), (qrels.image_rows, qrels.image_ids)):
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(names)):
            raise InputError(
                f"Row numbers from {rows.min()} to {rows.max()} came for {len(names)} ids.",
                "A row number points into the ids.",
                "Use Qrels.from_rows, which numbers them.",
            )


def _check_pairs(qrels: Qrels) -> None:
    pairs = qrels.query_rows.astype(np.int64) * len(qrels.image_ids) + qrels.image_rows
    order = np.argsort(pairs, kind="stable")
    twice = order[1:][np.diff(pairs[order]) == 0]
    if len(twice):
        first = twice.min()
        query, image = qrels.query_ids[qrels.query_rows[first]], qrels.image_ids[qrels.image_rows[first]]
        raise InputError(
            f"Query {query!r} and image {image!r} are judged twice ({len(twice)} such judgements).",
            "A query and an image have one grade.",
            "Keep one of them.",
        )
