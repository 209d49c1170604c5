"""What an encoder's precision changed: a sample of the corpus encoded again in fp32, and compared.

- `cosine`: of 64 images and 64 queries, each with its vector in fp32.
- `quality`: at most 200 judged queries of different clusters, ranked again by vectors in fp32: the change of
  the first measure, and how many lists of its length came out otherwise.

Both draws are random but always the same. The vectors in fp32 are stored as the others are (float16), so that
precision is all that differs. At most 1,000 images are encoded again, and at most a fifth of the corpus, or
400 of a small one: from a corpus of 5,000 on they are enough for some 60 queries.

A query is ranked again among its first images only: five more than the measure looks at (15 for nDCG@10), and
up to five relevant ones from further down. The others stay out as long as precision moves scores by less than
what separates them from the last place that counts, which is checked. With s the score as stored, f that in
fp32 and r = f - s, the best of the others has at most

    s(first one left out) + mean of the query's r + the largest r - mean of any sampled query,

and if that is less than the f at the last place that counts, no image that moves as the sampled ones do can
come in. (The mean is apart because a query whose own vector moved moves all its scores.) Where it is more,
the query is given twice as many images, up to 16 times, and counts as `open` if that does not settle it.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from imgbench import stopwatch
from imgbench.complete import digest, replacing
from imgbench.corpus import Corpus
from imgbench.embeddings import Embeddings
from imgbench.encoders.base import Encoder
from imgbench.errors import InputError
from imgbench.evaluator import Evaluator
from imgbench.parity import ranked
from imgbench.parity.ranked import Both, Ranked
from imgbench.types import Precision

FOLDER = "parity"
"""Where the figures lie below a cache."""
_AGAINST = Precision.FP32

_COSINES = 64
_QUERIES = 200
_SEED = 0
_CODE = (__file__, str(ranked.__file__))


def effect(
    corpus: Corpus,
    encoder: Encoder,
    images: Embeddings,
    queries: Embeddings,
    judge: Evaluator,
    *,
    cache: str | Path | None = None,
    progress: bool = False,
) -> dict[str, Any] | None:
    """`encoders[].precision_effect` of results.json: None for an encoder that computes in fp32.

    `images` and `queries` are what the encoder made of the corpus. The figures are kept in the folder
    `cache`, so that the same question is answered without the encoder. Where it cannot be loaded in fp32 the
    answer is {"against": "fp32", "not_measured": the reason}, which is not kept.

    >>> from imgbench import embed
    >>> corpus, encoder = Corpus.load("scenes:50?queries=20"), Encoder.load("scenes?precision=bf16")
    >>> found = effect(corpus, encoder, *embed(corpus, encoder, cache=None), Evaluator(corpus.qrels))
    >>> found["cosine"]["images"]["count"], found["cosine"]["images"]["least"] > 0.99
    (50, True)
    >>> found["quality"]["measure"], found["quality"]["queries"]
    ('nDCG@10', 10)
    """
    if encoder.precision == _AGAINST:
        return None
    path = None if cache is None else _path(cache, corpus, encoder, images, judge)
    if path is not None and (kept := _read(path)) is not None:
        return kept
    try:
        with stopwatch.stage(f"encode a sample in {_AGAINST}", unit="images") as stage:
            found = _measured(corpus, encoder, images, queries, judge, progress=progress)
            stage.items += found["quality"]["images"]
    except (InputError, OSError, RuntimeError) as error:  # such as a GPU that has no room for fp32
        return {"against": str(_AGAINST), "not_measured": _reason(error)}
    finally:
        _freed(encoder.device)
    if path is not None:
        _keep(path, found)
    return found


def cosines(
    first: Float64[np.ndarray, "row dim"], second: Float64[np.ndarray, "row dim"]
) -> Float64[np.ndarray, "row"]:
    """Of each row with its like: 1 - |u - v|² / 2 of their unit vectors, which loses no digits near 1.

    >>> cosines(np.float64([[3, 0], [1, 1]]), np.float64([[5, 0], [1, 0]])).round(6).tolist()
    [1.0, 0.707107]
    """
    u, v = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second))
    return 1 - ((u - v) ** 2).sum(axis=1) / 2


def _measured(
    corpus: Corpus,
    encoder: Encoder,
    images: Embeddings,
    queries: Embeddings,
    judge: Evaluator,
    *,
    progress: bool,
) -> dict[str, Any]:
    with warnings.catch_warnings(action="ignore"):  # they were given when the encoder was loaded first
        twin = encoder.in_precision(_AGAINST)
    place = {name: row for row, name in enumerate(corpus.image_ids)}

    def of_images(rows: list[int]) -> Float32[np.ndarray, "row dim"]:
        wanted = corpus.images.part([place[images.ids[row]] for row in rows])
        return twin.encode_images(wanted, progress=progress)

    def of_queries(rows: list[int]) -> Float32[np.ndarray, "row dim"]:
        return twin.encode_texts([corpus.query_texts[row] for row in rows], progress=progress)

    dice = np.random.default_rng(_SEED)
    both = Both(images, of_images), Both(queries, of_queries)
    drawn = [_drawn(dice, len(side.stored)) for side in both]
    asked = Ranked(*both, judge)
    asked.ask(_clusters_apart(dice, judge), around=drawn[0].tolist())
    named = zip(("images", "queries"), both, drawn, strict=True)
    return {
        "against": str(_AGAINST),
        "cosine": {name: _cosine(side, rows) for name, side, rows in named},
        "quality": asked.quality() | {"images": len(both[0].again)},
    }


def _drawn(dice: np.random.Generator, rows: int) -> Int64[np.ndarray, "row"]:
    return np.sort(dice.choice(rows, size=min(_COSINES, rows), replace=False))


def _clusters_apart(dice: np.random.Generator, judge: Evaluator) -> list[str]:
    """Judged queries in random order, one a cluster: of those they say most."""
    order = dice.permutation(len(judge.query_ids))
    _, first = np.unique(judge.clusters[order], return_index=True)
    return [judge.query_ids[row] for row in order[np.sort(first)][:_QUERIES].tolist()]


def _cosine(side: Both, rows: Int64[np.ndarray, "row"]) -> dict[str, Any]:
    found = cosines(*side.rows(rows))
    return {"count": len(rows), "mean": float(found.mean()), "least": float(found.min())}


def _reason(error: Exception) -> str:
    if isinstance(error, InputError):
        return error.came
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _freed(device: str) -> None:
    """What the second network held is free again."""
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()


def _path(cache: str | Path, corpus: Corpus, encoder: Encoder, images: Embeddings, judge: Evaluator) -> Path:
    decides = [corpus.fingerprint, encoder.fingerprint, str(images.vectors.dtype), judge.names[0]]
    decides += [str(digest(Path(file))) for file in _CODE]  # another version may draw or rank otherwise
    name = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
    return Path(cache).expanduser() / FOLDER / f"{name}.json"


def _read(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and {"cosine", "quality"} <= found.keys():
            return found
    return None


def _keep(path: Path, found: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # it saves time and nothing else
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(json.dumps(found), encoding="utf-8")
