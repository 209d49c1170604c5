"""A report as a folder, and back. Nothing half-written ever stands under a final name."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from imgbench.errors import InputError
from imgbench.qrels import Qrels
from imgbench.report import results as form
from imgbench.report.results import Results
from imgbench.run import Run

if TYPE_CHECKING:
    import pandas as pd

PER_QUERY = "per_query.parquet"
QRELS = "qrels.trec"
PAGE = "index.html"
PLOT = "pareto.svg"
Pieces = dict[str, Callable[[Path], object]]
"""File name -> what writes it to the path that it is given."""

COLUMNS = ("encoder", "point", "query", "measure", "value")


class RunFiles(Mapping[tuple[str, str], Run]):
    """The saved runs of a folder, each read when it is asked for: together they may not fit into memory."""

    def __init__(self, folder: Path, results: Results) -> None:
        self._paths = {
            (point["encoder"], name): folder / path
            for point in results["points"]
            for name, path in form.run_files(point).items()
        }
        self._baseline = results["baseline"]
        self._folder = folder.resolve()
        self._queries: dict[str, tuple[str, ...]] = {}

    def __getitem__(self, name: tuple[str, str]) -> Run:
        encoder, key = name
        path = self._paths[name]
        if not path.resolve().is_relative_to(self._folder):  # a link may lead out, whatever its name
            came = f"{str(path)!r} is a link that leaves the folder."
            raise InputError(came, "The runs of a report lie in its folder.", "Copy the file itself.")
        if key == self._baseline:
            return Run.read_trec(path)
        # A TREC file says nothing of a query without hits; exact search has a hit for every query.
        return Run.read_trec(path, query_ids=self._asked(encoder))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def _asked(self, encoder: str) -> tuple[str, ...] | None:
        if (encoder, self._baseline) not in self._paths:
            return None
        if encoder not in self._queries:
            self._queries[encoder] = self[encoder, self._baseline].query_ids
        return self._queries[encoder]


def check_writable(folder: Path) -> None:
    """InputError where a report cannot be saved in the folder. What is there stays as it is."""
    if folder.exists() and not folder.is_dir():
        came = f"{str(folder)!r} is a file."
        raise InputError(came, "A report is saved as a folder.", "Choose another name.")
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:  # asking for permissions would say nothing of disks that are full or only to be read
        tempfile.TemporaryDirectory(prefix=".writing-", dir=there).cleanup()
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> InputError:
    came = f"No report can be saved in {str(folder)!r} ({error.strerror or error})."
    return InputError(came, "A folder to write to is needed.", "Check its permissions and the space left.")


def write(folder: Path, pieces: Mapping[str, Callable[[Path], object]]) -> None:
    """Each file is written in a hidden folder beside its place and then renamed, in the order of `pieces`.

    InputError if the disk refuses, with the files of an earlier report as they were.
    """
    check_writable(folder)
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, pieces)
    except OSError as error:
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise _unwritable(folder, error) from error


def _write(folder: Path, pieces: Mapping[str, Callable[[Path], object]]) -> None:
    hidden = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        for name, writer in pieces.items():
            (hidden / name).parent.mkdir(exist_ok=True)
            writer(hidden / name)
        for name in pieces:
            (folder / name).parent.mkdir(exist_ok=True)
            (hidden / name).replace(folder / name)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def data(
    results: Results, per_query: pd.DataFrame, runs: Mapping[tuple[str, str], Run], qrels: Qrels
) -> Pieces:
    """How each data file is written; results.json comes last, so that it never names what is not there."""
    pieces: Pieces = {}
    for point in results["points"]:
        for name, path in form.run_files(point).items():
            pieces[path] = runs[point["encoder"], name].write_trec
    pieces[QRELS] = qrels.write_trec
    pieces[PER_QUERY] = lambda path: write_frame(per_query, path)
    pieces[form.FILE] = lambda path: form.write(results, path)
    return pieces


def stale(folder: Path, results: Results) -> list[Path]:
    """Runs of an earlier report in the same folder that the new one does not name."""
    try:
        earlier = form.read(folder)
    except InputError:
        return []
    old, kept = (
        {path for point in each["points"] for path in form.run_files(point).values()}
        for each in (earlier, results)
    )
    return [folder / path for path in sorted(old - kept)]


def text(content: str) -> Callable[[Path], object]:
    """The writer of a text file in UTF-8."""
    return lambda path: path.write_text(content, encoding="utf-8", newline="\n")


def write_frame(per_query: pd.DataFrame, path: Path) -> None:
    """The scores of every query as parquet: four columns of text and one of float64."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {name: pa.float64() if name == "value" else pa.string() for name in COLUMNS}
    arrays = [pa.array(per_query[name].astype(object).tolist(), kind) for name, kind in kinds.items()]
    table = pa.Table.from_arrays(arrays, names=list(COLUMNS))
    parquet.write_table(table, path, compression="zstd")


def read_frame(folder: Path) -> pd.DataFrame:
    """The scores of every query: columns encoder, point, query, measure, value."""
    from pyarrow import ArrowException, parquet

    path = folder / PER_QUERY
    try:
        table = parquet.read_table(_there(path))
    except (ArrowException, OSError) as error:
        came = f"{str(path)!r} is not a parquet file ({str(error)[:100]})."
        raise InputError(came, "A whole file is needed.", "Copy or write it again.") from None
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        came = f"{str(path)!r} lacks the columns {', '.join(missing)}."
        raise InputError(came, f"Wanted {', '.join(COLUMNS)}.", "Run the benchmark again.")
    return table.select(list(COLUMNS)).to_pandas()


def read_qrels(folder: Path) -> Qrels:
    """The judgements that the scores were computed with."""
    return Qrels.read_trec(_there(folder / QRELS))


def _there(path: Path) -> Path:
    if not path.is_file():
        came = f"There is no {path.name} in {str(path.parent)!r}."
        raise InputError(came, "A saved report has this file.", "Run the benchmark again.")
    return path
