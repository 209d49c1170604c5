"""The shipped encoder on its second use: a record instead of a network, as long as nothing has changed."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from imgbench import Corpus, Encoder
from imgbench.encoders import later
from imgbench.encoders.later import Later


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    encoder = later.load(folder)
    assert not isinstance(encoder, Later)
    assert list(folder.iterdir()) == []  # a run that fails leaves nothing
    later.keep(encoder, folder)
    return folder


def record(cache: Path) -> Path:
    (found,) = cache.glob("encoders/*.json")
    return found


def test_the_record_says_what_the_encoder_says(cache: Path) -> None:
    again, whole = later.load(cache), Encoder.load("scenes")
    assert isinstance(again, Later)
    for name in ("name", "dim", "precision", "device", "batch_size", "fingerprint", "sides"):
        assert getattr(again, name) == getattr(whole, name)
    assert again.identity() == whole.identity()
    assert again.truncated(32).dim == 32


def test_nothing_is_loaded_before_there_is_work(cache: Path) -> None:
    with mock.patch.object(Encoder, "load", side_effect=AssertionError("loaded")):
        assert later.load(cache).fingerprint.startswith("sha256:")


def test_it_encodes_as_the_encoder_does(cache: Path) -> None:
    corpus, again, whole = Corpus.load("scenes:10"), later.load(cache), Encoder.load("scenes")
    images, texts = [corpus.images[row] for row in range(3)], ["a red car", "a boat"]
    np.testing.assert_array_equal(again.encode_texts(texts), whole.encode_texts(texts))
    np.testing.assert_array_equal(again.encode_images(images), whole.encode_images(images))
    vectors, places, failures = again.encode_readable([*images, b"no image"])
    np.testing.assert_array_equal(vectors, whole.encode_images(images))
    assert (places, [place for place, _ in failures]) == ([0, 1, 2], [3])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"dim": 1}', "\xff"])
def test_a_damaged_record_is_written_again(cache: Path, text: str) -> None:
    before = record(cache).read_bytes()
    record(cache).write_text(text, encoding="latin-1")
    encoder = later.load(cache)
    assert not isinstance(encoder, Later)
    later.keep(encoder, cache)
    assert record(cache).read_bytes() == before


def test_another_version_has_another_record(cache: Path) -> None:
    with mock.patch("imgbench.environment.packages", return_value={"torch": "0"}):
        assert not isinstance(later.load(cache), Later)


def test_a_cache_that_cannot_be_written_to_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    encoder = later.load(tmp_path / "file")
    later.keep(encoder, tmp_path / "file")
    assert encoder.name == "scenes"
