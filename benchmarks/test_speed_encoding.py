"""Pictures and captions to vectors, and how little a second time costs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture
from speed_inputs import Sides, timed

from imgbench.corpus import Corpus
from imgbench.embeddings import embed
from imgbench.encoders.base import Encoder

PICTURES, BATCH = 512, 32  # the batch of open_clip's examples


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load("scenes", device="cpu")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.load(f"scenes:{PICTURES}")


@pytest.fixture(scope="module")
def jpegs(corpus: Corpus) -> list[bytes]:
    """The drawn pictures as JPEG files in memory: decoding is part of the work, the disk is not."""
    return [_jpeg(picture) for picture in corpus.images]


def _jpeg(picture: Image.Image) -> bytes:
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=90)
    return held.getvalue()


@torch.no_grad()
def plain_images(jpegs: list[bytes], model: torch.nn.Module, preprocess: Callable) -> np.ndarray:
    """The loop of open_clip's README, in batches."""
    found = []
    for start in range(0, len(jpegs), BATCH):
        pictures = [preprocess(Image.open(io.BytesIO(data))) for data in jpegs[start : start + BATCH]]
        features = model.encode_image(torch.stack(pictures))
        found.append((features / features.norm(dim=-1, keepdim=True)).numpy())
    return np.concatenate(found)


@torch.no_grad()
def plain_texts(texts: tuple[str, ...], model: torch.nn.Module, tokenizer: Callable) -> np.ndarray:
    found = []
    for start in range(0, len(texts), BATCH):
        features = model.encode_text(tokenizer(texts[start : start + BATCH]))
        found.append((features / features.norm(dim=-1, keepdim=True)).numpy())
    return np.concatenate(found)


@pytest.fixture(scope="module")
def encoding_images(encoder: Encoder, jpegs: list[bytes]) -> Sides:
    model, preprocess = encoder._model, encoder._preprocess  # noqa: SLF001  the very same model on both sides
    assert np.abs(encoder.encode_images(jpegs) - plain_images(jpegs, model, preprocess)).max() < 1e-5
    return {
        "imgbench": lambda: encoder.encode_images(jpegs),
        "open_clip in a loop": lambda: plain_images(jpegs, model, preprocess),
    }


@pytest.mark.benchmark(group=f"encode {PICTURES} JPEG images, the encoder scenes in fp32")
@pytest.mark.parametrize("side", ["imgbench", "open_clip in a loop"])
def test_images(side: str, encoding_images: Sides, benchmark: BenchmarkFixture) -> None:
    timed(benchmark, encoding_images[side])


@pytest.fixture(scope="module")
def encoding_texts(encoder: Encoder, corpus: Corpus) -> Sides:
    texts, model, tokenizer = corpus.query_texts, encoder._model, encoder._tokenizer  # noqa: SLF001  likewise
    assert np.abs(encoder.encode_texts(texts) - plain_texts(texts, model, tokenizer)).max() < 1e-5
    return {
        "imgbench": lambda: encoder.encode_texts(texts),
        "open_clip in a loop": lambda: plain_texts(texts, model, tokenizer),
    }


@pytest.mark.benchmark(group=f"encode {2 * PICTURES} captions, the encoder scenes in fp32")
@pytest.mark.parametrize("side", ["imgbench", "open_clip in a loop"])
def test_texts(side: str, encoding_texts: Sides, benchmark: BenchmarkFixture) -> None:
    timed(benchmark, encoding_texts[side])


@pytest.fixture(scope="module")
def storing(
    encoder: Encoder, corpus: Corpus, jpegs: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> Sides:
    """The second time hashes every image and every stored file again, and encodes nothing."""

    def embedded(folder: Path) -> tuple:
        images = dict(zip(corpus.image_ids, jpegs, strict=True))
        queries = dict(zip(corpus.query_ids, corpus.query_texts, strict=True))
        # A corpus built anew has no hash yet, as at the start of a program.
        fresh = Corpus.build(name="jpegs", images=images, queries=queries, qrels=corpus.qrels)
        return embed(fresh, encoder, cache=folder)

    stored = tmp_path_factory.mktemp("stored")
    for first, second in zip(embedded(stored), embedded(stored), strict=True):
        assert first.ids == second.ids
        assert np.array_equal(first.vectors, second.vectors)
    return {
        "imgbench": lambda: embedded(stored),
        "embed() the first time": lambda: embedded(tmp_path_factory.mktemp("empty")),
    }


@pytest.mark.benchmark(group=f"embed() again, {PICTURES} images and {2 * PICTURES} captions")
@pytest.mark.parametrize("side", ["imgbench", "embed() the first time"])
def test_storing(side: str, storing: Sides, benchmark: BenchmarkFixture) -> None:
    timed(benchmark, storing[side])
