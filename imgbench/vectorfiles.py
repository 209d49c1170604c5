"""Vectors that somebody else wrote, by file format. Sizes are checked first, and nothing is unpickled.

.npy        NumPy: (rows, dim), memory-mapped
.fbin       big-ann-benchmarks: uint32 rows, uint32 dim, then float32, little-endian, memory-mapped
.fvecs      TEXMEX (http://corpus-texmex.irisa.fr): a row is int32 dim, then float32
.parquet    a column of ids and a column of lists
a folder    clip-retrieval: img_emb/*.npy, text_emb/*.npy, metadata/*.parquet
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imgbench.errors import InputError, unknown
from imgbench.vectors import Vectors

if TYPE_CHECKING:
    import pyarrow as pa

_SIDES = {"image": "img_emb", "text": "text_emb"}
_METADATA_IDS = ("image_path", "key", "id")  # clip-retrieval's columns, the most telling first
_HEADER_BYTES = 8
_MAX_DIM = 2**20


def read(
    path: Path,
    ids: Sequence[str] | str | Path | None,
    *,
    side: str = "image",
    id_column: str | None = None,
    vector_column: str | None = None,
) -> tuple[Sequence[str], Vectors]:
    """Ids and vectors of a file or folder, as `Embeddings.load` describes them."""
    if not path.exists():
        raise InputError(f"There is no {path}.", "Wanted a file or folder of vectors.", "Check the path.")
    if path.is_dir():
        own, vectors = _clip_retrieval(path, side, id_column)
    elif path.suffix.lower() == ".parquet":
        own, vectors = _parquet(path, id_column, vector_column)
    elif path.suffix.lower() in FORMATS:
        own, vectors = None, FORMATS[path.suffix.lower()](path)
    else:
        raise unknown("a format of vectors", path.suffix or path.name, [*FORMATS, ".parquet"])
    given = _given(ids) if ids is not None else own or _beside(path)
    return given or list(map(str, range(len(vectors)))), vectors


def _npy(path: Path) -> Vectors:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        raise _damaged(path, ".npy", str(error)) from None


def _fbin(path: Path) -> Vectors:
    size = path.stat().st_size
    header = np.fromfile(path, dtype="<u4", count=2)
    rows, dim = (int(value) for value in header) if len(header) == 2 else (0, 0)  # noqa: PLR2004  the header
    if not rows * dim or size != _HEADER_BYTES + 4 * rows * dim:
        raise _damaged(path, ".fbin", f"{size} bytes do not hold {rows} x {dim} float32")
    return np.memmap(path, dtype="<f4", mode="r", offset=_HEADER_BYTES, shape=(rows, dim))


def _fvecs(path: Path) -> Vectors:
    size = path.stat().st_size
    header = np.fromfile(path, dtype="<i4", count=1)
    dim = int(header[0]) if len(header) else 0
    if not 0 < dim <= _MAX_DIM or size % (4 * (dim + 1)):
        raise _damaged(path, ".fvecs", f"{size} bytes do not hold rows of dimension {dim}")
    rows = np.memmap(path, dtype="<i4", mode="r").reshape(-1, dim + 1)
    if not (rows[:, 0] == dim).all():
        raise _damaged(path, ".fvecs", "rows differ in dimension")
    return rows.view("<f4")[:, 1:]


FORMATS: dict[str, Callable[[Path], Vectors]] = {".npy": _npy, ".fbin": _fbin, ".fvecs": _fvecs}


def _parquet(
    path: Path, id_column: str | None, vector_column: str | None
) -> tuple[list[str] | None, Vectors]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, ".parquet", str(error)) from None
    lists = [field.name for field in table.schema if _is_list(field.type)]
    if vector_column is None and len(lists) != 1:
        raise InputError(
            f"{path} has {len(lists)} columns of lists {lists}.",
            "Wanted one of vectors.",
            "Pass vector_column=NAME.",
        )
    vectors = _column(table, path, vector_column or lists[0])
    if not _is_list(vectors.type):
        raise InputError(
            f"The column {vector_column!r} of {path} holds {vectors.type}.",
            "Wanted lists of floats.",
            f"Choose among {lists}.",
        )
    named = id_column or ("id" if "id" in table.column_names else None)
    ids = None if named is None else list(map(str, _column(table, path, named).to_pylist()))
    return ids, _stacked(path, vectors)


def _column(table: pa.Table, path: Path, name: str) -> pa.Array:
    if name not in table.column_names:
        raise unknown(f"a column of {path}", name, table.column_names)
    column = table.column(name).combine_chunks()
    if column.null_count:
        raise InputError(
            f"The column {name} of {path} has {column.null_count} empty cells.",
            "Wanted none.",
            "Drop these rows.",
        )
    return column


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _stacked(path: Path, lists: pa.Array) -> Vectors:
    values = lists.flatten()
    rows = len(lists)
    lengths = set(lists.value_lengths().unique().to_pylist()) if rows else set()
    if len(lengths) != 1 or values.null_count:
        raise InputError(
            f"The vectors of {path} have the lengths {sorted(lengths)[:5]}.",
            "Wanted one.",
            "Drop the odd rows.",
        )
    return values.to_numpy(zero_copy_only=False).reshape(rows, -1)


def _clip_retrieval(folder: Path, side: str, id_column: str | None) -> tuple[list[str] | None, Vectors]:
    if side not in _SIDES:
        raise unknown("a side", side, _SIDES)
    parts = [_npy(path) for path in _numbered(folder / _SIDES[side], ".npy")]
    if not parts:
        raise InputError(
            f"{folder} has no {_SIDES[side]}/*.npy.",
            "Wanted a clip-retrieval folder, or a complete store.",
            "Name the folder that holds it.",
        )
    vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
    metadata = _numbered(folder / "metadata", ".parquet")
    return [name for path in metadata for name in _metadata_ids(path, id_column)] or None, vectors


def _metadata_ids(path: Path, id_column: str | None) -> list[str]:
    from pyarrow import parquet

    columns = parquet.read_schema(path).names
    name = id_column or next((name for name in _METADATA_IDS if name in columns), None)
    if name is None or name not in columns:
        raise unknown(f"a column of {path}", name or "id", columns, otherwise="Pass id_column=NAME.")
    return list(map(str, _column(parquet.read_table(path, columns=[name]), path, name).to_pylist()))


def _numbered(folder: Path, suffix: str) -> list[Path]:
    """The folder's files in the order of their numbers: img_emb_10 comes after img_emb_9."""
    return sorted(
        folder.glob(f"*{suffix}"), key=lambda path: [int(part) for part in re.findall(r"\d+", path.stem)]
    )


def _given(ids: Sequence[str] | str | Path) -> Sequence[str]:
    return _read_ids(Path(ids)) if isinstance(ids, (str, Path)) else ids


def _beside(path: Path) -> Sequence[str] | None:
    candidates = [path.with_name(f"{path.stem}.ids{suffix}") for suffix in (".txt", ".jsonl")]
    return next((_read_ids(candidate) for candidate in candidates if candidate.is_file()), None)


def _read_ids(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read: {error}.", "Wanted ids, one a line.", "Check the file."
        ) from None
    lines = [line.rstrip("\r") for line in lines]
    if lines[-1] == "":
        lines.pop()
    return [_json_id(line, path) for line in lines] if path.suffix == ".jsonl" else lines


def _json_id(line: str, path: Path) -> str:
    try:
        said = json.loads(line)
        return said if isinstance(said, str) else str(said["id"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            f"{path} has the line {line[:60]!r}.",
            'Wanted "an id" or {"id": "an id"}.',
            "Write one id a line.",
        ) from None


def _damaged(path: Path, kind: str, reason: str) -> InputError:
    return InputError(
        f"{path} is no {kind} file: {reason}.", "Wanted float vectors, one a row.", "Write it again."
    )
