"""Queries to vectors by ViT-B-32, beside the plain loop of open_clip and imgbench's network alone.

IMGBENCH_QUERIES=10725 times all queries once instead of a sample of 256: minutes for the plain loop.
"""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from speed_inputs import Sides, long, timed

from imgbench.corpus import Corpus
from imgbench.encoders.base import Encoder
from imgbench.encoders.open_clip import SEED, OpenClipEncoder
from imgbench.encoders.texts import cut

MODEL, SAMPLE, BATCH = "ViT-B-32", 256, 32  # the plain loop is no faster in batches of 128
COUNT = int(os.environ.get("IMGBENCH_QUERIES", SAMPLE))
DATA = Path(os.environ.get("IMGBENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
QUERIES = DATA / "vehicle-search" / "queries.csv"
SOURCE = "captions of photos" if QUERIES.is_file() else "captions of scenes"
ROUNDING = {"fp32": 1e-5, "bf16": 0.03}  # of values of unit vectors, computed in another order


def queries() -> list[str]:
    """A seeded sample of a study's captions of photos, or of the scenes' where those are not at hand."""
    if QUERIES.is_file():
        with QUERIES.open(encoding="utf-8", newline="") as file:
            texts = [row["query_text"] for row in csv.DictReader(file)]
    else:
        texts = list(Corpus.load("scenes:6000").query_texts)
    kept = np.random.default_rng(0).permutation(len(texts))[:COUNT]
    return [texts[row] for row in sorted(kept)]


@torch.no_grad()
def plain(texts: list[str], model: torch.nn.Module, tokenizer: Callable) -> np.ndarray:
    """The loop of open_clip's README, in batches."""
    found = []
    for start in range(0, len(texts), BATCH):
        features = model.encode_text(tokenizer(texts[start : start + BATCH])).float()
        found.append((features / features.norm(dim=-1, keepdim=True)).numpy())
    return np.concatenate(found)


def alone(encoder: OpenClipEncoder, texts: list[str]) -> Callable[[], object]:
    """The forward passes of imgbench without tokens, plan and order: nothing is faster with this network."""
    tokens, encode = encoder._tokens(texts), encoder._shortcut.rows  # noqa: SLF001  the parts of encode_texts
    ready = [cut(tokens, batch.rows, batch.width) for batch in encoder._planned(tokens)]  # noqa: SLF001
    return lambda: [encode(each) for each in ready]


@pytest.fixture(scope="module", params=sorted(ROUNDING))
def encoding(request: pytest.FixtureRequest) -> tuple[str, Sides]:
    precision, texts = request.param, queries()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # of weights that are random
        encoder = Encoder.load(f"open_clip:{MODEL}/random", device="cpu", precision=precision)
        torch.manual_seed(SEED)
        model = open_clip.create_model(MODEL).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    loop = partial(plain, model=model.eval(), tokenizer=open_clip.get_tokenizer(MODEL))
    few = texts[:64]
    assert np.abs(encoder.encode_texts(few) - loop(few)).max() < ROUNDING[precision]
    return precision, {
        "imgbench": partial(encoder.encode_texts, texts),
        "open_clip in a loop": partial(loop, texts),
        "imgbench's network alone": alone(encoder, texts),
    }


@long
@pytest.mark.benchmark(group=f"encode {COUNT} {SOURCE}, {MODEL}")
@pytest.mark.parametrize("side", ["imgbench", "open_clip in a loop", "imgbench's network alone"])
def test_texts(side: str, encoding: tuple[str, Sides], benchmark: BenchmarkFixture) -> None:
    precision, sides = encoding
    benchmark.group += f" in {precision}"
    wanted = 4 if side == "open_clip in a loop" else None
    if COUNT <= SAMPLE:
        timed(benchmark, sides[side], items=COUNT, unit="texts", wanted=wanted)
        return
    benchmark.extra_info.update({"items": COUNT, "unit": "texts"})
    benchmark.pedantic(sides[side], rounds=1)  # minutes long: one is enough, after the few that warmed it
