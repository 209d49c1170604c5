"""An encoder of one's own in a benchmark: images through an ONNX graph, texts as bags of words.

    python examples/own_encoder.py MODELS CORPUS

MODELS holds mobilenetv2_imagenet_features.onnx and flickr8k_bow_dual.npz, CORPUS the captions.jsonl and the
images of Flickr8k. It needs `pip install onnxruntime`. The model learnt from the photographs of the split
"train": only "test" is fair.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

import imgbench as ib


class BagOfWords(ib.Encoder):
    """MobileNetV2 features and the sum of word vectors, brought into one space by a linear map."""

    name = "mobilenet-bow"
    dim = 256

    def __init__(self, models: Path) -> None:
        graph, weights = models / "mobilenetv2_imagenet_features.onnx", models / "flickr8k_bow_dual.npz"
        self._graph = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        with np.load(weights, allow_pickle=False) as arrays:
            self._weights = SimpleNamespace(**arrays)
        self._rows = {word: row for row, word in enumerate(self._weights.vocab.tolist())}
        self._hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (graph, weights)]

    def identity(self) -> dict[str, object]:
        """What embeddings are kept under: other weights must not find the vectors of these."""
        return {**super().identity(), "weights": self._hashes}

    def _prepare(self, image: Image.Image) -> np.ndarray:
        image = ImageOps.cover(image, (224, 224), Image.Resampling.BILINEAR)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        return np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 127.5 - 1

    def _images(self, images: list[np.ndarray]) -> np.ndarray:
        _, features = self._graph.run(None, {self._graph.get_inputs()[0].name: np.stack(images)})
        w = self._weights
        return (features - w.feature_mean) / w.feature_std @ w.image_weight.T + w.image_bias

    def _texts(self, texts: list[str]) -> list[np.ndarray]:
        words = [re.findall(r"[a-z0-9']+", text.lower()) for text in texts]
        rows = [[self._rows.get(word, 0) for word in found] for found in words]  # row 0: any other word
        w = self._weights
        return [w.text_embedding[row].sum(axis=0, dtype=np.float32) + w.text_bias for row in rows]


def main() -> None:
    """The table of Flickr8k's test split, on standard output."""
    models, flickr8k = map(Path, sys.argv[1:])
    corpus = ib.Corpus.load(flickr8k, split="test")
    measures = ["Success@1", "Success@5", "Success@10", "nDCG@10"]
    print(ib.benchmark(corpus, BagOfWords(models), measures=measures, progress=True))


if __name__ == "__main__":
    main()
