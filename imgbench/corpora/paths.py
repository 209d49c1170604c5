"""Image files below a folder, found by listing folders instead of asking for each file; nothing outside it.

A corpus may have been made by somebody else: a link or a name that leads out of its folder is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from imgbench.errors import InputError

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def listed(root: Path, *, confined_to: Path | None) -> list[str]:
    """Every file below `root` as a path relative to it, with '/' between its parts, sorted.

    InputError for a link that leads out of `confined_to`; None follows every link.
    """
    base = None if confined_to is None else confined_to.resolve()
    _check_link(root, base)
    return sorted(_below(root, "", base, ()))


def _below(folder: Path, before: str, base: Path | None, above: tuple[Path, ...]) -> Iterator[str]:
    real = folder.resolve()
    if real in above:  # a link back up would never end
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            link = entry.is_symlink()
            if link:
                _check_link(Path(entry.path), base)
            # A link to itself is no folder, but asking its entry raises.
            if os.path.isdir(entry.path) if link else entry.is_dir():  # noqa: PTH112  a path costs ten times more
                yield from _below(Path(entry.path), f"{before}{entry.name}/", base, (*above, real))
            elif link or entry.is_file():  # a dead link is an image that cannot be read
                yield before + entry.name


def present(root: Path, names: Sequence[str], *, confined_to: Path | None) -> set[str]:
    """Those of `names` (paths below `root`) that are files; links as in `listed`."""
    base = None if confined_to is None else confined_to.resolve()
    found: set[str] = set()
    wanted = set(names)
    for before in {name.rpartition("/")[0] for name in names}:
        folder = root / before
        _check_link(folder, base)
        if folder.is_dir():
            found |= _files(folder, f"{before}/" if before else "", wanted, base)
    return found


def _files(folder: Path, before: str, wanted: set[str], base: Path | None) -> set[str]:
    found: set[str] = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            name = before + entry.name
            if name in wanted:
                if entry.is_symlink():
                    _check_link(Path(entry.path), base)
                if os.path.isfile(entry.path):  # noqa: PTH113  False for a link to itself, where the entry raises
                    found.add(name)
    return found


def _check_link(path: Path, base: Path | None) -> None:
    end = Path(os.path.realpath(path))  # Path.resolve raises where a link leads to itself
    if base is not None and not end.is_relative_to(base):
        raise InputError(
            f"{path} leads out of the corpus to {end}.",
            "A corpus keeps its images in its own folder.",
            "Copy or hard-link them, or load it with follow_links=True if you trust it.",
        )


def check_inside(names: Iterable[str], where: Path) -> None:
    """InputError for the first name that is empty, absolute or climbs out of its folder by '..'."""
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise InputError(
                f"{where} names the image {name!r}.",
                "An image lies inside the corpus's folder.",
                "Name it by its path below that folder.",
            )


def is_image(name: str) -> bool:
    """Whether the name ends as an image file's does."""
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS  # noqa: PTH122  ten times faster than Path.suffix
