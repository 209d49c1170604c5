"""What is searched: judgements, the facts of a corpus, and the vector spaces of one or more encoders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from imgbench.corpus import Corpus
from imgbench.embeddings import Embeddings
from imgbench.encoders.base import Encoder
from imgbench.errors import InputError
from imgbench.evaluator import Evaluator
from imgbench.qrels import Qrels
from imgbench.spaces import Space, embedded, given, models, without_vector

if TYPE_CHECKING:
    from ir_measures import Measure

Judgements: TypeAlias = Qrels | Mapping[str, Mapping[str, int]]
Vectors: TypeAlias = Mapping[str, tuple[Embeddings, Embeddings]]
"""The name of a vector space, its images and its queries."""


@dataclass(frozen=True)
class Subject:
    """Judgements with their measures, and the spaces in which their queries are answered.

    `about` is `corpus` of results.json; `texts` are those of the judged queries, in their order, where they
    are known; `dims` the dimensions of the spaces. `spaces` is to be read once: an encoder's images are
    embedded when its space is asked for.
    """

    judge: Evaluator
    about: dict[str, Any]
    texts: tuple[str, ...] | None
    dims: tuple[int, ...]
    spaces: Iterable[Space]

    @classmethod
    def of(
        cls,
        corpus: Corpus | str | Path | Judgements,
        encoders: Encoder | str | Sequence[Encoder | str] | Vectors,
        *,
        measures: Sequence[str | Measure],
        cache: str | Path | None,
        progress: bool = False,
        whole: bool = False,
        parity: bool = False,
    ) -> Subject:
        """A corpus and its encoders, or judgements (or a corpus) and vectors that exist.

        `whole` asks encoders for float32 vectors beside those that are searched, `parity` what a precision
        other than fp32 changed. InputError for names that
        are unknown, for vectors that do not fit the judgements, and for judgements without images.
        """
        if isinstance(corpus, str | Path):
            corpus = Corpus.load(corpus)
        judge = _judge(corpus, measures)
        texts = _texts(corpus, judge) if isinstance(corpus, Corpus) else None
        if isinstance(encoders, Mapping):
            brought = _brought(encoders, judge)
            # What fits the smallest space fits them all.
            about = _about(corpus, judge, min(brought, key=lambda space: len(space.images)))
            return cls(judge, about, texts, tuple(space.images.dim for space in brought), brought)
        if not isinstance(corpus, Corpus):
            raise InputError(
                "Judgements came without images.",
                "An encoder needs a corpus.",
                'Pass a Corpus, or {"name": (images, queries)}.',
            )
        loaded = models(encoders)
        beside = judge if parity else None
        spaces = (
            embedded(corpus, model, cache, progress=progress, whole=whole, beside=beside) for model in loaded
        )
        return cls(judge, _about(corpus, judge, None), texts, tuple(model.dim for model in loaded), spaces)


def _judge(corpus: Corpus | Judgements, measures: Sequence[str | Measure]) -> Evaluator:
    if not isinstance(corpus, Corpus):
        return Evaluator(corpus, measures)
    labels = dict(zip(corpus.query_ids, corpus.clusters.tolist(), strict=True))
    return Evaluator(corpus.qrels, measures, {query: labels[query] for query in corpus.qrels.query_ids})


def _texts(corpus: Corpus, judge: Evaluator) -> tuple[str, ...]:
    known = dict(zip(corpus.query_ids, corpus.query_texts, strict=True))
    return tuple(known[query] for query in judge.query_ids)


def _brought(vectors: Vectors, judge: Evaluator) -> list[Space]:
    if not vectors:
        raise InputError("No vectors came.", "A benchmark needs some.", 'Pass {"name": (images, queries)}.')
    return [given(name, *pair, judge) for name, pair in vectors.items()]


def _about(corpus: Corpus | Judgements, judge: Evaluator, space: Space | None) -> dict[str, Any]:
    """`corpus` of results.json."""
    known = corpus.image_ids if isinstance(corpus, Corpus) else space.images.ids if space else ()
    queries = corpus.query_ids if isinstance(corpus, Corpus) else space.queries.ids if space else ()
    own = isinstance(corpus, Corpus)
    return {
        "name": corpus.name if own else "vectors",
        "images": len(space.images) if space else len(known),
        "queries": len(queries),
        "judged_queries": len(judge.query_ids),
        "clusters": int(judge.clusters.max()) + 1,
        "missing_images": len(without_vector(judge.qrels, known)),
        "fingerprint": corpus.fingerprint if own else judge.qrels.fingerprint,
        "cluster_rule": corpus.cluster_rule if own else judge.cluster_rule,
        "notices": [str(notice) for notice in corpus.notices] if own else [],
    }
