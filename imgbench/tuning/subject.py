"""What is tuned: judgements, and where the vectors come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ir_measures import Measure

from imgbench.corpus import Corpus
from imgbench.embeddings import Embeddings
from imgbench.encoders.base import Encoder
from imgbench.errors import InputError
from imgbench.evaluator import Evaluator
from imgbench.qrels import Qrels
from imgbench.spaces import Space, embedded, given, models

Judgements: TypeAlias = Qrels | Mapping[str, Mapping[str, int]]
Vectors: TypeAlias = Mapping[str, tuple[Embeddings, Embeddings]]

_DEPTH = 100  # hits a query where the measure has no cutoff


@dataclass(frozen=True)
class Subject:
    """Judgements with one measure, sizes, and the vectors, which are made only when `space` is called."""

    judge: Evaluator
    images: int
    dim: int
    space: Callable[[], Space]


def subject(
    corpus: Corpus | str | Path | Judgements,
    encoder: Encoder | str | Vectors,
    measure: str | Measure,
    cache: str | Path,
    *,
    progress: bool,
) -> Subject:
    """As `imgbench.benchmark` reads them, for one vector space and one measure."""
    if isinstance(corpus, str | Path):
        corpus = Corpus.load(corpus)
    judge = _judge(corpus, measure)
    if isinstance(encoder, Mapping):
        if len(encoder) != 1:
            came = f"{len(encoder)} vector spaces came."
            raise InputError(came, "Tuning takes one.", 'Pass {"name": (images, queries)}.')
        name, (images, queries) = next(iter(encoder.items()))
        brought = given(name, images, queries, judge)
        return Subject(judge, len(images), images.dim, lambda: brought)
    if not isinstance(corpus, Corpus):
        raise InputError(
            "Judgements came without images.",
            "An encoder needs a corpus.",
            'Pass a Corpus, or {"name": (images, queries)}.',
        )
    (model,) = models(encoder)
    return Subject(
        judge,
        len(corpus.image_ids),
        model.dim,
        lambda: embedded(corpus, model, cache, progress=progress),
    )


def depth(judge: Evaluator, k: int | None, images: int) -> int:
    """The depth of every search: as deep as the measure looks, unless the caller asks for more."""
    cutoff = judge.measures[0].params.get("cutoff")
    deepest = min(int(cutoff) if cutoff is not None else 1, images)
    if k is None:
        return deepest if cutoff is not None else min(_DEPTH, images)
    if not isinstance(k, int) or isinstance(k, bool) or not deepest <= k <= images:  # pyright: ignore[reportUnnecessaryIsInstance]
        wanted = f"{judge.names[0]} looks at {deepest} of {images:,} images."
        raise InputError(f"k is {k!r}.", wanted, f"Choose k from {deepest} to {images:,}, or leave it out.")
    return k


def _judge(corpus: Corpus | Judgements, measure: str | Measure) -> Evaluator:
    if not isinstance(corpus, Corpus):
        return Evaluator(corpus, [measure])
    labels = dict(zip(corpus.query_ids, corpus.clusters.tolist(), strict=True))
    return Evaluator(corpus.qrels, [measure], {query: labels[query] for query in corpus.qrels.query_ids})
