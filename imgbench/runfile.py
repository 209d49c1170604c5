"""The columns of a TREC run file as arrays: query, Q0, image, rank, score, tag."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np
from jaxtyping import Float32, Int32, Int64

from imgbench import trec
from imgbench.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = 6
_BLOCK = 8 << 20  # bytes that one thread parses at a time


@dataclass
class _Names:
    """Row numbers for ids: those given, or each new one as it comes."""

    kind: str
    rows: dict[str, int] = field(default_factory=dict[str, int])
    closed: bool = False

    def row(self, column: str) -> int:
        row = self.rows.get(column)
        if row is not None:
            return row
        if self.closed:
            wanted = f"The {self.kind} ids were given, and it is none of them."
            raise InputError(f"The {self.kind} {column!r} is unknown.", wanted, "Check the ids.")
        return self.rows.setdefault(column, len(self.rows))


def _names(kind: str, ids: Iterable[str] | None) -> _Names:
    if ids is None:
        return _Names(kind)
    # Keyed as the file spells them, so that no line has to be decoded.
    return _Names(kind, {trec.escape(name): row for row, name in enumerate(ids)}, closed=True)


def read(
    path: Path, query_ids: Iterable[str] | None, image_ids: Iterable[str] | None
) -> tuple[
    tuple[str, ...],
    tuple[str, ...],
    Int32[np.ndarray, "query depth"],
    Float32[np.ndarray, "query depth"],
]:
    """Query ids, image ids, rows and scores (padded with -1 and -inf), in the order of trec_eval.

    trec_eval sorts by score (float32), falling, then by image id, falling as text. Without `image_ids` the
    catalogue is what the file names, in falling order, so that equal scores stand in the order of their rows.
    """
    queries, images = _names("query", query_ids), _names("image", image_ids)
    q, i, score, line = _plainly(path, queries, images) or _columns(path, queries, images)
    names = list(images.rows)
    falling = np.array(sorted(range(len(names)), key=lambda row: names[row].encode(errors="surrogateescape")))
    place = np.empty(len(names), dtype=np.int64)
    place[falling[::-1].astype(np.int64)] = np.arange(len(names))
    _check_pairs(path, q * max(len(names), 1) + i, line)
    if not _in_order(q, score):
        order = np.lexsort((place[i], -score, q))
        q, i, score = q[order], i[order], score[order]
    if not images.closed:
        i, names = place[i], [names[row] for row in falling[::-1]]
    rows, scores = _padded(q, i, score, len(queries.rows))
    return _decoded(queries.rows), _decoded(names), rows, scores


_PRINTED = bytes(range(0x20, 0x7F)) + b"\n"


def _plainly(
    path: Path, queries: _Names, images: _Names
) -> (
    tuple[
        Int64[np.ndarray, "hit"],
        Int64[np.ndarray, "hit"],
        Float32[np.ndarray, "hit"],
        Int64[np.ndarray, "hit"],
    ]
    | None
):
    """What `_columns` gives for a file in ASCII with one space between columns, in a fraction of its time.

    None where a line may be anything else: `_columns` reads what is meant, or says what is wrong with it.
    """
    import pyarrow as pa
    from pyarrow import csv

    with trec.open_text(path) as file:
        content = cast("IO[bytes]", file.buffer).read()
    gaps = np.frombuffer(content, np.uint8) <= ord(" ")
    # Another sign than these, an empty line, an empty column: not for here.
    if content.translate(None, _PRINTED) or gaps[:1].any() or (gaps[1:] & gaps[:-1]).any():
        return None
    text = pa.dictionary(pa.int32(), pa.string())
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(column_names=list("qoirst"), block_size=_BLOCK),
            csv.ParseOptions(delimiter=" ", quote_char=False),
            csv.ConvertOptions(
                include_columns=list("qis"),
                column_types={"q": text, "i": text, "s": pa.float64()},
                null_values=[],
            ),
        ).unify_dictionaries()
    except pa.ArrowInvalid:
        return None
    with np.errstate(over="ignore"):
        score = table["s"].to_numpy().astype(np.float32)
    q, i = _rows(table["q"], queries), _rows(table["i"], images)
    if q is None or i is None or not np.isfinite(score).all():
        return None
    return q, i, score, np.arange(1, len(q) + 1)


def _rows(column: pa.ChunkedArray, names: _Names) -> Int64[np.ndarray, "hit"] | None:
    """Row numbers of a column of ids; None where one is unknown."""
    if not column.num_chunks:
        return None
    listed = column.chunk(0).dictionary.to_pylist()
    if not names.closed:
        names.rows.update((name, row) for row, name in enumerate(listed))
    rows = np.array([names.rows.get(name, -1) for name in listed], np.int64)
    found = rows[np.concatenate([chunk.indices.to_numpy() for chunk in column.chunks])]
    return None if (found < 0).any() else found


def _columns(
    path: Path, queries: _Names, images: _Names
) -> tuple[
    Int64[np.ndarray, "hit"], Int64[np.ndarray, "hit"], Float32[np.ndarray, "hit"], Int64[np.ndarray, "hit"]
]:
    q: list[int] = []
    i: list[int] = []
    score: list[float] = []
    lines: list[int] = []
    with trec.open_text(path) as file:
        for number, line in enumerate(file, start=1):
            columns = line.split()
            if not columns:
                continue
            if len(columns) != _COLUMNS:
                raise _malformed(path, number, f"has {len(columns)} columns", f"{_COLUMNS} columns")
            try:
                q.append(queries.row(columns[0]))
                i.append(images.row(columns[2]))
                score.append(float(columns[4]))
            except InputError as error:
                raise InputError(f"{_at(path, number)}: {error.came}", error.wanted, error.do) from None
            except ValueError:
                raise _malformed(path, number, f"has the score {columns[4]!r}", "a number") from None
            lines.append(number)
    return (
        np.array(q, np.int64),
        np.array(i, np.int64),
        _scores(path, score, lines),
        np.array(lines, np.int64),
    )


def _in_order(q: Int64[np.ndarray, "hit"], score: Float32[np.ndarray, "hit"]) -> bool:
    """Whether sorting would change nothing, as in a file that imgbench wrote: no ties, best first."""
    later = np.diff(q)
    return bool(((later > 0) | ((later == 0) & (np.diff(score) < 0))).all())


def _scores(path: Path, values: list[float], lines: list[int]) -> Float32[np.ndarray, "hit"]:
    with np.errstate(over="ignore"):  # too large for float32 becomes inf and is refused
        score = np.array(values, np.float64).astype(np.float32)
    wrong = ~np.isfinite(score)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise _malformed(path, lines[at], f"has the score {values[at]}", "a finite float32 number")
    return score


def _check_pairs(path: Path, pairs: Int64[np.ndarray, "hit"], line: Int64[np.ndarray, "hit"]) -> None:
    _, first = np.unique(pairs, return_index=True)
    if len(first) < len(pairs):
        again = np.ones(len(pairs), dtype=bool)
        again[first] = False
        raise InputError(
            f"{_at(path, int(line[again][0]))} names an image of its query for the second time.",
            "A ranking names an image once.",
            "Remove the duplicates.",
        )


def _padded(
    q: Int64[np.ndarray, "hit"],
    i: Int64[np.ndarray, "hit"],
    score: Float32[np.ndarray, "hit"],
    queries: int,
) -> tuple[Int32[np.ndarray, "query depth"], Float32[np.ndarray, "query depth"]]:
    counts = np.bincount(q, minlength=queries)
    depth = int(counts.max(initial=0))
    rank = np.arange(len(q)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.full((queries, depth), -1, dtype=np.int32)
    scores = np.full((queries, depth), -np.inf, dtype=np.float32)
    rows[q, rank], scores[q, rank] = i, score
    return rows, scores


def _decoded(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(trec.unescape(name) for name in names)


def _at(path: Path, number: int) -> str:
    return f"Line {number} of {path.name}"


def _malformed(path: Path, number: int, came: str, wanted: str) -> InputError:
    wanted = f"A TREC run has 'query Q0 image rank score tag', here {wanted}."
    return InputError(f"{_at(path, number)} {came}.", wanted, "Correct the line.")
