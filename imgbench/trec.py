"""TREC text files: ids that survive white space, gzip by the file's name, nothing half-written.

The columns of a TREC file are separated by white space and have no quoting. White space in an id is therefore
written percent-encoded, and so is '%', which makes the encoding reversible.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import IO, Literal, TextIO, cast

from imgbench.errors import InputError

_MAGIC = b"\x1f\x8b"
_SPECIAL = re.compile(r"[\s%]")
_LAST_SPACE = 0x3000  # no character after it is white space to `str.split`
_CODES = {
    "".join(f"%{byte:02X}" for byte in sign.encode()): sign
    for sign in map(chr, range(_LAST_SPACE + 1))
    if sign.isspace() or sign == "%"
}
# Only what `escape` writes is read back: a foreign id such as 'caf%C3%A9' stays what it is.
_CODED = re.compile("|".join(_CODES))
_SIGNS = {sign: code for code, sign in _CODES.items()}


def escape(name: str) -> str:
    """The id as one column of a TREC file: white space and '%' percent-encoded (UTF-8), all else unchanged.

    >>> escape("red car 100%.jpg"), escape("42.jpg")
    ('red%20car%20100%25.jpg', '42.jpg')
    """
    if not name:
        raise InputError(
            "An id is empty.", "A TREC file needs a text in every column.", "Give the item an id."
        )
    return _SPECIAL.sub(lambda found: _SIGNS[found[0]], name) if _SPECIAL.search(name) else name


def unescape(column: str) -> str:
    """The id that `escape` wrote.

    >>> unescape(escape("red car 100%.jpg")), unescape("caf%C3%A9.jpg")
    ('red car 100%.jpg', 'caf%C3%A9.jpg')
    """
    return _CODED.sub(lambda found: _CODES[found[0]], column) if "%" in column else column


@contextlib.contextmanager
def open_text(path: str | os.PathLike[str], mode: Literal["r", "w"] = "r") -> Generator[TextIO]:
    r"""A text file (UTF-8, '\n'), gzip if its name ends in .gz or, for reading, if its content is gzip.

    A written file gets its name only once it is complete, and its bytes depend on the text alone (gzip
    without time and name). Raises `InputError` for a file that is not there or whose gzip data are damaged.
    """
    if mode == "w":
        with _writing(Path(path)) as file:
            yield file
    else:
        with _reading(Path(path)) as file:
            yield file


@contextlib.contextmanager
def _reading(path: Path) -> Generator[TextIO]:
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.", "A text file is needed.", "Check the path.")
    try:
        with path.open("rb") as raw, _unpacked(raw) as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        came = f"{str(path)!r} is damaged gzip data ({error})."
        raise InputError(came, "A complete file is needed.", "Copy or write it again.") from error


def _unpacked(raw: IO[bytes]) -> TextIO:
    packed = raw.read(2) == _MAGIC
    raw.seek(0)
    content = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
    # File names on Linux are bytes: surrogateescape brings those that are not UTF-8 through unchanged.
    return io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape")


@contextlib.contextmanager
def _writing(path: Path) -> Generator[TextIO]:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with (
            part.open("wb") as raw,
            _packing(raw, packed=path.suffix == ".gz") as content,
            io.TextIOWrapper(content, encoding="utf-8", errors="surrogateescape", newline="\n") as file,
        ):
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _packing(raw: IO[bytes], *, packed: bool) -> IO[bytes]:
    # Level 4: half the time of level 9 for a few per cent of the size.
    return cast("IO[bytes]", gzip.GzipFile("", "wb", 4, raw, mtime=0)) if packed else raw
