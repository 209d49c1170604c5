"""Measures the scenes encoder that stands in imgbench/encoders and writes its figures into scenes.json.

    python benchmarks/scenes_encoder/measure.py

Run it after train.py: tests/test_scenes.py checks that the shipped weights reach these figures.
"""

from __future__ import annotations

import json
from pathlib import Path

import imgbench as ib
from imgbench.encoders import scenes

CORPORA = ("scenes:2000?seed=1&queries=500", "scenes:20000")
MEASURES = ("nDCG@10", "AP@10", "R@10", "P@10")


def measure(spec: str, encoder: ib.Encoder) -> dict[str, float]:
    """Exact search over a corpus, to four digits."""
    corpus = ib.Corpus.load(spec)
    images, queries = ib.embed(corpus, encoder, progress=True)
    run = ib.Index.build("Flat", images).search(queries, k=10)
    return {name: round(value, 4) for name, value in ib.Evaluator(corpus.qrels, MEASURES).score(run).items()}


def main() -> None:
    encoder = ib.Encoder.load("scenes", device="cpu", precision="fp32")
    about = scenes.about() | {"figures": {spec: measure(spec, encoder) for spec in CORPORA}}
    path = Path(scenes.__file__).with_name("scenes.json")
    path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(about["figures"], indent=1))


if __name__ == "__main__":
    main()
