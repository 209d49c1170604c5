"""Photographs to vectors by ViT-B-32, beside the loops that people write and the networks alone.

The loops run in fp32, as open_clip's README has them. In fp32 imgbench gives their vectors; bf16 is faster,
and what it changes is a matter of the weights.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture
from speed_inputs import Sides, long, timed

from imgbench.corpus import Corpus
from imgbench.encoders.base import Encoder
from imgbench.encoders.open_clip import SEED

MODEL, PHOTOS, BATCH, WORKERS = "ViT-B-32", 128, 32, 2
DATA = Path(os.environ.get("IMGBENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
FLICKR = DATA / "flickr8k-160" / "images"
SOURCE = "photos" if FLICKR.is_dir() else "drawn scenes"
WANTED = {
    "imgbench": None,
    "open_clip in a loop, fp32": 3.5,
    "a DataLoader of 2 workers, fp32": 3.5,
    "open_clip's network alone, tensors in memory": 0.93,
    "imgbench's network alone": None,
}
COSINES = {"fp32": 0.999999, "bf16": 0.999}


class Photos(torch.utils.data.Dataset):
    """What a DataLoader asks for: one prepared image."""

    def __init__(self, files: list[Path], preprocess: Callable) -> None:
        self.files, self.preprocess = files, preprocess

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.preprocess(Image.open(self.files[row]))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """JPEG files of 160 x 160 pixels."""
    if FLICKR.is_dir():
        return sorted(FLICKR.glob("*.jpg"))[:PHOTOS]
    folder = tmp_path_factory.mktemp("drawn")
    found = [folder / f"{row}.jpg" for row in range(PHOTOS)]
    for picture, path in zip(Corpus.load(f"scenes:{PHOTOS}").images, found, strict=True):
        picture.resize((160, 160)).save(path, "JPEG", quality=90)
    return found


@pytest.fixture(scope="module")
def plain() -> tuple[Any, Callable]:
    """The network as open_clip makes it, and its preprocessing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network: Any = open_clip.create_model(MODEL).eval()
    return network, image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)


@torch.no_grad()
def loop(batches: Any, model: torch.nn.Module) -> np.ndarray:
    """The loop of open_clip's README, in batches."""
    found = []
    for batch in batches:
        features = model.encode_image(batch).float()
        found.append((features / features.norm(dim=-1, keepdim=True)).numpy())
    return np.concatenate(found)


def in_turn(photos: Photos) -> Any:
    """Batches made by the loop itself, one image after the other."""
    for start in range(0, len(photos), BATCH):
        yield torch.stack([photos[row] for row in range(start, min(start + BATCH, len(photos)))])


def alone(encoder: Encoder, files: list[Path]) -> Callable[[], object]:
    """The forward passes of imgbench on images made ready before: nothing is faster with this network."""
    prepare, encode, size = encoder._prepare, encoder._images, encoder.batch_size  # noqa: SLF001  its parts
    ready = [prepare(Image.open(path).convert("RGB")) for path in files]
    return lambda: [encode(ready[start : start + size]) for start in range(0, len(ready), size)]


@pytest.fixture(scope="module", params=sorted(COSINES))
def encoding(
    request: pytest.FixtureRequest, files: list[Path], plain: tuple[Any, Callable]
) -> tuple[str, Sides]:
    precision, photos = request.param, Photos(files, plain[1])
    # Processes that start anew and stay: a fork would take FAISS's threads along, and starting is not timed.
    workers = torch.utils.data.DataLoader(
        photos, BATCH, num_workers=WORKERS, multiprocessing_context="spawn", persistent_workers=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that are random
        encoder = Encoder.load(f"open_clip:{MODEL}/random", device="cpu", precision=precision)
    by_loop = partial(loop, model=plain[0])
    few = Photos(files[:16], plain[1])
    assert (encoder.encode_images(few.files) * by_loop(in_turn(few))).sum(axis=1).min() > COSINES[precision]
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    ready = [batch.to(kind) for batch in in_turn(photos)]
    network = plain[0] if precision == "fp32" else open_clip.create_model(MODEL).eval().to(kind)
    calls = (
        partial(encoder.encode_images, files),
        lambda: by_loop(in_turn(photos)),
        lambda: by_loop(workers),
        partial(loop, ready, network),
        alone(encoder, files),
    )
    return precision, dict(zip(WANTED, calls, strict=True))


@long
@pytest.mark.parametrize("side", WANTED)
def test_photos(side: str, encoding: tuple[str, Sides], benchmark: BenchmarkFixture) -> None:
    precision, sides = encoding
    benchmark.group = f"encode {PHOTOS} {SOURCE} (JPEG, 160 px), {MODEL} in {precision}"
    # In fp32 a loop is as exact as imgbench, and 3.5 times is not to be had.
    wanted = None if precision == "fp32" and side.endswith("fp32") else WANTED[side]
    timed(benchmark, sides[side], items=PHOTOS, unit="images", wanted=wanted)
