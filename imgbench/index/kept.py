"""Indexes kept on disk, so that a benchmark that is run again builds none of them anew.

    indexes/<key>/index.faiss         FAISS's own file
    indexes/<key>/index.faiss.json    what it is, its ids, the SHA-256 of both
    indexes/<key>/kept.json           the key and the SHA-256 of the description; written last

The key is a hash of all that decides the bytes and the build times: ids and vectors, specification, seed,
threads, processor, FAISS and its compile options, and the code that trains. Two processes that want one index
take turns. What differs from its hash, or lies under another's key, is built again; what was interrupted too.
Whatever else stands in the way is renamed and never deleted, and nothing is written through a link.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from imgbench import environment, stopwatch
from imgbench.complete import digest, locked, replacing
from imgbench.embeddings import Embeddings
from imgbench.errors import InputError
from imgbench.index import factory, files, training
from imgbench.index._faiss import compile_options, reason
from imgbench.index.core import Index
from imgbench.index.spec import IndexSpec

FOLDER = "indexes"
"""Where indexes lie below a cache."""

_FILE, _LABEL = "index.faiss", "kept.json"
_CODE = (factory, training)  # another version of these may build other bytes


@dataclass(frozen=True)
class Shelf:
    """The indexes of `images`: read from the folder `cache` if they were built before, else built and kept.

    cache=None keeps nothing. Exact search is never kept, because to build it is to copy the vectors, nor are
    indexes on a GPU. A folder that cannot be written to is a warning, and the index is built without it.
    """

    images: Embeddings
    cache: str | Path | None = None

    def index(self, spec: IndexSpec, *, seed: int = 0, threads: int | None = None) -> tuple[Index, bool]:
        """The index, as `Index.build` gives it, and whether it came from the cache: so did its build times.

        >>> images = Embeddings(["a", "b"], np.eye(2, dtype=np.float32))
        >>> shelf = Shelf(images, getfixture("tmp_path"))
        >>> shelf.index(IndexSpec.parse("HNSW4"))
        (Index('HNSW4', 2 images x 2, approximate), False)
        >>> shelf.index(IndexSpec.parse("HNSW4"))
        (Index('HNSW4', 2 images x 2, approximate), True)
        """
        if self.cache is None or spec.gpu or spec.factory == "Flat":
            return Index.build(spec, self.images, seed=seed, threads=threads), False
        folder = Path(self.cache).expanduser() / FOLDER / self.key(spec, seed=seed, threads=threads)
        with _alone(folder) as writable:
            if (found := self._read(folder, spec, seed)) is not None:
                return found, True
            index = Index.build(spec, self.images, seed=seed, threads=threads)
            if writable:
                _keep(index, folder)
            return index, False

    def key(self, spec: IndexSpec, *, seed: int, threads: int | None) -> str:
        """The name of an index's folder: SHA-256 (hex) over everything that decides its bytes and times."""
        decides = {
            "content": self.content,
            "spec": spec.name,
            "seed": seed,
            "threads": environment.cores() if threads is None else threads,
            "cpu": environment.cpu(),
            "faiss": compile_options(),
            "code": [digest(Path(str(module.__file__))) for module in _CODE],
        }
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    @cached_property
    def content(self) -> str:
        """SHA-256 (hex) over ids and vectors: a fingerprint that came with them would have to be believed."""
        vectors = self.images.vectors
        found = hashlib.sha256(json.dumps([str(vectors.dtype), vectors.shape, self.images.ids]).encode())
        found.update(np.ascontiguousarray(vectors).data)
        return found.hexdigest()

    def _read(self, folder: Path, spec: IndexSpec, seed: int) -> Index | None:
        if not (folder / _LABEL).is_file():  # never finished: nothing is damaged
            return None
        wanted = spec.name, seed, self.images.dim, self.images.ids
        try:
            with stopwatch.stage("read from the cache"):
                found = Index.load(folder / _FILE)
            if _labelled(folder) and (found.spec, found.seed, found.dim, found.ids) == wanted:
                return _weighed(found, folder)
        except (InputError, OSError):
            pass
        warnings.warn(f"{folder / _FILE} is damaged or gone: building {spec.name} again.", stacklevel=4)
        return None


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[bool]:
    """Alone with the folder, if it can be written to."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
            writable = True
        except InputError as error:
            warnings.warn(f"{error.came} Indexes are not kept there.", stacklevel=5)
            writable = False
        yield writable


def _keep(index: Index, folder: Path) -> None:
    try:
        with stopwatch.stage("write to the cache"):
            _make_room(folder)
            index.save(folder / _FILE)
            with replacing(folder / _LABEL) as part:
                part.write_text(json.dumps(_label(folder)), encoding="utf-8")
            _weighed(index, folder)
    except (InputError, OSError, RuntimeError) as error:  # FAISS has no other for a full disk
        warnings.warn(f"{folder} cannot be written to ({_why(error)}): the index is not kept.", stacklevel=5)


def _why(error: InputError | OSError | RuntimeError) -> str:
    if isinstance(error, InputError):
        return error.came.rstrip(".")
    return (isinstance(error, OSError) and error.strerror) or reason(error)


def _make_room(folder: Path) -> None:
    """Nothing is left of an earlier writer that was killed, and nothing stands where files will be."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        _put_aside(folder)
    for name in (_LABEL, _FILE, files.sidecar(Path(_FILE)).name):
        if (folder / name).is_symlink() or (folder / name).is_dir():
            _put_aside(folder / name)
    (folder / _LABEL).unlink(missing_ok=True)  # until the new index is complete there is none
    for part in [*folder.glob(".*.tmp"), *folder.glob(".*.part")]:
        part.unlink()


def _put_aside(path: Path) -> None:
    aside = path.with_name(f"{path.name}.{os.getpid()}.aside")
    path.rename(aside)  # of a link: the link itself
    warnings.warn(f"{path} was in the way of an index and is {aside.name} now.", stacklevel=6)


def _label(folder: Path) -> dict[str, Any]:
    """What the folder has to say of itself, so that another's under this name is not believed."""
    return {"key": folder.name, "description_sha256": digest(files.sidecar(folder / _FILE))}


def _labelled(folder: Path) -> bool:
    try:
        return json.loads((folder / _LABEL).read_bytes()) == _label(folder)
    except (ValueError, RecursionError):
        return False


def _weighed(index: Index, folder: Path) -> Index:
    """The index, whose size is that of its file: to count it, it need not be serialised once more."""
    vars(index)["bytes"] = (folder / _FILE).stat().st_size
    return index
