"""Where a corpus keeps its images: a sequence that gives one image at a time, never all pixels at once.

>>> source = ImageItems([b"first", b"second", b"third"])
>>> len(source), source[1], list(source.part([2, 0]))
(3, b'second', [b'third', b'first'])
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from imgbench.environment import cores
from imgbench.types import ImageInput

_HASH_BATCH = 1024  # images hashed before the next are fetched: bounds what is in memory


class ImageSource(Sequence[ImageInput], ABC):
    """Images in the corpus's order. A source of one's own writes `__len__` and `__getitem__`.

    `__getitem__` may be called from several threads at once.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, row: int) -> ImageInput: ...  # type: ignore[override]  # rows only: see part()

    def __iter__(self) -> Iterator[ImageInput]:
        return (self[row] for row in range(len(self)))

    def part(self, rows: Sequence[int]) -> ImageSource:
        """The images of some rows, in that order, still fetched only when asked for."""
        return _Part(self, rows)

    def digest(self) -> str:
        """SHA-256 (hex) over the content of all images in order; names and times do not count."""
        total = hashlib.sha256()
        with ThreadPoolExecutor(cores()) as pool:  # hashlib and file reads release the GIL
            for start in range(0, len(self), _HASH_BATCH):
                rows = range(start, min(start + _HASH_BATCH, len(self)))
                for content in pool.map(self._content, rows):
                    total.update(content)
        return total.hexdigest()

    def _content(self, row: int) -> bytes:
        return _hashed(self[row])


class ImageFiles(ImageSource):
    """Image files, by path."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Path:
        return self.paths[row]

    def __repr__(self) -> str:
        return f"ImageFiles({len(self)} paths)"


class ImageItems(ImageSource):
    """Images of any kind that the caller holds: paths, encoded bytes or PIL images."""

    def __init__(self, items: Sequence[ImageInput]) -> None:
        self.items = tuple(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> ImageInput:
        return self.items[row]

    def __repr__(self) -> str:
        return f"ImageItems({len(self)} images)"


class _Part(ImageSource):
    def __init__(self, whole: ImageSource, rows: Sequence[int]) -> None:
        self.whole, self.rows = whole, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> ImageInput:
        return self.whole[self.rows[row]]


def _hashed(image: ImageInput) -> bytes:
    """SHA-256 of the encoded bytes, or of the pixels where the image came decoded."""
    if isinstance(image, bytes):
        return hashlib.sha256(image).digest()
    if isinstance(image, (str, Path)):
        try:
            return hashlib.sha256(Path(image).read_bytes()).digest()
        except OSError:
            # A file that vanished or may not be read has no content; encoding lists it as unreadable.
            return hashlib.sha256(b"unreadable").digest()
    if image.mode in {"P", "PA"}:  # their bytes are numbers of colours: equal under any palette
        image = image.convert("RGBA")
    pixels = hashlib.sha256(f"{image.mode} {image.size} ".encode())
    pixels.update(image.tobytes())
    return pixels.digest()
