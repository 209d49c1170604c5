"""The batch of a GPU is as large as pays and memory allows; copies there and back change nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image

from imgbench.encoders import batching
from imgbench.encoders.base import Encoder
from imgbench.encoders.batching import fastest
from imgbench.encoders.network import NetworkEncoder
from imgbench.types import Precision


def machine(saturated: int, *, fits: int = 10**6) -> tuple[Callable[[int], float], list[int]]:
    """A GPU whose speed grows up to a batch of `saturated`, and whose memory ends above `fits`."""
    tried: list[int] = []

    def rate(size: int) -> float:
        tried.append(size)
        if size > fits:
            raise torch.OutOfMemoryError
        return float(min(size, saturated))

    return rate, tried


def test_doubling_goes_on_as_long_as_it_pays() -> None:
    rate, tried = machine(1024)
    assert fastest(rate, start=256) == 1024
    assert tried == [256, 512, 1024, 2048]


def test_a_batch_that_is_fast_already_stays() -> None:
    assert fastest(machine(64)[0], start=256) == 256


def test_the_largest_batch_is_a_limit() -> None:
    assert fastest(machine(10**6)[0], start=256, largest=512) == 512


def test_memory_is_a_limit_above_and_below() -> None:
    assert fastest(machine(10**6, fits=600)[0], start=256) == 512
    rate, tried = machine(10**6, fits=70)
    assert fastest(rate, start=256) == 64
    assert tried == [256, 128, 64]  # what failed is not tried again


def test_one_image_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        fastest(machine(10**6, fits=0)[0], start=4)


class Means(NetworkEncoder):
    """Knows an image's first pixel; its memory holds `fits` images at once."""

    family, dim = "means", 3
    batch_sizes = {"cpu": 8, "cuda": 8}  # noqa: RUF012

    def __init__(self, *, fits: int = 10**6, batch_size: int | None = None) -> None:
        where = {"device": "cpu", "precision": Precision.FP32, "batch_size": batch_size}
        self._hold(torch.nn.Identity(), name="means", identity={}, **where)
        self.fits, self.sizes = fits, []

    def _prepare(self, image: Image.Image) -> torch.Tensor:
        return torch.tensor(image.getpixel((0, 0)))

    def _images(self, images: list[torch.Tensor]) -> torch.Tensor:
        self.sizes.append(len(images))
        if len(images) > self.fits:
            raise torch.OutOfMemoryError
        return torch.stack(images).float() + 1


def images(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (2, 2), (row % 256, 9, 99)) for row in range(count)]


def test_what_does_not_fit_is_encoded_in_halves_in_the_same_order() -> None:
    few = Means(fits=3)
    found = few.encode_images(images(19))
    np.testing.assert_array_equal(found, Means().encode_images(images(19)))
    assert few.sizes == [8, 4, 2, 2, 4, 2, 2, 8, 4, 2, 2, 4, 2, 2, 3]


def test_halves_of_arrays_are_arrays() -> None:
    def call(items: list[int]) -> np.ndarray:
        if len(items) > 2:
            raise torch.OutOfMemoryError
        return np.array(items)

    assert batching.in_parts(call, [1, 2, 3, 4, 5]).tolist() == [1, 2, 3, 4, 5]


def test_an_image_that_does_not_fit_alone_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Means(fits=0).encode_images(images(2))


def on_a_gpu(monkeypatch: pytest.MonkeyPatch, encoder: Means) -> Means:
    """The encoder as it would be on a GPU whose speed doubles up to batches of 32."""
    monkeypatch.setattr(encoder, "_grows_from", encoder.batch_size)
    monkeypatch.setattr(encoder, "_rate", machine(32)[0])
    return encoder


def test_many_images_are_worth_a_trial_and_few_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = on_a_gpu(monkeypatch, Means())
    encoder.encode_images(images(16 * 8 - 1))
    assert encoder.batch_size == 8
    encoder.encode_images(images(16 * 8))
    assert encoder.batch_size == 32
    assert encoder.sizes[-4:] == [32, 32, 32, 32]


def test_a_batch_size_that_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.load(on_a_gpu(monkeypatch, Means()), batch_size=4)
    encoder.encode_images(images(200))
    assert encoder.batch_size == 4


@pytest.mark.parametrize("last", [False, True])
def test_tensors_are_moved_as_they_are(last: bool) -> None:
    parts = [torch.randint(256, (3, 4, 5), dtype=torch.uint8) for _ in range(3)]
    batch = batching.moved(parts, "cpu", channels_last=last)
    assert torch.equal(batch, torch.stack(parts))
    assert batch.is_contiguous(memory_format=torch.channels_last) is last


def test_the_first_call_is_not_timed_and_nothing_stands_between_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    class Event:
        def __init__(self, **options: bool) -> None:
            done.append("event")

        def record(self) -> None:
            done.append("record")

        def synchronize(self) -> None:
            done.append("wait")

        def elapsed_time(self, end: object) -> float:
            return 3000.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    assert batching.cuda_seconds(lambda: done.append("call"), "cuda", repeats=3) == 1.0
    assert done == ["event", "event", "call", "record", "call", "call", "call", "record", "wait"]


def test_rows_are_copied_at_once_and_waited_for_when_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Event:
        def __init__(self, *, blocking: bool) -> None:
            assert blocking

        def record(self, stream: object) -> None:
            done.append(f"record on the stream of {stream}")

        def synchronize(self) -> None:
            done.append("wait")

    plain = torch.empty

    def unpinned(*shape: object, pin_memory: bool, dtype: torch.dtype) -> torch.Tensor:
        assert pin_memory
        return plain(*shape, dtype=dtype)

    monkeypatch.setattr(torch, "empty", unpinned)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", str)
    rows = torch.arange(6.0, dtype=torch.float16).view(3, 2)
    coming = batching.Returning(rows)
    expected = rows.tolist()
    rows.zero_()  # the GPU's memory may be used again
    assert done == ["record on the stream of cpu"]
    assert np.asarray(coming, dtype=np.float32).tolist() == expected
    assert done == ["record on the stream of cpu", "wait"]
