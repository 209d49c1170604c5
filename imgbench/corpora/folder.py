"""The native folder, the study's format: `images/`, `queries.csv`, `qrels.csv` and perhaps `corpus.toml`.

- `queries.csv` has the columns query_id, query_text and, if wanted, cluster;
- `qrels.csv` has the columns query_id, document_id and relevance; a document_id is an image's path below
  `images/`, or its file name where only one file has it;
- `corpus.toml` may set `name`, `source`, `licence`, `image_id` ("path" below images/, file "name", or "stem",
  the name without its ending) and `image_prefix`, which is stripped from the front of image ids.

An image id is the image's path below `images/`. Where no judgement names a file as it is, but most name files
without one common prefix (the study's 'flickr30k_'), that prefix is stripped from the image ids and a notice
says so: judgements and the runs of other engines keep their ids.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

from imgbench import tables
from imgbench.corpora.paths import check_inside, is_image, listed
from imgbench.corpus import Corpus, ImageFiles, Notice
from imgbench.errors import InputError, unknown
from imgbench.qrels import Qrels

_PARTS = ("images", "queries.csv", "qrels.csv")
_PROBES = 100  # judged names whose endings are compared with every file to find the common prefix

IMAGE_IDS: dict[str, Callable[[str], str]] = {
    "path": str,
    "name": lambda path: PurePosixPath(path).name,
    "stem": lambda path: PurePosixPath(path).stem,
}
"""How an image id comes from the path below images/: the values of `image_id` in corpus.toml."""


@dataclass(frozen=True)
class Settings:
    """What corpus.toml may say."""

    name: str = ""
    source: str = ""
    licence: str = ""
    image_id: str = "path"
    image_prefix: str | None = None


def load(path: str | Path, *, follow_links: bool = False) -> Corpus:
    """The corpus of a native folder. InputError says which part is missing or which line is wrong."""
    folder = Path(path)
    _check_parts(folder)
    settings = _settings(folder / "corpus.toml")
    below = listed(folder / "images", confined_to=None if follow_links else folder)
    files = [name for name in below if is_image(name)]
    queries = tables.read(folder / "queries.csv", required=("query_id", "query_text"), optional=("cluster",))
    qrels = Qrels.read_csv(folder / "qrels.csv")
    check_inside(qrels.image_ids, folder / "qrels.csv")
    image_ids, qrels, said = _matched(files, qrels, settings)
    others = Notice.of("other files in images/", [name for name in below if not is_image(name)], "left alone")
    return Corpus.build(
        name=settings.name or folder.resolve().name,
        images=(image_ids, ImageFiles([folder / "images" / name for name in files])),
        queries=(queries.columns["query_id"], queries.columns["query_text"]),
        qrels=qrels,
        clusters=_clusters(queries),
        notices=[notice for notice in (*said, others) if notice.count],
        source=settings.source,
        licence=settings.licence,
    )


def _check_parts(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", "Wanted a corpus's folder.", "Check the path.")
    missing = [part for part in _PARTS if not (folder / part).exists()]
    if (folder / "images").is_file():
        missing.append("images")
    if missing:
        names = [f"{name}/" if name == "images" else name for name in missing]
        raise InputError(
            f"{folder} lacks {', '.join(names)}.",
            "A corpus has images/, queries.csv and qrels.csv.",
            "Name the folder that holds them, or add what is missing.",
        )


def _settings(path: Path) -> Settings:
    if not path.exists():
        return Settings()
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is not TOML: {error}.", 'Wanted key = "value" lines.', "Correct it."
        ) from None
    known = [field.name for field in fields(Settings)]
    for key, value in said.items():
        if key not in known:
            raise unknown("a key of corpus.toml", key, known)
        if not isinstance(value, str):
            raise InputError(f"{key} in {path} is {value!r}.", "Wanted a text.", "Put it into quotes.")
    settings = Settings(**said)
    if settings.image_id not in IMAGE_IDS:
        raise unknown("an image_id of corpus.toml", settings.image_id, IMAGE_IDS)
    return settings


def _clusters(queries: tables.Table) -> Sequence[str] | None:
    labels = queries.columns.get("cluster")
    if labels and (
        empty := [line for label, line in zip(labels, queries.lines, strict=True) if not label.strip()]
    ):
        raise InputError(
            f"Line {empty[0]} of {queries.path} has an empty cluster ({len(empty)} such lines).",
            "With the column cluster, every query has a label.",
            "Fill it, or drop the column.",
        )
    return labels


def _matched(files: list[str], qrels: Qrels, settings: Settings) -> tuple[list[str], Qrels, list[Notice]]:
    """The image ids, the judgements with those ids, and notices about what was done to make them meet."""
    ids = [IMAGE_IDS[settings.image_id](name) for name in files]
    if settings.image_prefix is not None:
        return _without(settings.image_prefix, ids), qrels, []
    judged = qrels.image_ids
    by_name = _by_name(ids, judged)
    if by_name:
        said = Notice.of("images judged by file name", list(by_name), "whose folder was filled in")
        return ids, _renamed(qrels, by_name), [said]
    if prefix := _common_prefix(ids, judged):
        stripped = _without(prefix, ids)
        changed = [name for name, new in zip(ids, stripped, strict=True) if name != new]
        meaning = f"stripped from image ids because the judgements name the images without {prefix!r}"
        return stripped, qrels, [Notice.of("common prefix", changed, meaning)]
    return ids, qrels, []


def _by_name(ids: list[str], judged: Sequence[str]) -> dict[str, str]:
    """The image id of each judged name that is no id but the file name of exactly one image."""
    there = set(ids)
    wanted = {name for name in judged if name not in there and "/" not in name}
    found: dict[str, str] = {}
    for image in ids:
        name = image.rpartition("/")[2]
        if name in wanted and found.setdefault(name, image) != image:
            raise InputError(
                f"The judged image {name!r} could be {found[name]!r} or {image!r}.",
                "A document_id names one image.",
                "Write its path below images/.",
            )
    return found


def _renamed(qrels: Qrels, names: Mapping[str, str]) -> Qrels:
    images = [names.get(name, name) for name in qrels.image_ids]
    return Qrels.from_rows(
        [qrels.query_ids[row] for row in qrels.query_rows.tolist()],
        [images[row] for row in qrels.image_rows.tolist()],
        qrels.grades.tolist(),
    )


def _common_prefix(ids: list[str], judged: Sequence[str]) -> str:
    """The prefix that turns most judged names into ids, where none is one as it stands; else ''."""
    there = set(ids)
    if not there.isdisjoint(judged):
        return ""
    probes = tuple(judged[:_PROBES])
    endings = [image for image in ids if image.endswith(probes)]
    prefixes = Counter(
        image.removesuffix(name) for image in endings for name in probes if image.endswith(name)
    )
    for prefix, _ in prefixes.most_common(3):
        if 2 * sum(prefix + name in there for name in judged) > len(judged):
            return prefix
    return ""


def _without(prefix: str, ids: list[str]) -> list[str]:
    """The ids without the prefix, but for those whose short form is another image's id."""
    there = set(ids)
    return [name if name.removeprefix(prefix) in there else name.removeprefix(prefix) for name in ids]


def save(corpus: Corpus, folder: str | Path) -> Path:
    """The corpus written as a native folder, which must not exist yet; complete or not at all.

    Files and encoded bytes are copied as they are, decoded pictures become PNG. InputError where an id cannot
    be a file name.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(
            f"{folder} exists already.", "A corpus is written to a new folder.", "Choose another name."
        )
    files, settings = _files_of(corpus)
    check_inside(files, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as part:
        made = Path(part) / folder.name
        _write_images(corpus, [made / "images" / name for name in files])
        _write_tables(corpus, made)
        (made / "corpus.toml").write_text(settings, encoding="utf-8")
        made.replace(folder)
    return folder


def _files_of(corpus: Corpus) -> tuple[list[str], str]:
    """The path below images/ of each image, and corpus.toml, whose rule leads back to the ids."""
    rule, files = "path", list(corpus.image_ids)
    if not all(is_image(name) for name in files):
        rule, files = "stem", [f"{name}.png" for name in files]
        if any(IMAGE_IDS["stem"](file) != name for file, name in zip(files, corpus.image_ids, strict=True)):
            raise InputError(
                "Some image ids end like image files and others do not, or lie in folders.",
                "A folder holds images by file name.",
                "Let every id end in .jpg or .png.",
            )
    said = {"name": corpus.name, "source": corpus.source, "licence": corpus.licence, "image_id": rule}
    # A JSON string without escapes beyond \\uXXXX is a TOML string too.
    return files, "".join(
        f"{key} = {json.dumps(value)}\n" for key, value in said.items()
    ) + 'image_prefix = ""\n'


def _write_images(corpus: Corpus, paths: list[Path]) -> None:
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True, exist_ok=True)
    for image, path in zip(corpus.images, paths, strict=True):
        if isinstance(image, bytes):
            path.write_bytes(image)
        elif isinstance(image, (str, Path)):
            shutil.copyfile(image, path)
        else:
            image.save(path, format="PNG")


def _write_tables(corpus: Corpus, folder: Path) -> None:
    labels = map(str, corpus.clusters.tolist())
    queries = zip(corpus.query_ids, corpus.query_texts, labels, strict=True)
    _write_csv(folder / "queries.csv", ("query_id", "query_text", "cluster"), queries)
    judged = corpus.qrels
    rows = zip(judged.query_rows.tolist(), judged.image_rows.tolist(), judged.grades.tolist(), strict=True)
    named = ((judged.query_ids[query], judged.image_ids[image], str(grade)) for query, image, grade in rows)
    _write_csv(folder / "qrels.csv", ("query_id", "document_id", "relevance"), named)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
