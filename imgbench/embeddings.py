"""Embeddings: ids and unit vectors, checked once at the door; and how a corpus becomes embeddings.

>>> images = Embeddings(["1.jpg", "2.jpg"], np.eye(2, 4, dtype=np.float32))
>>> images
Embeddings(2 x 4 float32)
>>> images.select(["2.jpg"]).vectors
array([[0., 1., 0., 0.]], dtype=float32)
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32

from imgbench import stopwatch, store
from imgbench import vectors as checks
from imgbench.corpus import Corpus
from imgbench.errors import InputError, unknown

if TYPE_CHECKING:
    from imgbench.encoders.base import Encoder

CACHE = os.environ.get("IMGBENCH_CACHE", "~/.cache/imgbench")
"""Where embeddings and indexes are kept."""
_DTYPES = ("float16", "float32")


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A unit vector per id. `vectors` is float16 or float32 in C order; float64 becomes float32.

    InputError names the rows that are not finite or whose norm is not 1 within 1e-2. `quarantine` lists what
    has no row, with the reason; `rows_per_second` is the rate at which the encoder made them, and `cached`
    whether `embed` found them all in its cache, so that the rate is that of an earlier run.
    """

    ids: tuple[str, ...]
    vectors: Float[np.ndarray, "row dim"]
    quarantine: tuple[tuple[str, str], ...] = ()
    fingerprint: str | None = None
    rows_per_second: float | None = None
    path: Path | None = None
    cached: bool = False

    def __init__(
        self,
        ids: Sequence[str],
        vectors: Float[np.ndarray, "row dim"],
        *,
        quarantine: Sequence[tuple[str, str]] = (),
        fingerprint: str | None = None,
        rows_per_second: float | None = None,
        path: Path | None = None,
        cached: bool = False,
    ) -> None:
        for name, value in {
            "ids": tuple(map(str, ids)),
            "vectors": checks.floats(vectors),
            "quarantine": tuple(quarantine),
            "fingerprint": fingerprint,
            "rows_per_second": rows_per_second,
            "path": path,
            "cached": cached,
        }.items():
            object.__setattr__(self, name, value)
        checks.check_ids(self.ids, len(self.vectors))
        checks.check_unit(self.vectors)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        absent = f", {len(self.quarantine)} quarantined" if self.quarantine else ""
        return f"Embeddings({len(self)} x {self.dim} {self.vectors.dtype}{absent})"

    @property
    def dim(self) -> int:
        """Values in a row."""
        return int(self.vectors.shape[1])

    @classmethod
    def load(
        cls,
        path: str | Path,
        ids: Sequence[str] | str | Path | None = None,
        *,
        side: str = "image",
        id_column: str | None = None,
        vector_column: str | None = None,
        normalise: bool = False,
    ) -> Embeddings:
        """Vectors that exist: .npy, .fbin, .fvecs, .parquet, a clip-retrieval folder, a store of `embed`.

        `ids` are the ids, or a .txt (one a line) or .jsonl file (strings, or objects with "id") of them;
        without it the files `NAME.ids.txt` or `NAME.ids.jsonl` beside the vectors, else the row numbers.
        `side` ("image" or "text") chooses among a clip-retrieval folder's vectors; the columns are those of
        parquet files. `normalise` divides rows by their norm. .npy and .fbin are memory-mapped; nothing is
        unpickled. InputError says which file, line or row is wrong.
        """
        from imgbench import vectorfiles

        path = Path(path).expanduser()
        if path.is_dir() and store.is_store(path):
            return _from_store(path, verify=True)
        found = vectorfiles.read(path, ids, side=side, id_column=id_column, vector_column=vector_column)
        if normalise:
            return cls.normalised(*found)
        return cls(*found, path=path)

    @classmethod
    def normalised(cls, ids: Sequence[str], vectors: Float[np.ndarray, "row dim"]) -> Embeddings:
        """The rows divided by their L2 norms. InputError for rows that are zero or not finite.

        >>> Embeddings.normalised(["a"], np.array([[3.0, 4.0]])).vectors
        array([[0.6, 0.8]], dtype=float32)
        """
        return cls(ids, checks.normalised(vectors))

    def float32(self) -> Float32[np.ndarray, "row dim"]:
        """The vectors as contiguous float32, which FAISS takes: themselves if they are that already."""
        return np.ascontiguousarray(self.vectors, dtype=np.float32)

    def astype(self, dtype: str) -> Embeddings:
        """The vectors as "float16" or "float32", cast as the store casts them: themselves if they are that.

        >>> Embeddings(["a"], np.float32([[0.6, 0.8]])).astype("float16").vectors
        array([[0.6, 0.8]], dtype=float16)
        """
        if dtype not in _DTYPES:
            raise unknown("a dtype of embeddings", str(dtype), _DTYPES)
        return self if self.vectors.dtype == dtype else self._with(self.vectors.astype(dtype))

    def truncated(self, dim: int) -> Embeddings:
        """The first `dim` values of each row, divided by their norm, in the same dtype.

        This is how Matryoshka embeddings are shortened. Fewer than 1 value or more than there are, and rows
        that become zero: InputError.

        >>> Embeddings(["a"], np.float32([[0.6, 0.0, 0.8]])).truncated(2).vectors
        array([[1., 0.]], dtype=float32)
        """
        if isinstance(dim, bool) or not hasattr(dim, "__index__") or not 1 <= dim <= self.dim:
            raise InputError(
                f"dim is {dim!r}.", f"The vectors have {self.dim} values.", f"Pass 1 to {self.dim}."
            )
        return self if dim == self.dim else self._with(checks.normalised(self.vectors[:, :dim]))

    def _with(self, vectors: Float[np.ndarray, "row dim"]) -> Embeddings:
        return Embeddings(self.ids, vectors, quarantine=self.quarantine, rows_per_second=self.rows_per_second)

    def select(self, which: Sequence[int] | Sequence[str] | np.ndarray[Any, Any]) -> Embeddings:
        """Some rows, by row numbers or ids, in that order. InputError for an id that is not here."""
        rows = self._rows(which)
        return Embeddings([self.ids[row] for row in rows], self.vectors[rows], fingerprint=None)

    def _rows(self, which: Sequence[int] | Sequence[str] | np.ndarray[Any, Any]) -> list[int]:
        if getattr(which, "dtype", None) == np.bool_:
            which = np.flatnonzero(which)
        places = {name: row for row, name in enumerate(self.ids)}
        try:
            return [places[item] if isinstance(item, str) else range(len(self))[item] for item in which]
        except (KeyError, IndexError):
            absent = next(
                item
                for item in which
                if (item not in places if isinstance(item, str) else not -len(self) <= item < len(self))
            )
            raise InputError(
                f"{absent!r} is not among the {len(self)} rows.",
                "Wanted ids or row numbers of these embeddings.",
                "Check quarantine: unreadable images have no row.",
            ) from None


def embed(
    corpus: Corpus | str | Path,
    encoder: Encoder | str,
    *,
    cache: str | Path | None = CACHE,
    progress: bool = False,
    dtype: str = "float16",
    shard_rows: int = store.SHARD_ROWS,
) -> tuple[Embeddings, Embeddings]:
    """The embeddings of a corpus's images and of its queries, in the corpus's order.

    They are kept in `cache` and found again as long as neither content nor encoder changes; a killed job
    continues with the shard that it was at. cache=None keeps them in memory only. An image that cannot be
    read has no row and a line in `.quarantine` (image id, reason). InputError for an encoder without a text
    side, a store that names another encoder, and vectors that are not finite.
    """
    if isinstance(corpus, str | Path):
        corpus = Corpus.load(corpus)
    encoder = _encoder(encoder)
    if dtype not in _DTYPES:
        raise unknown("a dtype of embeddings", dtype, _DTYPES)
    if shard_rows < 1:
        raise InputError(f"shard_rows is {shard_rows}.", "A shard has rows.", "Pass shard_rows=8192.")

    def encode_images(span: range) -> store.Encoded:
        return encoder.encode_readable(corpus.images.part(span), progress=progress)

    def encode_texts(span: range) -> store.Encoded:
        texts = corpus.query_texts[span.start : span.stop]
        return encoder.encode_texts(texts, progress=progress), range(len(span)), ()

    def plan(kind: str, ids: tuple[str, ...], content: str) -> store.Plan:
        return store.Plan(kind, ids, content, encoder.name, fingerprint, encoder.dim, dtype, shard_rows)

    with stopwatch.stage("hash the encoder"):
        fingerprint = encoder.fingerprint  # hashes all weights: once is enough
    texts_digest = hashlib.sha256(json.dumps(corpus.query_texts).encode()).hexdigest()
    folder = None if cache is None else Path(cache).expanduser() / "embeddings"
    # The queries take seconds: should the encoder fail, it fails before hours of images.
    with stopwatch.stage("embed queries"):
        queries = _embedded(plan("texts", corpus.query_ids, texts_digest), encode_texts, folder)
    # Without a cache nobody asks for the images' hash, which costs a read of every file.
    with stopwatch.stage("hash the images"):
        digest = "" if folder is None else corpus.images_digest
    with stopwatch.stage("embed images"):
        return _embedded(plan("images", corpus.image_ids, digest), encode_images, folder), queries


def check_embeddings(what: str, value: object) -> None:
    """InputError for anything but embeddings, such as a bare array: `what` names it.

    >>> check_embeddings("queries", np.eye(2))
    Traceback (most recent call last):
    imgbench.errors.InputError: The queries came as ndarray. Wanted Embeddings, ...
    """
    if not isinstance(value, Embeddings):
        raise InputError(
            f"The {what} came as {type(value).__name__}.",
            "Wanted Embeddings, which are ids and unit vectors.",
            "Write imgbench.Embeddings(ids, vectors).",
        )


def _encoder(encoder: Encoder | str) -> Encoder:
    if isinstance(encoder, str):
        from imgbench.encoders.base import Encoder

        encoder = Encoder.load(encoder)
    if missing := {"image", "text"} - encoder.sides:
        raise InputError(
            f"{encoder.name} has no {missing.pop()} side.",
            "Text queries and images need both sides of one encoder.",
            "Choose a CLIP-like encoder.",
        )
    return encoder


def _embedded(plan: store.Plan, encode: store.Encode, folder: Path | None) -> Embeddings:
    if folder is None:
        return _in_memory(plan, encode)
    encoded = store.fill(folder / plan.key, plan, encode)
    # `fill` has just verified it.
    return _from_store(folder / plan.key, verify=False, cached=not encoded)


def _from_store(folder: Path, *, verify: bool, cached: bool = False) -> Embeddings:
    stored = store.read(folder, verify=verify)
    _check_any(stored.ids, stored.quarantine)
    return Embeddings(
        stored.ids,
        stored.vectors,
        quarantine=stored.quarantine,
        fingerprint=f"sha256:{stored.key}",
        rows_per_second=stored.rows_per_second,
        path=folder,
        cached=cached,
    )


def _in_memory(plan: store.Plan, encode: store.Encode) -> Embeddings:
    parts: list[np.ndarray[Any, Any]] = []
    ids: list[str] = []
    quarantine: list[tuple[str, str]] = []
    start = time.perf_counter()
    for span in plan.spans():
        vectors, places, failures = encode(span)
        parts.append(vectors.astype(plan.dtype))
        ids += [plan.ids[span[place]] for place in places]
        quarantine += [(plan.ids[span[place]], reason) for place, reason in failures]
    seconds = time.perf_counter() - start
    _check_any(ids, quarantine)
    rate = len(plan.ids) / seconds
    return Embeddings(ids, np.concatenate(parts), quarantine=quarantine, rows_per_second=rate)


def _check_any(ids: Sequence[str], quarantine: Sequence[tuple[str, str]]) -> None:
    if not ids:
        name, reason = quarantine[0]
        raise InputError(
            f"None of the {len(quarantine)} images can be read ({name}: {reason}).",
            "Wanted images in a format that Pillow reads.",
            "Check that they were copied completely.",
        )
