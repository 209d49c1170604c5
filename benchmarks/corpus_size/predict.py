"""How well larger corpora are predicted, and how many random images are as hard as vehicles.

    python benchmarks/corpus_size/predict.py --data ../shared/data

writes three tables beside this file. `table.csv`: each corpus is predicted from random halves, quarters and
eighths of its pool by every model, and the means are compared with what they are. `check.csv`: sub-corpora
are searched and extrapolated as a user would, and the error that they state is compared with the true one.
`effective.csv`: captions of vehicles in the Flickr8k test gallery with vehicles among them, against the same
with other images.
The vectors of `scenes` come from the cache, or are made in some minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from scipy.special import stdtrit

import imgbench as ib
from imgbench.distractors import Curve, curve_of, effective_size, expected, extrapolation, tail
from imgbench.ranks import Ranks, relevant_ranks

World: TypeAlias = "tuple[ib.Embeddings, ib.Embeddings, dict[str, dict[str, int]]]"

HERE = Path(__file__).resolve().parent
MEASURES = ("Success@1", "nDCG@10", "R@10", "RR", "AP")
VEHICLE = re.compile(
    r"\b(airplane|atv|bicyclist|bus|canoe|carriage|helicopter|jeep|kayak|motorbike|motorcyclist|plane|raft|scooter"
    r"|ship|snowmobile|suv|tractor|tram|van|wagon|(bicycle|bike|boat|car|motorcycle|train|truck|vehicle)s?)\b",
    re.IGNORECASE,
)


def main() -> None:
    options = _options()
    photographs = Photographs(options.data)
    rows = []
    for name, ranks in _corpora(photographs, options.scenes):
        start = time.perf_counter()
        rows += errors(name, ranks, options)
        print(f"{name}: {ranks}, errors in {time.perf_counter() - start:.1f} s", flush=True)
    _write(HERE / "table.csv", rows)
    _write(HERE / "effective.csv", vehicles(photographs))
    made = _generated(100_000, 1000)
    _write(
        HERE / "check.csv",
        [
            *stated("flickr8k", photographs.everything(), photographs.test, options),
            *stated("generated", made, np.arange(len(made[0])) < 1000, options),
        ],
    )


def errors(name: str, ranks: Ranks, options: argparse.Namespace) -> list[dict[str, object]]:
    """A row a model, factor and measure."""
    measures = expected.parse(MEASURES)
    truth = expected.closed(ranks, measures, [ranks.images])[:, 0].mean(axis=1)
    rows: list[dict[str, object]] = []
    for model in tail.MODELS:
        found = extrapolation.measured_error(
            ranks, measures, model=model, draws=options.draws, seed=options.seed
        )
        rows += [
            {
                "corpus": name, "images": ranks.images, "queries": len(ranks.qrels.query_ids), "model": model,
                "factor": factor, "measure": str(measure), "true": f"{truth[m]:.4f}",
                "bias": f"{found.bias[m, f]:+.4f}", "typical": f"{found.typical[m, f]:.4f}",
                "draws": options.draws,
            }
            for f, factor in enumerate(found.factors) for m, measure in enumerate(measures)
        ]  # fmt: skip
    return rows


def stated(
    name: str, world: World, fixed: np.ndarray, options: argparse.Namespace
) -> list[dict[str, object]]:
    """A row a factor and measure: true and stated typical error, and how often limits from it held."""
    images, queries, qrels = world
    size = len(images)
    truth = curve_of(relevant_ranks(images, queries, qrels, pool=~fixed), MEASURES, [size]).mean[:, 0]
    rows: list[dict[str, object]] = []
    for factor in (2, 4):
        wrong, said, held = [], [], []
        for draw in range(options.draws):
            rng = np.random.default_rng([options.seed, factor, draw])
            drawn = rng.choice(np.flatnonzero(~fixed), int((~fixed).sum()) // factor, replace=False)
            kept = np.sort(np.concatenate([np.flatnonzero(fixed), drawn]))
            ranks = relevant_ranks(images.select(kept), queries, qrels, pool=~fixed[kept])
            found = curve_of(ranks, MEASURES, [len(kept)], seed=draw).extrapolate(sizes=[size])
            wrong.append(found.mean[:, -1] - truth)
            said.append(found.error.at(np.array([float(factor)]))[:, 0])
            held.append(np.abs(wrong[-1]) <= stdtrit(found.error.draws, 0.975) * said[-1])
        rows += [
            {
                "corpus": name, "from": len(kept), "to": size, "measure": measure, "true": f"{truth[m]:.4f}",
                "typical error": f"{np.sqrt(np.square(wrong).mean(axis=0))[m]:.4f}",
                "stated": f"{np.mean(said, axis=0)[m]:.4f}", "held": f"{np.mean(held, axis=0)[m]:.2f}",
                "draws": options.draws,
            }
            for m, measure in enumerate(MEASURES)
        ]  # fmt: skip
    return rows


def _corpora(photographs: Photographs, scenes: int) -> Iterator[tuple[str, Ranks]]:
    yield "flickr8k", relevant_ranks(*photographs.everything())
    captions = photographs.captions
    some = np.random.default_rng(0).choice(len(captions) // 5, 72, replace=False)
    few = [5 * photo + caption for photo in some for caption in range(5)]
    images, queries, qrels = photographs.everything()
    chosen = {queries.ids[row]: qrels[queries.ids[row]] for row in few}
    yield "flickr8k, 360 captions", relevant_ranks(images, queries, chosen)
    corpus = ib.Corpus.load(f"scenes:{scenes}")
    yield f"scenes:{scenes}", relevant_ranks(*ib.embed(corpus, "scenes"), corpus.qrels)
    yield "generated", relevant_ranks(*_generated(100_000, 1000))


def _generated(size: int, photos: int) -> World:
    """500 clusters in 64 dimensions; three queries a photo, which are its vector with more or less noise."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((500, 64))
    rows = centres[rng.integers(500, size=size)] + 0.8 * rng.standard_normal((size, 64))
    images = ib.Embeddings.normalised([f"i{row}" for row in range(size)], rows.astype(np.float32))
    noise = rng.uniform(1, 3, (3 * photos, 1)) * rng.standard_normal((3 * photos, 64)) / 8
    asked = np.repeat(images.vectors[:photos], 3, axis=0) + noise
    queries = ib.Embeddings.normalised([f"q{row}" for row in range(3 * photos)], asked.astype(np.float32))
    return images, queries, {f"q{row}": {f"i{row // 3}": 1} for row in range(3 * photos)}


class Photographs:
    """The ready vectors of a small real dual encoder, and which pictures and captions show vehicles."""

    def __init__(self, data: Path) -> None:
        folder = data / "vectors" / "bow-dual-256"
        lines = [
            json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        of = {
            array: [line for line in lines if line["array"] == array]
            for array in ("flickr8k_images", "distractors", "test_captions")
        }
        gallery = of["flickr8k_images"] + of["distractors"]
        vectors = [np.load(folder / f"{array}.npy") for array in ("flickr8k_images", "distractors")]
        self.images = ib.Embeddings([line["file"] for line in gallery], np.concatenate(vectors))
        self.test = np.array([line.get("split") == "test" for line in gallery])
        self.flickr = np.arange(len(gallery)) < len(vectors[0])
        self.captions = of["test_captions"]
        self.queries = ib.Embeddings(
            [str(row) for row in range(len(self.captions))], np.load(folder / "test_captions.npy")
        )
        listed = (data / "flickr8k-160" / "vehicle_images.txt").read_text(encoding="utf-8").split()
        shown = {f"flickr8k-160/{file}" for file in listed}
        for path in (data / "distractors-160").glob("*.labels.jsonl"):
            labels = map(json.loads, path.read_text(encoding="utf-8").splitlines())
            shown |= {f"distractors-160/{label['file']}" for label in labels if label["vehicle"]}
        self.vehicle = np.array([name in shown for name in self.images.ids])
        self.asked = {
            str(row): {line["file"]: 1}
            for row, line in enumerate(self.captions)
            if line["file"] in shown and VEHICLE.search(line["caption"])
        }

    def everything(self) -> World:
        """All images, all test captions, and their photographs."""
        judged = {str(row): {line["file"]: 1} for row, line in enumerate(self.captions)}
        return self.images, self.queries, judged

    def ranks(self, others: np.ndarray) -> Ranks:
        """Vehicle captions in the test gallery, which stays, and with these others."""
        chosen = np.flatnonzero(self.test | others)
        return relevant_ranks(self.images.select(chosen), self.queries, self.asked, pool=~self.test[chosen])


def vehicles(photographs: Photographs) -> list[dict[str, object]]:
    """Effective sizes: a row a pool of other images and measure."""
    p = photographs
    hard = p.ranks(p.vehicle & ~p.flickr)
    pools = {
        "ImageNet and Caltech-101 without vehicles": ~p.flickr & ~p.vehicle,
        "Flickr8k train and dev without vehicles": p.flickr & ~p.test & ~p.vehicle,
        "Flickr8k train and dev": p.flickr & ~p.test,
    }
    rows: list[dict[str, object]] = []
    for name, others in pools.items():
        curve: Curve = curve_of(p.ranks(others), ("Success@10", "nDCG@10", "RR")).extrapolate((2, 4, 8))
        as_many = hard.images
        for measure in curve.measures:
            found = effective_size(curve, hard, measure)
            rows.append(
                {
                    "random images": name, "pool": curve.pool_size, "measure": measure,
                    "test gallery": f"{curve.at(curve.smallest, measure).mean:.3f}",
                    "with 1,324 vehicles": f"{found.score:.3f}",
                    "with 1,324 random": f"{curve.at(as_many, measure).mean:.3f}",
                    "effective distractors": found.distractors or f"more than {found.low - found.fixed}",
                    "low": found.low - found.fixed,
                    "high": "" if found.high is None else found.high - found.fixed,
                    "reach": str(found.reach),
                }
            )  # fmt: skip
    return rows


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of photographs and vectors")
    parser.add_argument("--scenes", type=int, default=20_000, help="images of the embedded corpus")
    parser.add_argument("--draws", type=int, default=8, help="sub-corpora a factor")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
