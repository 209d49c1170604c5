"""Captions as JSON lines: `{"file": "images/1.jpg", "captions": ["a red car", ...], "split": "test"}`.

Every caption is a query whose only relevant image is its own; its id is the image's stem and the caption's
number (`1_caption_00`). An image id is the path of `file`, without a leading `images/`. `split` is optional.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from imgbench.corpora.paths import check_inside, present
from imgbench.corpus import Corpus, ImageFiles, Notice
from imgbench.errors import InputError, unknown
from imgbench.qrels import Qrels

_GALLERIES = ("all", "split")


@dataclass(frozen=True)
class _Row:
    file: str
    captions: tuple[str, ...]
    split: str | None

    @property
    def image_id(self) -> str:
        return self.file.removeprefix("images/")


def load(
    path: str | Path, *, split: str | None = None, gallery: str = "split", follow_links: bool = False
) -> Corpus:
    """The corpus of a captions file, or of the folder that holds `captions.jsonl`.

    `split` takes the captions of that split only; the gallery is then the images of the split, or with
    gallery="all" every image of the file. InputError names the line that is wrong.
    """
    if gallery not in _GALLERIES:
        raise unknown("a gallery", gallery, _GALLERIES)
    file = Path(path) / "captions.jsonl" if Path(path).is_dir() else Path(path)
    rows = list(_rows(file))
    check_inside((row.file for row in rows), file)
    asked = rows if split is None else _of_split(rows, split)
    shown = rows if gallery == "all" else asked
    there = present(
        file.parent, [row.file for row in shown], confined_to=None if follow_links else file.parent
    )
    found = [row for row in shown if row.file in there]
    query_ids, texts, images = _queries(asked)
    relevant = set(images)
    # An absent image with queries is counted where the corpus is built; the others here.
    unasked = [row.file for row in shown if row.file not in there and row.image_id not in relevant]
    return Corpus.build(
        name=file.parent.resolve().name + (f"/{split}" if split else ""),
        images=([row.image_id for row in found], ImageFiles([file.parent / row.file for row in found])),
        queries=(query_ids, texts),
        qrels=Qrels.from_rows(query_ids, images, [1] * len(images)),
        notices=[Notice.of("absent files", unasked, "listed without a query")] if unasked else [],
    )


def _rows(file: Path) -> Iterator[_Row]:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _row(line, f"Line {number} of {file}")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} cannot be read: {error}.", "Wanted JSON lines in UTF-8.", "Check the file."
        ) from None


def _row(line: str, where: str) -> _Row:
    wanted = 'Wanted {"file": "images/1.jpg", "captions": ["a text"]}.'
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {error}.", wanted, "Correct the line.") from None
    if not isinstance(said, dict) or not isinstance(said.get("file"), str) or not said["file"]:
        raise InputError(f"{where} names no file.", wanted, "Add the key 'file'.")
    captions = said.get("captions")
    if not isinstance(captions, list) or not all(isinstance(text, str) and text.strip() for text in captions):
        raise InputError(f"{where} has the captions {captions!r}.", wanted, "List texts that are not empty.")
    return _Row(PurePosixPath(said["file"]).as_posix(), tuple(captions), said.get("split"))


def _of_split(rows: Sequence[_Row], split: str) -> list[_Row]:
    found = [row for row in rows if row.split == split]
    if not found:
        raise unknown(
            "a split of this file", split, {str(row.split) for row in rows if row.split is not None}
        )
    return found


def _queries(rows: Sequence[_Row]) -> tuple[list[str], list[str], list[str]]:
    """Query ids, texts and relevant images, one of each a caption."""
    stems = [PurePosixPath(row.file).stem for row in rows]
    if len(set(stems)) < len(stems):  # equal names in several folders: the whole id tells them apart
        stems = [row.image_id for row in rows]
    numbered = [
        (stem, row, number)
        for stem, row in zip(stems, rows, strict=True)
        for number in range(len(row.captions))
    ]
    return (
        [f"{stem}_caption_{number:02d}" for stem, _, number in numbered],
        [row.captions[number] for _, row, number in numbered],
        [row.image_id for _, row, _ in numbered],
    )
