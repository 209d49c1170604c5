"""An index on disk: FAISS's own file, and beside it a JSON file that describes it and knows its hash."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from imgbench.errors import InputError
from imgbench.index._faiss import FaissIndex, faiss, reason

SCHEMA = 1
_AGAIN = "Build the index again and save it."

# What load needs of a sidecar, and the types it may have.
_FIELDS: dict[str, tuple[type, ...]] = {
    "sha256": (str,), "bytes": (int,), "spec": (str,), "dim": (int,), "ids": (list,), "ids_sha256": (str,),
    "seed": (int, type(None)), "train_seconds": (int, float), "add_seconds": (int, float), "notes": (list,),
}  # fmt: skip


def sidecar(path: Path) -> Path:
    """Where the description of the index file `path` stands.

    >>> sidecar(Path("flat.index")).name
    'flat.index.json'
    """
    return path.with_name(path.name + ".json")


def write(path: Path, index: FaissIndex, ids: Sequence[str], facts: dict[str, object]) -> None:
    """Write both files, each under a temporary name first; the sidecar is last and makes them valid."""
    if path.is_dir():
        raise InputError(
            f"{path} is a folder.",
            "An index is saved as a file.",
            f"Name one, such as {path / 'flat.index'}.",
        )
    with _temporary(path) as file:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        except OSError as error:
            came = f"{path} cannot be written ({error.strerror})."
            raise InputError(came, "An index is saved as a file.", "Choose another place.") from error
        faiss.write_index(index, str(file))
        record = {
            "schema": SCHEMA,
            "sha256": _sha256(file),
            "bytes": file.stat().st_size,
            **facts,
            "ids_sha256": _ids_sha256(ids),
            "ids": list(ids),
        }
        with _temporary(sidecar(path)) as note:
            note.write_text(json.dumps(record), encoding="utf-8")
            os.replace(file, path)  # noqa: PTH105  as atomic as the system allows
            os.replace(note, sidecar(path))  # noqa: PTH105


def read(path: Path) -> tuple[FaissIndex, dict[str, Any]]:
    """The FAISS index and its sidecar; not a byte reaches FAISS before the hash has been compared."""
    record = _record(path)
    if not path.is_file():
        raise InputError(f"There is no index file {path}.", "Its description names one.", _AGAIN)
    if path.stat().st_size != record["bytes"] or _sha256(path) != record["sha256"]:
        raise InputError(f"The bytes of {path} are not those that were saved.", "Their hash differs.", _AGAIN)
    with _limits(int(record["bytes"])):
        try:
            index = faiss.read_index(str(path))
        except (RuntimeError, MemoryError) as error:
            raise InputError(f"FAISS cannot read {path}.", f"It says: {reason(error)}.", _AGAIN) from None
    _agree(path, index, record)
    return index, record


def _record(path: Path) -> dict[str, Any]:
    note = sidecar(path)
    if not note.is_file():
        raise InputError(
            f"There is no {note}.",
            "An index is saved as two files.",
            "Save it with Index.save, and move both.",
        )
    try:
        record: Any = json.loads(note.read_bytes())
    except (ValueError, RecursionError):
        raise InputError(f"{note} is not JSON.", "It describes the index beside it.", _AGAIN) from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise InputError(f"{note} has another schema.", f"This version reads schema {SCHEMA}.", _AGAIN)
    wrong = [name for name, kinds in _FIELDS.items() if not isinstance(record.get(name, ...), kinds)]
    if not wrong and not all(isinstance(text, str) for text in [*record["ids"], *record["notes"]]):
        wrong = ["ids"]
    if not wrong:
        wrong = [name for name in ("train_seconds", "add_seconds") if not _is_time(record[name])]
    if not wrong and _ids_sha256(record["ids"]) != record["ids_sha256"]:
        wrong = ["ids"]
    if wrong:
        raise InputError(f"{note} is damaged.", f"Missing or changed: {', '.join(wrong)}.", _AGAIN)
    return record


def _agree(path: Path, index: FaissIndex, record: dict[str, Any]) -> None:
    if (index.ntotal, index.d) != (len(record["ids"]), record["dim"]):
        raise InputError(
            f"{path} holds {index.ntotal:,} vectors of {index.d} dimensions.",
            f"Its description says {len(record['ids']):,} of {record['dim']}.",
            _AGAIN,
        )
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise InputError(f"{path} ranks by another metric.", "Search here is by inner product.", _AGAIN)


@contextlib.contextmanager
def _limits(size: int) -> Generator[None]:
    """Let FAISS allocate no vector beyond twice the file and loop no more often than it has bytes.

    A crafted file could otherwise ask for 1 TiB or loop for ever (faiss issue 5400).
    """
    before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
    faiss.set_deserialization_vector_byte_limit(2 * size + 2**20)
    faiss.set_deserialization_loop_limit(size + 2**10)
    try:
        yield
    finally:
        faiss.set_deserialization_vector_byte_limit(before[0])
        faiss.set_deserialization_loop_limit(before[1])


@contextlib.contextmanager
def _temporary(path: Path) -> Generator[Path]:
    """A name in the same folder for what becomes `path`; whatever is left under it goes."""
    name = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield name
    finally:
        with contextlib.suppress(NotADirectoryError):  # below a file there is nothing to remove
            name.unlink(missing_ok=True)


def _is_time(seconds: float) -> bool:
    """Whether it is finite, as no NaN is, and no integer beyond floats."""
    return not isinstance(seconds, bool) and 0 <= seconds <= sys.float_info.max


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ids_sha256(ids: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()
