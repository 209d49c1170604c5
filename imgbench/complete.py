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
    """Alone with the folder; the lock, a file beside it, goes with the process that holds it.

    InputError where the lock cannot be written, and where a link stands in its place.
    """
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
    # A link could lead to any file: none is followed, and nothing is truncated. Windows has no such flag.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(path, flags, 0o666), "a")
    except OSError as error:
        if path.is_symlink():
            came = f"The lock {path} is a link."
            raise InputError(came, "Links are not followed.", "Remove it, or choose another cache.") from None
        raise InputError(
            f"{path.parent} cannot be written to: {error.strerror}.",
            "Wanted a folder to write to.",
            "Choose another cache.",
        ) from None
