r"""CSV files with a header, read strictly: every problem is named with its file and line.

>>> from pathlib import Path
>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "queries.csv"
>>> _ = path.write_text('query_id,query_text\nq1,"a red\ncar"\nq2,a boat\n', encoding="utf-8")
>>> table = read(path, required=("query_id", "query_text"))
>>> table.columns["query_text"], table.lines
(['a red\ncar', 'a boat'], [2, 4])
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from imgbench.errors import InputError


@dataclass(frozen=True)
class Table:
    """The named columns of a CSV file and the line (from 1) on which each row starts."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.lines)


def read(path: str | Path, *, required: Sequence[str], optional: Sequence[str] | None = ()) -> Table:
    """The columns `required`, and those of `optional` that are there (None: all); others are left alone.

    UTF-8 with or without a byte order mark, any line ends, quoted fields may hold commas and line breaks.
    InputError for a missing file, other encodings, a header without the columns, rows of another length.
    """
    path = Path(path)
    try:
        # newline="" leaves line ends to csv (CRLF, quoted newlines); utf-8-sig drops a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(path, file, required, optional)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte {error.start}).", "CSV files are read as UTF-8.", "Save it as UTF-8."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{path} cannot be read: {reason}.", "Wanted a CSV file.", "Check the path and its permissions."
        ) from None


def _read(path: Path, file: TextIO, required: Sequence[str], optional: Sequence[str] | None) -> Table:
    rows = _rows(path, file)
    _, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    _check_header(path, header, required)
    wanted = (*required, *(header if optional is None else optional))
    places = {name: header.index(name) for name in wanted if name in header}
    columns: dict[str, list[str]] = {name: [] for name in places}
    lines: list[int] = []
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(
                f"Line {line} of {path} has {len(row)} fields.",
                f"The header has {len(header)}: {', '.join(header)}.",
                "Put texts that hold commas or quotes into double quotes.",
            )
        lines.append(line)
        for name, place in places.items():
            columns[name].append(row[place])
    return Table(path, columns, lines)


def _rows(path: Path, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(file, strict=True)
    line = 1
    try:
        for row in reader:
            if row:  # an empty line is no row
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"Line {line} of {path} is not CSV: {error}.",
            "Wanted fields separated by commas.",
            "Quote texts with double quotes, and write a quote inside as two.",
        ) from None


def _check_header(path: Path, header: list[str], required: Sequence[str]) -> None:
    if missing := [name for name in required if name not in header]:
        raise InputError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has {header}.",
            f"Wanted the header {','.join(required)}.",
            "Rename the columns, and separate them by commas.",
        )
    if len(set(header)) != len(header):
        raise InputError(
            f"{path} names a column twice: {header}.", "Each column has its own name.", "Rename or drop one."
        )
