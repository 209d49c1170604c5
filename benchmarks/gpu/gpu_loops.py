"""The loops that people write around open_clip, on any device, and the JPEG files that all sides read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from imgbench.corpus import Corpus
from imgbench.encoders.open_clip import SEED

BATCH, SIDE = 32, 224  # the batch of open_clip's examples; pixels
DATA = Path(os.environ.get("IMGBENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
FLICKR = DATA / "flickr8k-160" / "images"
DAMAGED = "1798209205_77dbf525b0.jpg"


class Photos(torch.utils.data.Dataset):
    """What a DataLoader asks for: one prepared image."""

    def __init__(self, files: list[Path], preprocess: Callable) -> None:
        self.files, self.preprocess = files, preprocess

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.preprocess(Image.open(self.files[row]))


def jpegs(folder: Path, count: int) -> tuple[list[Path], str]:
    """`count` JPEG files of 224 x 224 pixels in `folder`, and whether they are photos or drawn scenes."""
    found = sorted(path for path in FLICKR.glob("*.jpg") if path.name != DAMAGED)[:count]
    pictures: Any = (
        map(Image.open, found) if found else Corpus.load(f"scenes:{max(10, min(count, 2000))}").images
    )
    kept = [folder / f"{row:06d}.jpg" for row in range(count)]
    written = 0
    for picture, path in zip(pictures, kept, strict=False):
        picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, "JPEG", quality=90)
        written += 1
    for row in range(written, count):  # more files than pictures: the same bytes under other names
        kept[row].write_bytes(kept[row % written].read_bytes())
    return kept, "photos" if found else "drawn scenes"


def plain(name: str, device: str) -> tuple[Any, Callable]:
    """The network of `open_clip:NAME/random` in fp32 as open_clip makes it, and its preprocessing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network: Any = open_clip.create_model(name).eval()
    preprocess = image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)
    return network.to(device), preprocess


@torch.no_grad()
def loop(batches: Iterable[torch.Tensor], model: Any, device: str) -> np.ndarray:
    """The loop of open_clip's README, in batches."""
    found = []
    for batch in batches:
        features = model.encode_image(batch.to(device))
        found.append((features / features.norm(dim=-1, keepdim=True)).cpu().numpy())
    return np.concatenate(found)


def in_turn(photos: Photos) -> Iterator[torch.Tensor]:
    """Batches made by the loop itself, one image after the other."""
    for start in range(0, len(photos), BATCH):
        yield torch.stack([photos[row] for row in range(start, min(start + BATCH, len(photos)))])


def loops(photos: Photos, model: Any, device: str, workers: int) -> dict[str, Callable[[], np.ndarray]]:
    """Both loops: alone, and with a DataLoader's processes, which start anew and stay."""
    # A fork would take the threads of FAISS and CUDA along; the start of the processes is not timed.
    options: dict[str, Any] = (
        {"multiprocessing_context": "spawn", "persistent_workers": True} if workers else {}
    )
    loader = torch.utils.data.DataLoader(photos, BATCH, num_workers=workers, **options)
    found = {"open_clip in a loop, fp32": lambda: loop(in_turn(photos), model, device)}
    if workers:
        found[f"a DataLoader of {workers} workers, fp32"] = partial(loop, loader, model, device)
    return found
