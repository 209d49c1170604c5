"""Files that are complete under their name or not there at all; one writer at a time; hashes.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "a.txt"
>>> with replacing(path) as part:
...     _ = part.write_text("half")
...     path.exists()
False
>>> path.read_text(), digest(path)[:8]
('half', 'a11ae064')
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import TextIO

from imgbench.errors import InputError


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A name to write to, which becomes `path` once it is written and vanishes if that fails."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Alone with the folder; the lock, a file beside it, goes with the process that holds it."""
    with _opened(folder.with_name(f"{folder.name}.lock")) as file:
        with contextlib.suppress(ImportError, OSError):  # Windows has no fcntl, some network disks no locks
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(path: Path) -> str | None:
    """SHA-256 (hex) of a file, or None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _opened(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")
    except OSError as error:
        raise InputError(
            f"{path.parent} cannot be written to: {error.strerror}.",
            "Wanted a folder to write to.",
            "Choose another cache.",
        ) from None
