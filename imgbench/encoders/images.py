"""Image files, bytes and PIL images become RGB images, decoded in threads ahead of the forward pass.

Threads and never processes: Pillow releases the GIL while it decodes, and a fork after any FAISS or torch
region hangs in the child.
"""

# ruff: noqa: ANN401  what an encoder prepares is its own business

from __future__ import annotations

import contextlib
import io
import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from imgbench.errors import InputError, UnreadableImageError
from imgbench.types import ImageInput

MAX_ELONGATION = 1000
"""Longest over shortest side: beyond it, resizing the short side to 224 px would fill the memory."""

# Pillow reads a lazily opened image on first use, which is not safe when two threads hold the same object.
_READING = threading.Lock()


@dataclass(frozen=True)
class Failure:
    """An image that could not be read: what it is called and why."""

    label: str
    reason: str

    def error(self) -> UnreadableImageError:
        """The exception that names the image."""
        return UnreadableImageError(
            f"{self.label} cannot be read: {self.reason}.",
            "A complete image in a format that Pillow reads was expected.",
            "Repair, replace or remove it.",
        )


def decode(image: ImageInput) -> Image.Image:
    """The image as RGB at its own size; what cannot be read raises UnreadableImageError with its name.

    Of an animation it is the first frame (of a PIL image, the frame it stands at); palettes are resolved,
    alpha is dropped as `PIL.Image.convert` drops it, CMYK and greyscale are converted, 16-bit greyscale keeps
    its upper 8 bits. EXIF rotation is ignored, as the reference code of every CLIP model ignores it.

    >>> decode(Image.new("L", (3, 2), 7)).getpixel((0, 0))
    (7, 7, 7)
    >>> decode(b"not an image")
    Traceback (most recent call last):
    imgbench.errors.UnreadableImageError: An image of 12 bytes cannot be read: no image format that...
    """
    done = _attempt(image, lambda rgb: rgb, label=_label(image, None))
    if isinstance(done, Failure):
        raise done.error()
    return done


def prepared(
    images: Sequence[ImageInput],
    prepare: Callable[[Image.Image], Any],
    *,
    ahead: int,
    workers: int,
    steady: bool = True,
) -> Generator[Any | Failure]:
    """`prepare(decode(image))` for each image in order, or its Failure; at most `ahead` are waiting.

    Whenever one is taken another is begun; if not `steady`, the next `ahead` are begun when the last was
    taken, so that nothing is decoded meanwhile. `images` is indexed from several threads at once.
    """

    def work(row: int) -> Any:
        image = images[row]
        return _attempt(image, prepare, label=_label(image, row))

    rows = iter(range(len(images)))
    with ThreadPoolExecutor(workers, thread_name_prefix="imgbench-decode") as pool:
        waiting: deque[Future[Any]] = deque()

        def begin(count: int) -> bool:
            waiting.extend(pool.submit(work, row) for row in itertools.islice(rows, count))
            return bool(waiting)

        try:
            while waiting or begin(ahead):
                done = waiting.popleft().result()
                begin(1 if steady else 0)
                yield done
        finally:
            for future in waiting:
                future.cancel()


def _attempt(image: ImageInput, prepare: Callable[[Image.Image], Any], *, label: str) -> Any | Failure:
    try:
        rgb = _read(image)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  Pillow's decoders raise anything on damaged bytes
        return Failure(label, _reason(error))
    try:
        return prepare(rgb)
    except UnreadableImageError as error:
        return Failure(label, error.came.rstrip("."))


def _read(image: ImageInput) -> Image.Image:
    if isinstance(image, (str, Path)):
        return _read_file(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _read_file(io.BytesIO(image))
    if isinstance(image, Image.Image):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
        _check_size(image.size)
        with _READING:
            image.load()
        return _rgb(image)
    raise InputError(
        f"An image came as {type(image).__name__}.",
        "A path, the bytes of an image file or a PIL image was expected.",
        "Convert it, for example with PIL.Image.fromarray.",
    )


def _read_file(source: io.BytesIO | str | Path) -> Image.Image:
    with Image.open(source) as image:
        _check_size(image.size)
        image.load()
        return _rgb(image)


def _check_size(size: tuple[int, int]) -> None:
    # Pillow only warns between one and two times its limit: here that is an error too (a decompression bomb).
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and size[0] * size[1] > limit:
        raise Image.DecompressionBombError(
            f"{size[0]} x {size[1]} pixels are more than the {limit} that Pillow allows"
        )
    if max(size) > MAX_ELONGATION * min(size):
        raise Image.DecompressionBombError(f"{size[0]} x {size[1]} pixels are too elongated to be resized")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # convert() would clip: everything above 255 became white
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # otherwise Pillow warns about transparency given in bytes
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    """Why, without paths or addresses, so that two machines write the same quarantine list."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, UnidentifiedImageError):
        return "no image format that Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    text = " ".join(str(error).split()).rstrip(".")
    return text or type(error).__name__


def _label(image: object, row: int | None) -> str:
    if isinstance(image, (str, Path)):
        return str(image)
    with contextlib.suppress(AttributeError):
        name = image.filename  # type: ignore[attr-defined]  # an opened PIL file knows its own
        if name:
            return str(name)
    if row is not None:
        return f"Image {row}"
    return f"An image of {len(image)} bytes" if isinstance(image, (bytes, bytearray)) else "The image"
