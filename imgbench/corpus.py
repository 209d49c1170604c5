"""A corpus: images, queries, and which image answers which query.

>>> corpus = Corpus.build(
...     name="two", images={"1.jpg": b"...", "2.jpg": b"..."},
...     queries={"q1": "a red car", "q2": "one red car", "q3": "a boat"},
...     qrels={"q1": {"1.jpg": 1}, "q2": {"1.jpg": 1}, "q3": {"2.jpg": 1}},
... )
>>> corpus
Corpus('two': 2 images, 3 queries in 2 clusters, 3 judgements)
>>> corpus.clusters  # both queries of 1.jpg rise and fall together
array([0, 0, 1], dtype=int32)
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from imgbench.clusters import cluster_queries, labelled
from imgbench.errors import InputError
from imgbench.images import ImageFiles, ImageItems, ImageSource
from imgbench.qrels import Qrels
from imgbench.types import ImageInput

__all__ = ["Corpus", "ImageFiles", "ImageItems", "ImageSource", "Notice", "cluster_queries"]

_EXAMPLES = 5  # names kept with a notice or shown in an error


@dataclass(frozen=True)
class Notice:
    """Something that was counted instead of being passed over: what, how often, which for example.

    >>> str(Notice("missing images", 2, ("a.jpg", "b.jpg"), "judged, but not in the corpus"))
    'missing images: 2, judged, but not in the corpus (a.jpg, b.jpg).'
    """

    kind: str
    count: int
    examples: tuple[str, ...] = ()
    meaning: str = ""

    @classmethod
    def of(cls, kind: str, names: Sequence[str], meaning: str = "") -> Notice:
        """The notice about all of `names`, which keeps the first few as examples."""
        return cls(kind, len(names), tuple(names[:_EXAMPLES]), meaning)

    def __str__(self) -> str:
        meaning = f", {self.meaning}" if self.meaning else ""
        more = ", ..." if self.count > len(self.examples) else ""
        examples = f" ({', '.join(self.examples)}{more})" if self.examples else ""
        return f"{self.kind}: {self.count:,}{meaning}{examples}."


@dataclass(frozen=True, eq=False)
class Corpus:
    """Images, queries and judgements, aligned and checked. The pixels stay where they are."""

    name: str
    image_ids: tuple[str, ...]
    images: ImageSource
    query_ids: tuple[str, ...]
    query_texts: tuple[str, ...]
    qrels: Qrels
    clusters: Int32[np.ndarray, "query"]
    cluster_rule: str
    notices: tuple[Notice, ...] = ()
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        _check_lengths(self)
        _check_ids("image", self.image_ids)
        _check_ids("query", self.query_ids)
        _check_texts(self)
        _check_judged(self)

    @classmethod
    def load(cls, spec: str | Path, **options: Any) -> Corpus:  # noqa: ANN401  each loader names its own
        """The corpus that a folder holds or a name stands for.

        A path (a native folder, or captions.jsonl), "scenes", "scenes:20000", "scenes:20000?seed=1", or a
        name of the entry points "imgbench.corpora". Options follow the name or are passed by keyword.
        InputError for an unknown name or option, and for whatever is wrong with the corpus.
        """
        # The loaders build on this file and are found by name: imports go one way.
        from importlib import import_module

        return import_module("imgbench.corpora").load(spec, **options)

    @classmethod
    def build(
        cls,
        *,
        name: str,
        images: Mapping[str, ImageInput] | tuple[Sequence[str], ImageSource],
        queries: Mapping[str, str] | tuple[Sequence[str], Sequence[str]],
        qrels: Qrels | Mapping[str, Mapping[str, int]] | str | Path,
        clusters: Mapping[str, str] | Sequence[str] | None = None,
        cluster_rule: str | None = None,
        notices: Iterable[Notice] = (),
        source: str = "",
        licence: str = "",
    ) -> Corpus:
        """A corpus from what a caller holds: images and queries by id, or as (ids, images) and (ids, texts).

        `clusters` labels every query (by id, or in the queries' order); without it `cluster_queries` decides.
        InputError for duplicate or empty ids, empty texts, judgements of unknown queries, and judgements none
        of whose images is there. Judged images that are missing and queries without judgement are notices.
        """
        image_ids, source_of = _images(images)
        query_ids, texts = (
            (tuple(queries), tuple(queries.values())) if isinstance(queries, Mapping) else queries
        )
        judged = Qrels.coerce(qrels)
        if clusters is None:
            numbers, rule = cluster_queries(query_ids, judged)
        else:
            numbers, rule = (
                labelled(query_ids, clusters),
                "Queries with the same cluster label form a cluster.",
            )
        return cls(
            name=name,
            image_ids=tuple(image_ids),
            images=source_of,
            query_ids=tuple(query_ids),
            query_texts=tuple(texts),
            qrels=judged,
            clusters=numbers,
            cluster_rule=cluster_rule or rule,
            notices=(*notices, *_counted(image_ids, query_ids, judged)),
            source=source,
            licence=licence,
        )

    @cached_property
    def images_digest(self) -> str:
        """SHA-256 (hex) over the content of all images in order; reads every image once."""
        return self.images.digest()

    @cached_property
    def fingerprint(self) -> str:
        """`sha256:...` over images, queries, judgements and clusters: equal for equal content."""
        parts = [
            self.image_ids,
            self.images_digest,
            self.query_ids,
            self.query_texts,
            self.qrels.fingerprint,
            self.clusters.tolist(),
        ]
        return f"sha256:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"

    @property
    def cluster_count(self) -> int:
        """Number of query clusters: the independent units of every interval and test."""
        return int(self.clusters.max()) + 1

    @property
    def missing_images(self) -> int:
        """Number of judged images that the corpus lacks."""
        return len(set(self.qrels.image_ids).difference(self.image_ids))

    def __repr__(self) -> str:
        return (
            f"Corpus({self.name!r}: {len(self.image_ids):,} images, {len(self.query_ids):,} queries in "
            f"{self.cluster_count:,} clusters, {len(self.qrels):,} judgements)"
        )


def _images(
    images: Mapping[str, ImageInput] | tuple[Sequence[str], ImageSource],
) -> tuple[Sequence[str], ImageSource]:
    if not isinstance(images, Mapping):
        return images
    paths = [Path(image) for image in images.values() if isinstance(image, (str, Path))]
    return tuple(images), ImageFiles(paths) if len(paths) == len(images) else ImageItems(
        tuple(images.values())
    )


def _counted(image_ids: Sequence[str], query_ids: Sequence[str], qrels: Qrels) -> list[Notice]:
    """Notices about judgements without image and queries without judgement or relevant image."""
    there = set(image_ids)
    missing = [image for image in qrels.image_ids if image not in there]
    relevant = set(qrels.query_rows[qrels.grades > 0].tolist())
    unanswered = [query for row, query in enumerate(qrels.query_ids) if row not in relevant]
    judged = set(qrels.query_ids)
    unjudged = [query for query in query_ids if query not in judged]
    notices = [
        Notice.of("missing images", missing, "judged but not in the corpus, so never found"),
        Notice.of("queries without judgement", unjudged, "searched but not scored"),
        Notice.of("queries without a relevant image", unanswered, "whose score is 0 whatever is found"),
    ]
    return [notice for notice in notices if notice.count]


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_EXAMPLES])) + (", ..." if len(names) > _EXAMPLES else "")


def _check_lengths(corpus: Corpus) -> None:
    pairs = {
        "images for image ids": (len(corpus.images), len(corpus.image_ids)),
        "texts for query ids": (len(corpus.query_texts), len(corpus.query_ids)),
        "cluster numbers for query ids": (len(corpus.clusters), len(corpus.query_ids)),
    }
    for what, (came, wanted) in pairs.items():
        if came != wanted:
            raise InputError(
                f"Corpus {corpus.name!r} has {came} {what}, of which there are {wanted}.",
                "They belong together one by one.",
                "Align them.",
            )


def _check_ids(kind: str, ids: Sequence[str]) -> None:
    if not ids:
        plural = {"image": "images", "query": "queries"}[kind]
        raise InputError(
            f"There are no {plural}.", "A corpus has images and queries.", "Check where they come from."
        )
    if len(set(ids)) != len(ids):
        twice = [name for name, count in Counter(ids).items() if count > 1]
        raise InputError(
            f"{len(twice)} {kind} ids come more than once ({_some(twice)}).",
            "An id names one thing.",
            "Rename or drop the copies.",
        )
    if not all(ids):
        raise InputError(f"The id of {kind} {ids.index('') + 1} is empty.", "Wanted a name.", "Give it one.")


def _check_texts(corpus: Corpus) -> None:
    empty = [
        query for query, text in zip(corpus.query_ids, corpus.query_texts, strict=True) if not text.strip()
    ]
    if empty:
        raise InputError(
            f"{len(empty)} queries have an empty text ({_some(empty)}).",
            "A query is a text.",
            "Write the texts, or drop the queries and their judgements.",
        )


def _check_judged(corpus: Corpus) -> None:
    queries = set(corpus.query_ids)
    if strangers := [query for query in corpus.qrels.query_ids if query not in queries]:
        raise InputError(
            f"{len(strangers)} judged queries are not among the queries ({_some(strangers)}).",
            "Judgements name queries of the corpus.",
            "Add the queries, or drop these judgements.",
        )
    if len(corpus.qrels) and set(corpus.qrels.image_ids).isdisjoint(corpus.image_ids):
        raise InputError(
            f"None of the {len(corpus.qrels.image_ids)} judged images is in the corpus "
            f"({corpus.qrels.image_ids[0]!r} is judged, {corpus.image_ids[0]!r} is there).",
            "Judgements name images by their ids.",
            "Make the ids equal.",
        )
