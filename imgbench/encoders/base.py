"""The contract of every encoder: the public method checks and completes, the hook computes.

An own encoder is a name, a dimension and two hooks:

>>> class Brightness(Encoder):
...     name, dim = "brightness", 2
...     def _images(self, images):
...         return [(1.0, image.convert("L").getpixel((0, 0)) / 255) for image in images]
...     def _texts(self, texts):
...         return [(1.0, float("bright" in text)) for text in texts]
>>> from PIL import Image
>>> black, white = Image.new("RGB", (1, 1)), Image.new("RGB", (1, 1), "white")
>>> Brightness().encode_images([black, white]).round(3).tolist()
[[1.0, 0.0], [0.707..., 0.707...]]
>>> Brightness().encode_texts(["a dark street"]).tolist()
[[1.0, 0.0]]
"""

# ruff: noqa: ANN401  tensors and models of libraries without types

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float32

from imgbench import environment, stopwatch
from imgbench.encoders import checks, identity
from imgbench.encoders import images as decoding
from imgbench.errors import InputError
from imgbench.types import ImageInput, Precision

if TYPE_CHECKING:
    from PIL.Image import Image

# Those that decode, resize, tokenise and compute: another version may give other vectors.
LIBRARIES = ("pillow", "torch", "torchvision", "open_clip_torch", "transformers", "timm")

_Item = TypeVar("_Item")

BOTH_SIDES: frozenset[str] = frozenset({"image", "text"})


class Encoder(ABC):
    """Images and texts in, unit float32 rows of one space out.

    A subclass sets `name` and `dim` and writes `_images` and `_texts` (only `_images` with
    `sides = frozenset({"image"})`); every other attribute has a default. What the hooks return is checked
    (shape, finite, not zero), cut to `dim` and divided by its L2 norm.
    """

    name: str
    dim: int
    precision: Precision = Precision.FP32
    device: str = "cpu"
    batch_size: int = 64
    sides: frozenset[str] = BOTH_SIDES
    _decodes_meanwhile: bool = True  # while `_images` computes
    _cut_from: int | None = None  # the dimension of the hooks' rows, where it is not `dim`

    @staticmethod
    def load(
        spec: str | Encoder,
        *,
        device: str | None = None,
        precision: Precision | str | None = None,
        dim: int | None = None,
        batch_size: int | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
    ) -> Encoder:
        """The encoder of a specification: a preset's name, `scenes`, or `family:model`.

        `dim` keeps the first dimensions only (Matryoshka); `device` is "cuda" where there is one; `precision`
        is fp16 on CUDA and fp32 elsewhere. `?dim=256&precision=bf16` at the end of `spec` means the same as
        the keywords. Wrong names, devices and precisions raise InputError.
        """
        from imgbench.encoders import families

        return families.load(
            spec,
            device=device,
            precision=precision,
            dim=dim,
            batch_size=batch_size,
            trust_remote_code=trust_remote_code,
            revision=revision,
        )

    def encode_images(
        self, images: Sequence[ImageInput], *, progress: bool = False
    ) -> Float32[np.ndarray, "image dim"]:
        """Unit rows in the order of `images` (paths, bytes or PIL images).

        The first image that cannot be read raises UnreadableImageError with its name.
        """
        vectors, _, failures = self._encode(images, progress=progress, stop=True)
        if failures:
            raise failures[0][1].error()
        return vectors

    def encode_readable(
        self, images: Sequence[ImageInput], *, progress: bool = False
    ) -> tuple[Float32[np.ndarray, "readable dim"], list[int], list[tuple[int, str]]]:
        """Unit rows of the images that can be read, their positions, and (position, reason) of the others."""
        vectors, positions, failures = self._encode(images, progress=progress, stop=False)
        return vectors, positions, [(position, failure.reason) for position, failure in failures]

    def encode_texts(
        self, texts: Sequence[str], *, progress: bool = False
    ) -> Float32[np.ndarray, "text dim"]:
        """Unit rows in the order of `texts`; an empty text raises InputError."""
        self._need("text")
        checked = checks.checked_texts(texts)
        vectors = np.empty((len(checked), self.dim), np.float32)
        with self._bar("texts", len(checked), progress) as bar:
            for positions, rows in self._text_batches(checked):
                vectors[positions] = self._unit(rows, rows=len(positions))
                bar.update(len(positions))
        return vectors

    def identity(self) -> dict[str, object]:
        """All that changes the vectors, as plain values: the key under which embeddings are kept.

        For an own encoder: its name, dimension and precision, the source of its class, and every attribute
        that is a string, a path, an array or a torch module (by the hash of its contents), or a number, list,
        tuple or dict, unless the name of these starts with an underscore (as a counter's should). If its
        weights live elsewhere, override this method or put a version into `name`.
        """
        libraries = {name: environment.packages().get(name) for name in LIBRARIES}
        return {
            **self._identity(),
            "precision": str(self.precision),
            "dim": self.dim,
            "libraries": libraries,
        }

    @property
    def fingerprint(self) -> str:
        """'sha256:...' of `identity()`, with precision and dimension even where an override forgot them."""
        whole = {"precision": str(self.precision), **self.identity(), "dim": self.dim}
        text = json.dumps(whole, sort_keys=True, default=str)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def truncated(self, dim: int) -> Encoder:
        """The same encoder with rows cut to their first `dim` values, then brought to norm 1 (Matryoshka)."""
        full = self._cut_from or self.dim
        if not 1 <= dim <= full:
            raise InputError(
                f"dim is {dim}.",
                f"{self.name} has {full} dimensions.",
                f"Choose 1 to {full}, or leave dim out for all of them.",
            )
        if dim == self.dim:
            return self
        other = copy.copy(self)
        bare = re.sub(r"dim=\d+&?", "", self.name).rstrip("?&")
        other.name = f"{bare}{'&' if '?' in bare else '?'}dim={dim}"
        other.dim, other._cut_from = dim, full  # noqa: SLF001  its own class
        return other

    def in_precision(self, precision: Precision | str) -> Encoder:
        """The same encoder on the same device in another precision: loaded anew, since weights were cast.

        InputError for an encoder that `load` did not make, unless its class overrides this method.
        """
        from imgbench.encoders import families

        return families.again(self, precision)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name!r}, dim={self.dim}, precision={str(self.precision)!r}, "
            f"device={self.device!r}, batch_size={self.batch_size})"
        )

    @abstractmethod
    def _images(self, images: list[Any]) -> Any:
        """(batch, dim) rows, as an array or tensor, of what `_prepare` returned for each image."""

    def _texts(self, texts: list[str]) -> Any:  # noqa: ARG002  a hook
        """(batch, dim) rows, as an array or tensor, of non-empty texts."""
        raise checks.no_side(self.name, "text")

    def _text_batches(self, texts: list[str]) -> Iterator[tuple[Sequence[int], Any]]:
        """(positions in `texts`, rows of the hook) in batches that hold every position once, in any order."""
        size = self._batch_size()
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            yield range(start, start + len(batch)), self._texts(batch)

    def _prepare(self, image: Image) -> Any:
        """One decoded RGB image made ready for `_images`; runs in the decoding threads."""
        return image

    def _identity(self) -> dict[str, object]:
        return {
            "name": self.name,
            "class": f"{type(self).__module__}.{type(self).__qualname__}",
            "source": identity.source_hash(type(self), Encoder),
            "attributes": identity.attributes({**vars(self), "batch_size": None}),
        }

    def _encode(
        self, images: Sequence[ImageInput], *, progress: bool, stop: bool
    ) -> tuple[np.ndarray, list[int], list[tuple[int, decoding.Failure]]]:
        parts: list[np.ndarray] = []
        positions: list[int] = []
        failures: list[tuple[int, decoding.Failure]] = []
        encoded = (
            (self._begun([item for _, item in batch]), [position for position, _ in batch])
            for batch in self._batches(images, failures, progress=progress, stop=stop)
        )
        for rows, places in _one_behind(encoded):
            parts.append(self._unit(rows, rows=len(places)))
            positions.extend(places)
        return self._stacked(parts), positions, failures

    def _batches(
        self,
        images: Sequence[ImageInput],
        failures: list[tuple[int, decoding.Failure]],
        *,
        progress: bool,
        stop: bool,
    ) -> Iterator[list[tuple[int, Any]]]:
        """(position, prepared image) in batches, decoded ahead; `failures` is filled on the way."""
        self._need("image")
        checks.check_sequence(images, "images", (str, bytes, Path))
        size, workers = self._image_batch_size(len(images)), min(32, environment.cores() + 1)
        steady = self._decodes_meanwhile
        ahead = 2 * size + workers if steady else size
        source = decoding.prepared(images, self._prepare, ahead=ahead, workers=workers, steady=steady)
        with (
            contextlib.closing(source) as items,
            self._bar("images", len(images), progress) as bar,
            stopwatch.stage("encode", unit="images") as spent,
        ):
            readable = _readable(enumerate(items), failures, stop=stop)
            while True:
                with spent.waiting():
                    batch = list(itertools.islice(readable, size))
                if not batch:
                    break
                yield batch
                spent.items += len(batch)
                bar.update(batch[-1][0] + 1 - bar.n)
            bar.update(0 if stop and failures else len(images) - bar.n)

    def _unit(self, rows_of_hook: Any, *, rows: int) -> np.ndarray:
        vectors = checks.array(rows_of_hook)
        full = self._cut_from or self.dim
        if vectors.shape != (rows, full):
            raise InputError(
                f"{self.name} returned an array of shape {vectors.shape} for {rows} inputs.",
                f"({rows}, {full}) was expected.",
                "Let the hook return one row of length dim for each input.",
            )
        vectors = vectors[:, : self.dim]
        norms = np.linalg.norm(
            vectors.astype(np.float64), axis=1, keepdims=True
        )  # squares may exceed float32
        if not (np.isfinite(norms).all() and (norms > 0).all()):
            kind = "a zero vector" if np.isfinite(norms).all() else "NaN or infinite values"
            raise InputError(
                f"{self.name} returned {kind} in {self.precision}.",
                "Finite vectors that are not zero were expected.",
                "Try precision='fp32' or 'bf16', and check the weights.",
            )
        return (vectors / norms).astype(np.float32)

    def _stacked(self, parts: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)

    def _batch_size(self) -> int:
        if self.batch_size < 1:
            raise InputError(
                f"batch_size is {self.batch_size}.",
                "At least 1 was expected.",
                "Leave it out for the default.",
            )
        return self.batch_size

    def _image_batch_size(self, count: int) -> int:  # noqa: ARG002  a hook
        """How many of `count` images `_images` is given at once."""
        return self._batch_size()

    def _begun(self, images: list[Any]) -> Any:
        """What `_images` returns, or what becomes an array of it once a device has computed it."""
        return self._images(images)

    def _need(self, side: str) -> None:
        if side not in self.sides:
            raise checks.no_side(self.name, side)

    def _bar(self, what: str, total: int, progress: bool) -> Any:  # noqa: FBT001  private, one call a method
        from tqdm.auto import tqdm  # a terminal's bar or a notebook's, on standard error

        return tqdm(total=total, desc=f"{self.name}: {what}", unit=what[:-1], disable=not progress)


def _one_behind(items: Iterator[_Item]) -> Iterator[_Item]:
    """Each item when the next has been made: a GPU computes the one while the other is handed to it."""
    for first, _ in itertools.pairwise(itertools.chain(items, (None,))):
        if first is not None:
            yield first


def _readable(
    items: Iterator[tuple[int, Any]], failures: list[tuple[int, decoding.Failure]], *, stop: bool
) -> Iterator[tuple[int, Any]]:
    for position, item in items:
        if not isinstance(item, decoding.Failure):
            yield position, item
            continue
        failures.append((position, item))
        if stop:
            return
