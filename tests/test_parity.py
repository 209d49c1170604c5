"""What precision changed: made encoders whose lower precision does something known, and the shipped one."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

import imgbench as ib
from imgbench import Corpus, Encoder, Evaluator, InputError, parity
from imgbench.encoders.later import Later
from imgbench.points import Protocol
from imgbench.report import precision
from imgbench.types import Precision

QUICK = Protocol(latency_calls=20, throughput_repeats=1, threads=1)
SECOND = 1 / math.log2(11)  # nDCG@10 of a single relevant image in the tenth place


class Table(Encoder):
    """Knows the vector of an image by its number, and that of every query, in fp16 and in fp32."""

    name, precision = "table", Precision.FP16

    def __init__(self, low: np.ndarray, full: np.ndarray, query: np.ndarray) -> None:
        self.low, self.full, self.query, self.dim = low, full, query, low.shape[1]
        self.seen: list[int] = []

    def in_precision(self, precision: Precision | str) -> Table:
        other = copy.copy(self)
        other.precision, other.low = Precision(precision), self.full
        return other

    def identity(self) -> dict[str, object]:
        return {"name": self.name, "low": self.low.tolist(), "full": self.full.tolist()}

    def _images(self, images: list[Image.Image]) -> np.ndarray:
        rows = [red + 256 * green for red, green, _ in (image.getpixel((0, 0)) for image in images)]
        if self.precision is Precision.FP32:
            self.seen += rows
        return self.low[rows]

    def _texts(self, texts: list[str]) -> np.ndarray:
        return np.tile(self.query, (len(texts), 1))


def numbered(images: int, relevant: list[int]) -> Corpus:
    """Images that show their number; one query for each of the relevant ones."""
    return Corpus.build(
        name="numbered",
        images={f"{row:04d}": Image.new("RGB", (1, 1), (row % 256, row // 256, 0)) for row in range(images)},
        queries={f"q{at}": f"query {at}" for at in range(len(relevant))},
        qrels={f"q{at}": {f"{row:04d}": 1} for at, row in enumerate(relevant)},
    )


def scored(scores: np.ndarray) -> np.ndarray:
    """Unit vectors with these scores for the query (1, 0)."""
    return np.stack([scores, np.sqrt(1 - scores**2)], axis=1)


def falling(images: int, step: float) -> np.ndarray:
    return 0.95 - step * np.arange(images)


def effect(corpus: Corpus, encoder: Encoder, cache: Path | None = None) -> dict:
    found = parity.effect(
        corpus, encoder, *ib.embed(corpus, encoder, cache=cache), Evaluator(corpus.qrels), cache=cache
    )
    assert found is not None
    return found


def table(low: np.ndarray, full: np.ndarray) -> Table:
    return Table(scored(low), scored(full), np.array([1.0, 0.0]))


def test_vectors_turned_by_a_known_angle_have_its_cosine() -> None:
    angles = np.where(np.arange(40) == 7, 0.5, 0.1)
    full = np.random.default_rng(0).normal(size=(40, 8))
    full /= np.linalg.norm(full, axis=1, keepdims=True)
    # The ninth value is none of theirs: to turn towards it is to turn away from everything.
    low = np.column_stack([full * np.cos(angles)[:, None], np.sin(angles)])
    encoder = Table(low, np.column_stack([full, np.zeros(40)]), np.eye(9)[0])
    found = effect(numbered(40, [0, 1]), encoder)["cosine"]
    assert found["images"]["count"] == 40
    assert found["images"]["mean"] == pytest.approx((39 * math.cos(0.1) + math.cos(0.5)) / 40, abs=1e-4)
    assert found["images"]["least"] == pytest.approx(math.cos(0.5), abs=1e-3)
    assert found["queries"] == {"count": 2, "mean": 1.0, "least": 1.0}


def test_without_noise_nothing_changes_at_all() -> None:
    scores = falling(300, 0.003)
    found = effect(numbered(300, list(range(0, 300, 20))), table(scores, scores))
    assert found["against"] == "fp32"
    for side in ("images", "queries"):
        assert (found["cosine"][side]["mean"], found["cosine"][side]["least"]) == (1.0, 1.0)
    quality = found["quality"]
    assert (quality["mean"], quality["changed"], quality["exchanged"], quality["open"]) == (0.0, 0, 0, 0)
    assert (quality["moved"], quality["queries"], quality["measure"]) == (0.0, 15, "nDCG@10")
    assert quality["low"] < 0 < quality["high"]  # fifteen queries prove no zero


def test_an_image_that_precision_pushed_out_costs_what_the_formula_says() -> None:
    full = falling(60, 0.01)
    low = full.copy()
    low[[9, 10]] = full[[10, 9]]
    found = effect(numbered(60, [9, 0, 50]), table(low, full))["quality"]
    assert found["mean"] == pytest.approx(-SECOND / 3)
    assert (found["changed"], found["exchanged"], found["queries"], found["open"]) == (3, 3, 3, 0)
    assert found["moved"] == pytest.approx(0.01, abs=2e-3)
    # The tenth of 60 scores .86, the first one that is left out, the sixteenth, .80.
    assert (found["ranked"], found["gap"]) == (15, pytest.approx(0.06, abs=2e-3))
    # The other way round precision brings the image in.
    assert effect(numbered(60, [10, 0]), table(low, full))["quality"]["mean"] == pytest.approx(SECOND / 2)


def test_another_order_of_the_same_images_is_counted_apart() -> None:
    full = falling(60, 0.01)
    low = full.copy()
    low[[3, 4]] = full[[4, 3]]
    found = effect(numbered(60, [0, 1]), table(low, full))["quality"]
    assert (found["mean"], found["changed"], found["exchanged"]) == (0.0, 2, 0)


def test_images_from_further_down_are_looked_for_as_far_as_scores_move() -> None:
    full = falling(400, 0.002)
    low = full.copy()
    low[:10], low[10:60] = full[50:60], full[:50]  # the best ten of fp32 stand in places 51 to 60
    found = effect(numbered(400, [0, 399]), table(low, full))["quality"]
    # The relevant one shows how far scores move; so the other nine are found, and it is not the only one.
    assert found["ranked"] >= 60
    assert (found["mean"], found["exchanged"]) == (pytest.approx(-0.5), 2)
    nine = effect(numbered(400, [0, 5, 399]), table(low, full))["quality"]
    assert nine["mean"] == pytest.approx(-(1 + 1 / math.log2(7)) / 3)


def test_what_the_images_cannot_settle_is_counted() -> None:
    dice = np.random.default_rng(0)
    full = falling(3000, 1e-5) - 0.2
    found = effect(numbered(3000, list(range(12))), table(full + 0.04 * dice.normal(size=3000), full))
    assert found["quality"]["open"] == found["quality"]["queries"] == 12
    assert found["quality"]["images"] <= 400


def test_few_images_are_encoded_again_and_none_twice() -> None:
    dice = np.random.default_rng(0)
    full = dice.normal(size=(5000, 16))
    encoder = Table(full, full, np.eye(16)[0])
    queries = dice.normal(size=(90, 16))
    encoder._texts = lambda texts: queries[[int(text.split()[1]) for text in texts]]
    found = effect(numbered(5000, list(range(90))), encoder)["quality"]
    assert found["images"] == len(encoder.seen) == len(set(encoder.seen)) <= 1000
    assert 10 < found["queries"] < 90


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[ib.Report, Callable[[], ib.Report]]:
    cache = tmp_path_factory.mktemp("cache")

    def run() -> ib.Report:
        specs = ["scenes?precision=bf16", "scenes?precision=fp32"]
        return ib.benchmark("scenes:300?queries=120", specs, indexes="Flat", protocol=QUICK, cache=cache)

    return run(), run


def test_the_shipped_encoder_in_bf16_is_nearly_itself(shipped) -> None:
    low, full = shipped[0].results["encoders"]
    assert "precision_effect" not in full
    found = low["precision_effect"]
    assert 0.999 < found["cosine"]["images"]["least"] < found["cosine"]["images"]["mean"] < 1
    assert 0.999 < found["cosine"]["queries"]["least"] < found["cosine"]["queries"]["mean"] < 1
    quality = found["quality"]
    assert (quality["queries"], quality["images"] <= 300, quality["open"]) == (60, True, 0)
    assert quality["changed"] > 0
    assert quality["low"] < quality["mean"] < quality["high"]


def test_the_sample_says_what_all_queries_say(shipped) -> None:
    all_queries = shipped[0].results["encoder_differences"][0]
    found = shipped[0].results["encoders"][0]["precision_effect"]["quality"]
    assert all_queries["measure"] == found["measure"]
    assert found["mean"] == pytest.approx(all_queries["mean"], abs=0.02)


def test_a_second_run_encodes_nothing(shipped) -> None:
    names = ("encode_images", "encode_texts", "encode_readable", "in_precision")
    with mock.patch.multiple(
        Encoder, **{name: mock.Mock(side_effect=AssertionError(name)) for name in names}
    ):
        again = shipped[1]()
    found = [each | {"cached": True} for each in shipped[0].results["encoders"]]
    assert again.results["encoders"] == found


def test_the_report_says_it(shipped, tmp_path: Path) -> None:
    saved = ib.Report.load(shipped[0].save(tmp_path))
    (said,) = precision.sentences(saved.results)
    assert said.startswith("bf16 instead of fp32 (scenes?precision=bf16): cosines of .9999")
    assert said in " ".join(saved.table("text", width=10_000).split())
    assert saved.verify() == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"against": "fp32"}', "\xff"])
def test_a_damaged_record_is_measured_again(tmp_path: Path, text: str) -> None:
    corpus, encoder = numbered(40, [0, 1]), table(falling(40, 0.01), falling(40, 0.01))
    first = effect(corpus, encoder, tmp_path)
    (record,) = tmp_path.glob("parity/*.json")
    record.write_text(text, encoding="latin-1")
    assert effect(corpus, encoder, tmp_path) == first == json.loads(record.read_text())


def test_a_cache_that_cannot_be_written_to_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "parity").write_text("in the way")
    corpus, encoder = numbered(40, [0, 1]), table(falling(40, 0.01), falling(40, 0.01))
    assert effect(corpus, encoder, tmp_path)["quality"]["mean"] == 0.0


def test_other_judgements_are_another_question(tmp_path: Path) -> None:
    full = falling(60, 0.01)
    low = full.copy()
    low[[9, 10]] = full[[10, 9]]
    means = [effect(numbered(60, [row]), table(low, full), tmp_path)["quality"]["mean"] for row in (9, 0)]
    assert means == [pytest.approx(-SECOND), 0.0]


def test_fp32_has_no_effect() -> None:
    corpus, encoder = numbered(40, [0]), table(falling(40, 0.01), falling(40, 0.01)).in_precision("fp32")
    found = parity.effect(corpus, encoder, *ib.embed(corpus, encoder, cache=None), Evaluator(corpus.qrels))
    assert found is None


def test_what_cannot_be_loaded_again_is_not_measured(tmp_path: Path) -> None:
    corpus, encoder = numbered(40, [0]), table(falling(40, 0.01), falling(40, 0.01))
    with mock.patch.object(Table, "in_precision", Encoder.in_precision):
        found = effect(corpus, encoder, tmp_path)
    assert found == {"against": "fp32", "not_measured": "table was not loaded by a name."}
    assert not (tmp_path / "parity").exists()
    told = precision.sentences(
        {"encoders": [{"name": "table", "precision": "fp16", "precision_effect": found}]}
    )
    assert told == ["fp16 instead of fp32: not measured. table was not loaded by a name."]


def test_a_device_without_room_does_not_end_the_benchmark() -> None:
    corpus, encoder = numbered(40, [0]), table(falling(40, 0.01), falling(40, 0.01))
    with mock.patch.object(Table, "in_precision", side_effect=RuntimeError("CUDA out of memory.\nTried ...")):
        assert effect(corpus, encoder)["not_measured"] == "CUDA out of memory."


def test_the_sentence_has_every_figure() -> None:
    quality = {
        "measure": "nDCG@10", "queries": 50, "images": 900, "depth": 10, "mean": 0.0003, "low": -0.0021,
        "high": 0.0028, "confidence": 0.95, "changed": 12, "exchanged": 3, "ranked": 30, "moved": 0.001,
        "gap": 0.02, "open": 0,
    }  # fmt: skip
    images = {"count": 64, "mean": 0.99996, "least": 0.9998}
    cosine = {"images": images, "queries": images | {"count": 1}}
    encoder = {"name": "scenes", "precision": "bf16"}
    effect = {"against": "fp32", "cosine": cosine, "quality": quality}
    said, more = precision.sentences({"encoders": [encoder | {"precision_effect": effect}]})
    assert said == (
        "bf16 instead of fp32: cosines of .999960 on average and .99980 at least over 64 images, .999960 on "
        "average and .99980 at least over 1 query; nDCG@10 of 50 queries changes by +.0003 [-.0021,+.0028], "
        "12 of their lists of 10 in order and 3 in images."
    )
    assert (
        more == "A second encoder, the same with ?precision=fp32, would be compared with it over all queries."
    )
    said, _ = precision.sentences(
        {"encoders": [encoder | {"precision_effect": effect | {"quality": quality | {"open": 4}}}]}
    )
    assert said.endswith("For 4 of them more images may come in than were encoded again.")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU here")
def test_fp16_on_a_gpu_is_nearly_fp32_whose_memory_is_free_again(tmp_path: Path) -> None:
    corpus, encoder = Corpus.load("scenes:300?queries=120"), Encoder.load("scenes?device=cuda")
    assert encoder.precision is Precision.FP16
    vectors = ib.embed(corpus, encoder, cache=tmp_path)
    before = torch.cuda.memory_allocated()
    found = parity.effect(corpus, encoder, *vectors, Evaluator(corpus.qrels))
    assert found is not None
    assert torch.cuda.memory_allocated() == before
    assert 0.999 < found["cosine"]["images"]["least"] <= found["cosine"]["images"]["mean"] < 1
    assert abs(found["quality"]["mean"]) < 0.01


def test_an_encoder_is_loaded_again_in_another_precision() -> None:
    texts = ["a red car", "a boat"]
    low = Encoder.load("scenes?precision=bf16&dim=32&batch_size=5")
    again, plain = low.in_precision("fp32"), Encoder.load("scenes", dim=32)
    assert (again.precision, again.dim, again.batch_size, again.device) == ("fp32", 32, 5, low.device)
    np.testing.assert_array_equal(again.encode_texts(texts), plain.encode_texts(texts))
    assert again.fingerprint == plain.fingerprint != low.fingerprint
    assert low.precision is Precision.BF16


def test_the_record_of_the_shipped_encoder_is_loaded_once(tmp_path: Path) -> None:
    record = {"device": "cpu", "dim": 128, "batch_size": 8, "fingerprint": "sha256:1", "precision": "bf16"}
    later = Later(record)
    with mock.patch.object(Later, "whole", side_effect=AssertionError("loaded")):
        again = later.in_precision("fp32")
    assert (again.name, str(again.precision), again.batch_size) == ("scenes", "fp32", 8)


def test_an_encoder_that_was_made_by_hand_says_so() -> None:
    encoder = table(falling(4, 0.1), falling(4, 0.1))
    with pytest.raises(InputError) as error:
        Encoder.in_precision(encoder, "fp32")
    assert str(error.value) == (
        "table was not loaded by a name. Only what Encoder.load made can be loaded again in another "
        "precision. Load it by its name, or let its class override in_precision."
    )
