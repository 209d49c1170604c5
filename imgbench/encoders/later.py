"""The encoder that ships with imgbench, loaded only when there is something to encode.

To build a network takes seconds, most of them imports. A second run whose embeddings are kept needs no more
than its fingerprint, which depends on files of this package, on versions and on the device alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from imgbench import environment
from imgbench.complete import replacing
from imgbench.encoders.base import LIBRARIES, Encoder
from imgbench.types import ImageInput, Precision

SHIPPED = "scenes"
FOLDER = "encoders"
"""Where records lie below a cache."""


def load(cache: str | Path) -> Encoder:
    """The encoder `scenes`: once it was kept, without its network until something is encoded.

    >>> cache = getfixture("tmp_path")
    >>> first = load(cache)
    >>> keep(first, cache)
    >>> type(load(cache)).__name__, load(cache).fingerprint == first.fingerprint
    ('Later', True)
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return Later(json.loads(_path(cache).read_text(encoding="utf-8")))
    return Encoder.load(SHIPPED)


def keep(encoder: Encoder, cache: str | Path) -> None:
    """Write down what `load` needs of the encoder next time."""
    path = _path(cache)
    with contextlib.suppress(OSError):  # a record saves time and nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(json.dumps(_record(encoder)), encoding="utf-8")


class Later(Encoder):
    """What a record says of an encoder; the encoder itself as soon as it has work."""

    def __init__(self, record: dict[str, Any]) -> None:
        """KeyError, TypeError or ValueError for what is no record."""
        self.name, self.device, self._fingerprint = SHIPPED, str(record["device"]), str(record["fingerprint"])
        self.dim, self.batch_size = int(record["dim"]), int(record["batch_size"])
        self.precision = Precision(record["precision"])

    @cached_property
    def whole(self) -> Encoder:
        """The encoder, loaded now."""
        return Encoder.load(SHIPPED)

    @property
    def fingerprint(self) -> str:
        """That of the encoder."""
        return self._fingerprint

    def identity(self) -> dict[str, object]:
        """That of the encoder, which is loaded for it."""
        return self.whole.identity()

    def truncated(self, dim: int) -> Encoder:
        """The encoder, loaded, with shorter rows."""
        return self.whole.truncated(dim)

    def in_precision(self, precision: Precision | str) -> Encoder:
        """See Encoder.in_precision."""
        return Encoder.load(SHIPPED, precision=precision, device=self.device, batch_size=self.batch_size)

    def encode_images(
        self, images: Sequence[ImageInput], *, progress: bool = False
    ) -> Float32[np.ndarray, "image dim"]:
        """See Encoder.encode_images."""
        return self.whole.encode_images(images, progress=progress)

    def encode_readable(
        self, images: Sequence[ImageInput], *, progress: bool = False
    ) -> tuple[Float32[np.ndarray, "readable dim"], list[int], list[tuple[int, str]]]:
        """See Encoder.encode_readable."""
        return self.whole.encode_readable(images, progress=progress)

    def encode_texts(
        self, texts: Sequence[str], *, progress: bool = False
    ) -> Float32[np.ndarray, "text dim"]:
        """See Encoder.encode_texts."""
        return self.whole.encode_texts(texts, progress=progress)

    def _images(self, images: list[Any]) -> Any:  # noqa: ANN401  as the encoder's
        raise NotImplementedError  # `whole` does the encoding


def _path(cache: str | Path) -> Path:
    return Path(cache).expanduser() / FOLDER / f"{_key()}.json"


def _record(encoder: Encoder) -> dict[str, Any]:
    names = ("device", "dim", "batch_size", "fingerprint")
    return {name: getattr(encoder, name) for name in names} | {"precision": str(encoder.precision)}


def _key() -> str:
    """SHA-256 (hex) of all that the encoder is made of: weights, code, libraries, and where it runs."""
    import torch

    files = sorted(resources.files("imgbench.encoders").iterdir(), key=lambda file: file.name)
    contents = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}
    installed = environment.packages()
    versions = {name: installed.get(name) for name in ("imgbench", *LIBRARIES)}
    made_of = [contents, versions, torch.cuda.is_available()]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
