"""clip-benchmark's retrieval evaluation: peer_clip_benchmark.py FOLDER fp32|bf16|vectors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from peer_said import say, seconds, since_start, threads

BATCH, WORKERS, K = 64, 4, 5  # the defaults of its command line
SEED, MODEL = 0, "ViT-B-32"  # the weights that imgbench calls random


def photographs(folder: Path) -> tuple[Any, Any, Any]:
    """A model, a loader of photographs with their captions, a tokenizer."""
    import open_clip
    import torch
    from clip_benchmark.datasets.builder import image_captions_collate_fn
    from clip_benchmark.datasets.flickr import Flickr

    torch.manual_seed(SEED)
    model, _, transform = open_clip.create_model_and_transforms(MODEL)
    pictures = Flickr(root=str(folder / "images"), ann_file=str(folder / "captions.csv"), transform=transform)
    loader = torch.utils.data.DataLoader(
        pictures, batch_size=BATCH, shuffle=False, num_workers=WORKERS, collate_fn=image_captions_collate_fn
    )
    return model.eval(), loader, open_clip.get_tokenizer(MODEL)


class Stored:
    """A model that looks vectors up: its images are vectors already, its tokens row numbers."""

    def __init__(self, folder: Path) -> None:
        import torch

        self.images = torch.from_numpy(np.load(folder / "images.npy"))
        self.texts = torch.from_numpy(np.load(folder / "texts.npy"))

    def encode_image(self, rows: Any) -> Any:
        return rows

    def encode_text(self, rows: Any) -> Any:
        return self.texts[rows]

    def __iter__(self) -> Iterator[tuple[Any, list[list[int]]]]:
        """Batches of images with the rows of their captions."""
        each = len(self.texts) // len(self.images)
        for start in range(0, len(self.images), BATCH):
            batch = self.images[start : start + BATCH]
            yield (
                batch,
                [list(range(each * row, each * (row + 1))) for row in range(start, start + len(batch))],
            )


def main(folder: Path, what: str) -> None:
    import torch
    from clip_benchmark.metrics.zeroshot_retrieval import evaluate

    torch.set_num_threads(threads())
    if what == "vectors":
        model = loader = Stored(folder)
        tokenizer = torch.tensor
    else:
        model, loader, tokenizer = photographs(folder)
    found: dict[str, float] = {}

    def score() -> None:
        found.update(evaluate(model, loader, tokenizer, "cpu", amp=what == "bf16", recall_k_list=[K]))

    figures = {what: seconds(score), f"{what}, whole": since_start()}
    answers = {
        f"images@{K}": found[f"image_retrieval_recall@{K}"],
        f"texts@{K}": found[f"text_retrieval_recall@{K}"],
    }
    say(figures, answers, ("clip-benchmark", "open_clip_torch", "torch"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
