"""Success@5 of captions and of photographs by imgbench: ours_retrieval.py FOLDER fp32|bf16|vectors."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
from peer_said import say, seconds, since_start

K = 5


def main(folder: Path, what: str) -> None:
    import imgbench as ib
    import imgbench.embeddings
    import imgbench.evaluator
    import imgbench.index  # torch and faiss are loaded before the clock starts, as on the other side
    from imgbench.qrels import Qrels

    found: dict[str, float] = {}

    def score(images: ib.Embeddings, texts: ib.Embeddings, qrels: Qrels) -> None:
        """Both directions, as clip-benchmark computes them."""
        run = ib.Index.build("Flat", images).search(texts, k=K)
        found[f"images@{K}"] = ib.Evaluator(qrels, [f"Success@{K}"]).score(run)[f"Success@{K}"]
        back: dict[str, dict[str, int]] = {}
        for text, relevant in qrels.to_dict().items():
            for image in relevant:
                back.setdefault(image, {})[text] = 1
        run = ib.Index.build("Flat", texts).search(images, k=K)
        found[f"texts@{K}"] = ib.Evaluator(back, [f"Success@{K}"]).score(run)[f"Success@{K}"]

    def stored() -> None:
        images, texts = (np.load(folder / f"{name}.npy") for name in ("images", "texts"))
        each = len(texts) // len(images)
        judged = {f"t{row}": {f"i{row // each}": 1} for row in range(len(texts))}
        score(
            ib.Embeddings([f"i{row}" for row in range(len(images))], images),
            ib.Embeddings(list(judged), texts),
            Qrels.from_dict(judged),
        )

    def photographs() -> None:
        corpus = ib.Corpus.load(folder)
        score(*ib.embed(corpus, encoder, cache=None), corpus.qrels)

    if what != "vectors":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that random weights are for speed only
            encoder = ib.Encoder.load("open_clip:ViT-B-32/random", device="cpu", precision=what)
    figures = {what: seconds(stored if what == "vectors" else photographs), f"{what}, whole": since_start()}
    say(figures, found, ("imgbench", "faiss-gpu", "faiss-cpu", "open_clip_torch", "torch"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
