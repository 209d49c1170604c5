"""Three corpora to tune on: drawn scenes, real captions of photographs, made vectors."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import imgbench as ib

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class World:
    """Judgements, vectors, and a margin that halves of its clusters can decide."""

    name: str
    judge: ib.Evaluator
    images: ib.Embeddings
    queries: ib.Embeddings
    margin: float


def scenes() -> World:
    """20,000 scenes with 4,000 captions, two a scene, and the encoder that ships with the package."""
    corpus = ib.Corpus.load("scenes")
    images, queries = ib.embed(corpus, "scenes")
    labels = dict(zip(corpus.query_ids, corpus.clusters.tolist(), strict=True))
    return World("scenes", ib.Evaluator(corpus.qrels, ["nDCG@10"], labels), images, queries, 0.01)


def captions() -> World:
    """8,091 photographs of Flickr8k and 3,588 others, 5,000 test captions of 1,000 of them."""
    folder = (
        Path(os.environ.get("IMGBENCH_DATA", ROOT.parent / "shared" / "data")) / "vectors" / "bow-dual-256"
    )
    lines = list(map(json.loads, (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()))

    def ready(array: str) -> tuple[list[str], np.ndarray]:
        return [line["file"] for line in lines if line["array"] == array], np.load(folder / f"{array}.npy")

    photos, others, asked = ready("flickr8k_images"), ready("distractors"), ready("test_captions")
    ids = [*photos[0], *(f"distractor/{name}" for name in others[0])]
    images = ib.Embeddings(ids, np.concatenate([photos[1], others[1]]))
    names = [f"{row}" for row in range(len(asked[0]))]
    qrels = {name: {photo: 1} for name, photo in zip(names, asked[0], strict=True)}
    return World("captions", ib.Evaluator(qrels, ["nDCG@10"]), images, ib.Embeddings(names, asked[1]), 0.01)


def made(size: int = 50_000, dim: int = 64, photos: int = 2_000) -> World:
    """Vectors around 500 centres on the sphere; two queries for each of 2,000 of them, at some distance."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((500, dim))
    x = centres[rng.integers(500, size=size)] + 0.7 * rng.standard_normal((size, dim))
    images = ib.Embeddings.normalised([f"i{row}" for row in range(size)], x)
    target = np.repeat(rng.choice(size, photos, replace=False), 2)
    noise = rng.standard_normal((len(target), dim)) * rng.uniform(0.8, 1.6, (len(target), 1))
    names = [f"q{row}" for row in range(len(target))]
    queries = ib.Embeddings.normalised(names, x[target] + noise)
    qrels = {name: {f"i{row}": 1} for name, row in zip(names, target.tolist(), strict=True)}
    return World("made", ib.Evaluator(qrels, ["nDCG@10"]), images, queries, 0.01)


WORLDS: dict[str, Callable[[], World]] = {"scenes": scenes, "captions": captions, "made": made}
