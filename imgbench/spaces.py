"""Vector spaces of a corpus: made by an encoder, or brought along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imgbench import parity, stopwatch
from imgbench.corpus import Corpus, Notice
from imgbench.embeddings import Embeddings, check_embeddings, embed
from imgbench.encoders.base import Encoder
from imgbench.errors import InputError
from imgbench.evaluator import Evaluator
from imgbench.qrels import Qrels


@dataclass(frozen=True)
class Space:
    """One encoder's vectors of a corpus, and what results.json says of the encoder."""

    about: dict[str, Any]
    images: Embeddings
    queries: Embeddings
    notices: tuple[Notice, ...] = ()
    whole: tuple[Embeddings, Embeddings] | None = None
    """The float32 vectors of images and queries, where they were kept."""


def given(name: str, images: Embeddings, queries: Embeddings, judge: Evaluator) -> Space:
    """Vectors that came without an encoder."""
    check_embeddings(f"images of {name}", images)
    check_embeddings(f"queries of {name}", queries)
    if images.dim != queries.dim:
        raise InputError(
            f"The images of {name} have {images.dim} dimensions and its queries {queries.dim}.",
            "Both sides must come from one encoder.",
            "Pass vectors of one space.",
        )
    if not set(judge.query_ids).intersection(queries.ids):
        raise InputError(
            f"No judged query (such as {judge.query_ids[0]!r}) is among the queries of {name}.",
            f"Ids such as {queries.ids[0]!r} came.",
            "Give the vectors the ids of the judgements.",
        )
    if set(judge.qrels.image_ids).isdisjoint(images.ids):
        raise InputError(
            f"No judged image (such as {judge.qrels.image_ids[0]!r}) is among the images of {name}.",
            f"Ids such as {images.ids[0]!r} came.",
            "Give the vectors the ids of the judgements.",
        )
    about = {
        "name": name,
        "dim": images.dim,
        "precision": None,
        "images_per_second": None,
        "fingerprint": images.fingerprint,
    }
    there = set(queries.ids)
    unanswered = [query for query in judge.query_ids if query not in there]
    unseen = without_vector(judge.qrels, images.ids)
    lost = (
        Notice.of("judged queries without a vector", unanswered, f"which score 0 in {name}"),
        Notice.of("relevant images without a vector", unseen, f"so never found in {name}"),
    )
    return Space(about, images, queries, (*lost, _unreadable(name, images)))


def without_vector(qrels: Qrels, images: Sequence[str]) -> list[str]:
    """The relevant images that are not among `images`."""
    there = set(images)
    relevant = np.unique(qrels.image_rows[qrels.grades > 0]).tolist()
    return [qrels.image_ids[row] for row in relevant if qrels.image_ids[row] not in there]


def _unreadable(name: str, images: Embeddings) -> Notice:
    reasons = [f"{image}: {reason}" for image, reason in images.quarantine]
    return Notice.of("unreadable images", reasons, f"without a vector in {name}, so never found")


def models(encoders: Encoder | str | Sequence[Encoder | str]) -> list[Encoder]:
    """The encoders, each once: points are named by them."""
    with stopwatch.stage("load encoders"):
        asked = [encoders] if isinstance(encoders, str | Encoder) else encoders
        found = [Encoder.load(each) for each in asked]
    names = [model.name for model in found]
    if not found:
        raise InputError("No encoder came.", "A benchmark needs at least one.", "Pass 'scenes', for example.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"The encoder {twice[0]!r} came twice.", "Points are named by it.", "Name each encoder once."
        )
    return found


def embedded(
    corpus: Corpus,
    model: Encoder,
    cache: str | Path | None,
    *,
    progress: bool,
    whole: bool = False,
    beside: Evaluator | None = None,
) -> Space:
    """The space of an encoder, kept in `cache`; `whole` keeps its float32 vectors beside the stored ones.

    With the judgements `beside` it says what the precision of the encoder changed, unless that is fp32.
    """
    found = embed(corpus, model, cache=cache, progress=progress, dtype="float32" if whole else "float16")
    images, queries = found
    about = {
        "name": model.name,
        "dim": model.dim,
        "precision": str(model.precision),
        "images_per_second": images.rows_per_second,
        "fingerprint": model.fingerprint,
        "unreadable_images": len(images.quarantine),
        "cached": images.cached,
    }
    notices = (_unreadable(model.name, images),)
    if whole:
        images, queries = images.astype("float16"), queries.astype("float16")
    if beside is not None:
        effect = parity.effect(corpus, model, images, queries, beside, cache=cache, progress=progress)
        about |= {"precision_effect": effect} if effect else {}
    return Space(about, images, queries, notices, found if whole else None)
